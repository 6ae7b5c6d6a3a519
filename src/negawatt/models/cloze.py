"""Guess a word that the text has said before: a task whose score people can picture."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from negawatt.models.corpus import Tokens

T = TypeVar("T")

_MARKS = ("Ġ", "▁")  # how vocabularies write the space before a word
_CONTEXT = 48  # tokens a guess is given at least
_GAP = 24  # tokens between one guess and the next
_SHORTEST = 4  # letters
_COMMON = 0.003  # words above this share of the text are grammar, not memory


@dataclass(frozen=True, slots=True)
class Span:
    """One word inside a scored window: tokens `start` to `stop` of window `window`."""

    window: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of its own whose last `answer` tokens are the word."""

    tokens: tuple[int, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Cloze:
    """Words to guess. An item is right when the model's first choice is right for every token.

    Spans cost nothing: they are read off the pass that scores the windows.
    Passages cost a pass each.
    """

    spans: tuple[Span, ...] = ()
    passages: tuple[Passage, ...] = ()
    name: str = ""

    @property
    def items(self) -> int:
        """How many words are to be guessed."""
        return len(self.spans) + len(self.passages)

    @property
    def digest(self) -> str:
        """SHA-256 of the task, to know it again."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def cloze_items(
    windows: Tokens,
    tokenizer: Any,
    passages: Sequence[str] = (),
    *,
    limit: int = 400,
    seed: int = 0,
) -> Cloze:
    """Make the task from LAMBADA-like `passages` if there are any, else from held-out windows.

    In the windows, a word qualifies that stands whole between its neighbours,
    has at least four letters, was said before in the same window and is not
    one of the text's commonest. `limit` items are drawn with `seed`.

    Args:
        windows: int64, [windows, window], the test side of a corpus.
        tokenizer: Of the model.
        passages: Texts whose last word is to be guessed.
        limit: Items at most; passages are capped at a quarter of it, as each costs a pass.
        seed: Of the drawing.
    """
    rng = np.random.default_rng(seed)
    if passages:
        made = [_passage(text, tokenizer) for text in _draw(rng, passages, max(1, limit // 4))]
        whole = tuple(item for item in made if item is not None)
        if whole:
            return Cloze(passages=whole, name=f"LAMBADA-like, {len(whole)} passages")
    spans = _spans(windows, tokenizer)
    chosen = tuple(_draw(rng, spans, limit))
    return Cloze(spans=chosen, name=f"{len(chosen)} repeated words of the held-out text")


def _draw(rng: np.random.Generator, things: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of `things`, in their own order."""
    if len(things) <= limit:
        return list(things)
    return [things[i] for i in sorted(rng.choice(len(things), limit, replace=False))]


def _passage(text: str, tokenizer: Any) -> Passage | None:
    """Tokens of a passage; None when the last word does not begin at a token."""
    context, _, word = text.rstrip().rpartition(" ")
    if not context or not word:
        return None
    before = tokenizer(context, verbose=False)["input_ids"]
    whole = tokenizer(f"{context} {word}", verbose=False)["input_ids"]
    if whole[: len(before)] != before or len(whole) == len(before):
        return None
    return Passage(tuple(whole), len(whole) - len(before))


def _spans(windows: Tokens, tokenizer: Any) -> list[Span]:
    numbers = np.unique(windows)
    texts = tokenizer.convert_ids_to_tokens(numbers.tolist())
    pieces = dict(zip(numbers.tolist(), texts, strict=True))
    words = [_words([pieces[int(t)] for t in window]) for window in windows]
    counts = Counter(text.casefold() for window in words for _, _, text in window)
    ceiling = max(2.0, _COMMON * counts.total())
    found = []
    for number, window in enumerate(words):
        said: set[str] = set()
        last = -_GAP
        for start, stop, text in window:
            word = text.casefold()
            fits = start >= _CONTEXT and start - last >= _GAP and len(word) >= _SHORTEST
            if fits and word in said and counts[word] <= ceiling:
                found.append(Span(number, start, stop))
                last = start
            said.add(word)
    return found


def _words(pieces: Sequence[str]) -> list[tuple[int, int, str]]:
    """(start, stop, text) of every whole word of letters that begins with a space mark.

    >>> _words(["Ġthe", "Ġnega", "watt", ".", "Ġcut"])
    [(0, 1, 'the'), (1, 3, 'negawatt')]
    """
    words = []
    start, text = -1, ""
    for position, piece in enumerate(pieces):
        opens = piece.startswith(_MARKS)
        if opens or not piece.isalpha():
            if start >= 0 and text.isalpha():
                words.append((start, position, text))
            start, text = (position, piece[1:]) if opens else (-1, "")
        elif start >= 0:
            text += piece
    return words  # a word cut off by the end of the window is not whole


def share_of(tops: npt.NDArray[np.integer], windows: Tokens, spans: Sequence[Span]) -> int:
    """How many spans the first choices `tops` [windows, window - 1] get right."""
    return sum(
        bool(
            (tops[s.window, s.start - 1 : s.stop - 1] == windows[s.window, s.start : s.stop]).all()
        )
        for s in spans
    )
