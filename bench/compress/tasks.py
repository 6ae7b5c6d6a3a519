"""Tasks whose scores people know: BLiMP, LAMBADA and PIQA, each item paired with the base's.

A choice is right when the model gives the right text the higher log-likelihood; a last word is
guessed when the model's first choice is right for every token of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.core.protocols import Session
from negawatt.models.cloze import Cloze, Passage, cloze_items
from negawatt.models.interval import wilson
from negawatt.models.scoring import guesses

#: Items of each task; of BLiMP so many of each paradigm.
BLIMP_EACH, LAMBADA, PIQA = 3, 100, 100
TOGETHER = 8  # texts read at once
_NORMAL = 1.959963984540054  # its 97.5 % quantile


@dataclass(frozen=True, slots=True)
class Choice:
    """Texts of which one is right.

    Args:
        texts: Tokens of each.
        scored: How many tokens at the end of each count.
        right: Which of them it is.
    """

    texts: tuple[tuple[int, ...], ...]
    scored: tuple[int, ...]
    right: int


@dataclass(frozen=True, slots=True)
class Task:
    """Items of one kind; passages or choices."""

    name: str
    choices: tuple[Choice, ...] = ()
    passages: tuple[Passage, ...] = ()


def log_likelihood(logits: NDArray[np.float32], targets: Sequence[int]) -> float:
    """Of `targets` under logits [positions, vocabulary], each of the token at its place. [nat]"""
    wide = logits.astype(np.float64)
    top = wide.max(-1)
    picked = wide[np.arange(len(targets)), list(targets)]
    return float((picked - top - np.log(np.exp(wide - top[:, None]).sum(-1))).sum())


def log_likelihoods(session: Session, texts: Sequence[tuple[Sequence[int], int]]) -> list[float]:
    """Of the last tokens of each text, given those before them. [nat]

    Texts of nearly one length are read together, the shorter ones filled up at their end, which
    nothing before it looks at.

    Args:
        session: Of a model that looks backwards only.
        texts: Tokens, and how many at the end of them count.
    """
    found = [0.0] * len(texts)
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i][0]))
    for start in range(0, len(texts), TOGETHER):
        group = by_length[start : start + TOGETHER]
        longest = max(len(texts[i][0]) for i in group) - 1
        rows = np.zeros((TOGETHER, longest), np.int64)  # always as many: caches stay as they are
        for row, i in enumerate(group):
            rows[row, : len(texts[i][0]) - 1] = texts[i][0][:-1]
        first = min(len(tokens) - 1 - scored for tokens, scored in (texts[i] for i in group))
        session.reset()
        logits = np.asarray(session.forward(rows, keep=longest - first))
        for row, i in enumerate(group):
            tokens, scored = texts[i]
            end = len(tokens) - 1 - first
            found[i] = log_likelihood(logits[row, end - scored : end], tokens[-scored:])
    return found


def outcomes(session: Session, task: Task) -> list[int]:
    """1 for every item that the session has right, else 0."""
    pairs = [pair for one in task.choices for pair in zip(one.texts, one.scored, strict=True)]
    scores = iter(log_likelihoods(session, pairs))
    found = []
    for item in task.choices:
        own = [next(scores) for _ in item.texts]
        found.append(int(own[item.right] > max(s for i, s in enumerate(own) if i != item.right)))
    return found + [guesses(session, Cloze(passages=(one,))) for one in task.passages]


def paired(own: Sequence[int], base: Sequence[int]) -> dict[str, Any]:
    """Accuracy, and its difference from the base's on the same items, each with its interval.

    >>> paired([1, 1, 0, 0], [1, 1, 1, 0])["change"][0]
    -0.25
    """
    count = len(own)
    if count < 2 or count != len(base):
        raise ValueError(f"{count} and {len(base)} items are no pairs")
    steps = [a - b for a, b in zip(own, base, strict=True)]
    mean = sum(steps) / count
    spread = sum((step - mean) ** 2 for step in steps) / (count - 1)
    reach = _NORMAL * math.sqrt(spread / count)
    return {
        "accuracy": list(wilson(sum(own), count)),
        "change": [mean, mean - reach, mean + reach],
        "items": count,
    }


def tasks(folder: Path, tokenizer: Any, opening: int | None, *, seed: int = 0) -> list[Task]:
    """The tasks whose data is there.

    Args:
        folder: Of the corpora.
        tokenizer: Of the model.
        opening: Token that a text begins with, if any.
        seed: Of the drawing.
    """
    made: Sequence[tuple[str, Callable[[list[Any]], Task]]] = (
        ("blimp/blimp-67x100.jsonl", lambda rows: _blimp(rows, tokenizer, opening)),
        ("lambada/test.first2577.jsonl", lambda rows: _lambada(rows, tokenizer, seed)),
        ("piqa/valid.first919.jsonl", lambda rows: _piqa(rows, tokenizer, opening, seed)),
    )
    return [make(_rows(folder / file)) for file, make in made if (folder / file).is_file()]


def _rows(file: Path) -> list[Any]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _encoded(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found


def _blimp(rows: Sequence[Mapping[str, str]], tokenizer: Any, opening: int | None) -> Task:
    start = [] if opening is None else [opening]
    seen: dict[str, int] = {}
    choices = []
    for row in rows:
        seen[row["uid"]] = seen.get(row["uid"], 0) + 1
        if seen[row["uid"]] <= BLIMP_EACH:
            texts = [start + _encoded(tokenizer, row[which]) for which in ("good", "bad")]
            # Without an opening token nothing is said of the first one.
            choices.append(_choice(texts, [len(text) - 1 for text in texts], 0))
    return Task("BLiMP", tuple(choices))


def _piqa(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, opening: int | None, seed: int
) -> Task:
    start = [] if opening is None else [opening]
    picked = np.random.default_rng(seed).permutation(len(rows))[:PIQA]
    choices = []
    for row in (rows[i] for i in sorted(picked)):
        before = start + _encoded(tokenizer, f"Question: {row['goal']}\nAnswer:")
        after = [_encoded(tokenizer, f" {row[which]}") for which in ("sol1", "sol2")]
        texts = [before + text for text in after]
        choices.append(_choice(texts, [len(text) for text in after], int(row["label"])))
    return Task("PIQA", tuple(choices))


def _lambada(rows: Sequence[Mapping[str, str]], tokenizer: Any, seed: int) -> Task:
    texts = [row["text"] for row in rows]
    # A quarter of the limit is what it takes of passages.
    windows = np.zeros((1, 2), np.int64)
    found = cloze_items(windows, tokenizer, texts, limit=4 * LAMBADA, seed=seed)
    return Task("LAMBADA", passages=found.passages)


def _choice(texts: Sequence[Sequence[int]], scored: Sequence[int], right: int) -> Choice:
    return Choice(tuple(tuple(text) for text in texts), tuple(scored), right)
