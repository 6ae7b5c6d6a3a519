"""How like its base an encoder still is, and how well it still does what it is used for.

Text is paired: the same windows and the same examples go through both, so differences far
smaller than the spread of the text show.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from negawatt.core.errors import TextError
from negawatt.core.estimate import Estimate, Kind
from negawatt.models.interval import resampled_mean, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from negawatt.core.protocols import Session
    from negawatt.models.encoder import Ending

    Floats = NDArray[np.float64]

_RESAMPLES = 1000  # of the bootstrap
_LONGEST = 256  # tokens of an example that are read
_TOGETHER = 16  # texts
_FORM = (
    "give a .csv file of sentence, sentence, score for a model of sentences, "
    "or lines of `label text` for a classifier"
)


@dataclass(frozen=True, slots=True)
class TaskScore:
    """A score on labelled examples, of the base and of the variant."""

    name: str  # of the figure and the file
    base: float  # [1]
    value: float  # [1]
    change: Estimate  # value - base, paired [1]
    examples: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """What an encoder lost, beside its base."""

    measure: str  # `1 - cosine` or `KL`
    distance: Estimate  # mean over held-out texts
    same: Estimate  # share of texts or tokens with the same answer [1]
    tokens: int
    text: str
    task: TaskScore | None


@dataclass(frozen=True, slots=True)
class Example:
    """One line of a task: one or two texts, and what people said of it."""

    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What an encoder said of held-out windows and of a task's examples."""

    windows: Floats  # [texts, width] unit vectors, or [answers, labels] log-probabilities
    examples: Floats  # [examples]: similarity of the two texts, or the label it chose


def read_task(path: Path) -> list[Example]:
    """Read labelled examples.

    Raises:
        TextError: the file is missing, or of another form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{path} cannot be read as UTF-8 text: {error}", fix=_FORM) from error
    found: list[Example] = []
    try:
        if path.suffix == ".csv":
            rows = [row for row in csv.reader(text.splitlines()) if row]
            found = [Example((one, other), float(score)) for one, other, score in rows]
        else:
            lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
            found = [Example((words,), float(int(label))) for label, words in lines]
    except ValueError as error:
        raise TextError(f"{path} is no task: {error}", fix=_FORM) from error
    if len(found) < 2:
        raise TextError(f"{path} holds {len(found)} examples", fix="give at least two")
    return found


def answers(
    session: Session,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    tokenizer: Any,
    ending: tuple[Ending, str],
    progress: Callable[[float], None] = lambda share: None,
) -> Answers:
    """Let an encoder read everything.

    Args:
        session: Opened; not closed.
        windows: Held-out text, int64 [windows, positions].
        examples: Of a task; none when empty.
        tokenizer: Of the model.
        ending: What the model ends in, and how vectors of positions become one.
        progress: Told the share done.
    """
    kind, _ = ending
    texts = [text for example in examples for text in example.texts]
    given = [*windows, *(_tokens(tokenizer, text) for text in texts)]
    found = _read(session, given, ending, progress)
    seen, rest = found[: len(windows)], iter(found[len(windows) :])
    said = []
    for example in examples:
        vectors = [next(rest) for _ in example.texts]
        if kind == "embedding" and len(vectors) == 2:
            said.append(float(vectors[0][0] @ vectors[1][0]))
        else:
            said.append(float(vectors[0][0].argmax()))
    return Answers(np.concatenate(seen), np.array(said))


def _read(
    session: Session,
    given: Sequence[NDArray[np.int64]],
    ending: tuple[Ending, str],
    progress: Callable[[float], None],
) -> list[Floats]:
    """What each text ends in; texts of equal length are read together, so none is padded."""
    order = sorted(range(len(given)), key=lambda at: len(given[at]))
    found: dict[int, Floats] = {}
    for _, equal in groupby(order, key=lambda at: len(given[at])):
        places = list(equal)
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            said = session.forward(np.stack([given[at] for at in some]))
            found |= {at: _ended(one, *ending) for at, one in zip(some, said, strict=True)}
            progress(len(found) / len(given))
    return [found[at] for at in range(len(given))]


def likeness(
    base: Answers,
    variant: Answers,
    examples: Sequence[Example],
    about: tuple[Ending, str, int, str],
) -> Likeness:
    """Set the answers of a variant beside those of its base.

    Args:
        base: Answers of the original.
        variant: Of the same texts.
        examples: The task's.
        about: What the model ends in; the name of the task; tokens and name of the held-out text.
    """
    kind, task, tokens, text = about
    distance = distances(base, variant, kind)
    if kind == "embedding":
        agreed = _nearest(base.windows) == _nearest(variant.windows)
        measure, unit = "1 - cosine", "1"
    else:
        agreed = base.windows.argmax(1) == variant.windows.argmax(1)
        measure, unit = "KL", "nat"
    return Likeness(
        measure=measure,
        distance=_estimate(
            *resampled_mean(distance), unit=unit, source="95 % bootstrap over texts"
        ),
        same=_estimate(*wilson(int(agreed.sum()), len(agreed)), unit="1", source="95 % Wilson"),
        tokens=tokens,
        text=text,
        task=_scored(base, variant, examples, kind, task) if examples else None,
    )


def distances(base: Answers, variant: Answers, kind: Ending) -> Floats:
    """How far every answer on held-out windows has moved: 1 - cosine, or KL from the base. [nat]"""
    if kind == "embedding":
        return np.asarray(1.0 - (base.windows * variant.windows).sum(1))
    return np.asarray((np.exp(base.windows) * (base.windows - variant.windows)).sum(1))


def _tokens(tokenizer: Any, text: str) -> NDArray[np.int64]:
    given = tokenizer(text, truncation=True, max_length=_LONGEST, verbose=False)["input_ids"]
    return np.array(given, np.int64)


def _ended(values: NDArray[np.float32], kind: Ending, pooling: str) -> Floats:
    """Unit vector [1, width], or log-probabilities [positions or 1, labels]."""
    from scipy.special import log_softmax

    if kind != "embedding":
        return np.asarray(log_softmax(values.astype(np.float64), axis=-1))
    vector = values[0] if pooling == "cls" else values.mean(0)
    wide = vector.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide))[None]


def _nearest(vectors: Floats) -> NDArray[np.intp]:
    """Which other text each one is most like."""
    like = vectors @ vectors.T
    np.fill_diagonal(like, -np.inf)
    return np.asarray(like.argmax(1))


def _scored(
    base: Answers, variant: Answers, examples: Sequence[Example], kind: Ending, name: str
) -> TaskScore:
    wanted = np.array([one.label for one in examples])
    measure = _spearman if kind == "embedding" else _accuracy
    figure = "Spearman" if kind == "embedding" else "accuracy"
    draw = np.random.default_rng(0)
    changes = []
    for _ in range(_RESAMPLES):
        at = draw.integers(0, len(wanted), len(wanted))
        pair = (measure(one.examples[at], wanted[at]) for one in (variant, base))
        changes.append(next(pair) - next(pair))
    first, second = (measure(one.examples, wanted) for one in (base, variant))
    low, high = np.quantile(changes, [0.025, 0.975])
    change = second - first
    return TaskScore(
        name=f"{figure} on {name}",
        base=first,
        value=second,
        change=_estimate(
            change,
            min(float(low), change),
            max(float(high), change),
            unit="1",
            source="95 % paired bootstrap",
        ),
        examples=len(wanted),
    )


def _spearman(said: Floats, wanted: Floats) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(said, wanted).statistic)


def _accuracy(said: Floats, wanted: Floats) -> float:
    return float((said == wanted).mean())


def _estimate(value: float, low: float, high: float, *, unit: str, source: str) -> Estimate:
    return Estimate(
        value=value,
        low=low,
        high=high,
        unit=unit,
        kind=Kind.MEASURED,
        source=source,
        boundary="model",
    )
