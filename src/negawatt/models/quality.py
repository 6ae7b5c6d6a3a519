"""How well a variant models held-out text, paired token by token with its base.

The base is scored once and kept on disk. A variant is then compared on the
same tokens: its relative perplexity loss, its divergence from the base and the
share of tokens on which both would say the same. Pairing removes the spread of
the text itself, so a loss of half a percent shows on a few thousand tokens.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import OutputError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Session
from negawatt.core.records import Quality
from negawatt.models.cloze import Cloze, cloze_items, share_of
from negawatt.models.corpus import Corpus, Tokens
from negawatt.models.interval import BLOCK, block_mean, wilson
from negawatt.models.scoring import (
    Progress,
    divergence,
    grade,
    guesses,
    log_probabilities,
    scan,
)

_METHOD = f"95 % Student t over blocks of {BLOCK} tokens"
_MARKER = "reference.json"
_KEPT_BYTES = 300_000_000  # of whole distributions on disk, at most
_MOST = 700.0  # nat; the exponential of more is no float, and no model is that bad
_VERSION = 1  # of the store; another version is made again


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """A text to be scored on, and words in it to be guessed.

    Args:
        windows: int64, [windows, window].
        text: Which text, for people.
        task: From `cloze_items`; without one the cloze figure stays unknown.
    """

    windows: Tokens
    text: str
    task: Cloze = field(default_factory=Cloze)

    @property
    def digest(self) -> str:
        """SHA-256 of tokens and task."""
        tokens = hashlib.sha256(self.windows.astype("<i8").tobytes()).hexdigest()
        return hashlib.sha256(
            f"{self.windows.shape} {tokens} {self.task.digest}".encode()
        ).hexdigest()


def exam(
    corpus: Corpus, tokenizer: Any, side: Literal["selection", "test"] = "test", *, seed: int = 0
) -> Exam:
    """The exam of one side of a corpus. The passages, if any, go with the test side."""
    windows = corpus.test if side == "test" else corpus.selection
    passages = corpus.passages if side == "test" else ()
    return Exam(windows, corpus.texts[side], cloze_items(windows, tokenizer, passages, seed=seed))


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the base said about a text.

    Args:
        exam: The text.
        nll: float32, [windows, window - 1]; negative log-likelihood of each next token. [nat]
        tops: int32, [windows, window - 1]; the base's first choices.
        starts: int64, [windows]; where in each window the kept distributions begin.
        log_probs: float16 on disk, [windows, run, vocabulary]; those distributions. [nat]
        right: How many words the base guessed.
        store: The folder they are kept in; another process opens it again.
    """

    exam: Exam
    nll: npt.NDArray[np.float32]
    tops: npt.NDArray[np.int32]
    starts: Tokens
    log_probs: npt.NDArray[np.float16]
    right: int
    store: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return _kept, (self.exam, self.store)

    def quality(self) -> Quality:
        """The base's own quality; against itself it loses nothing, by definition."""
        return Quality(
            perplexity=_perplexity(self.nll),
            loss=_itself(0.0, "1"),
            kl=_itself(0.0, "nat/token"),
            top1=_itself(1.0, "1"),
            cloze=_cloze(self.right, self.exam.task),
            tokens=self.nll.size,
            text=self.exam.text,
        )


def reference(
    session: Session,
    examined: Exam,
    store: Path,
    kl_tokens: int = 2_048,
    *,
    key: str = "",
    progress: Progress | None = None,
) -> Reference:
    """Score the base once and keep what variants are compared with.

    Calling it again with the same exam, `kl_tokens` and `key` reads the
    finished store; an unfinished or different one is made again.

    Args:
        session: The base, opened; it is reset, not closed.
        examined: The text.
        store: Folder to keep it in; made when absent.
        kl_tokens: Positions whose whole distribution is kept, spread over all windows; fewer
            when they would take more than 300 MB, and at least one a window.
        key: What the base is: digest, engine, version. Another key is another base.
        progress: Told the share done.

    Raises:
        NumericsGateFailed: the session returned something that is no number.
        TextError: too little text for an interval.
        OutputError: the store cannot be written.
    """
    asked = {"exam": examined.digest, "key": key, "kl_tokens": kl_tokens, "version": _VERSION}
    marker = _marker(store)
    if marker.get("asked") != asked:
        partial = store.with_name(f"{store.name}.partial")
        try:
            for old in (partial, store):
                shutil.rmtree(old, ignore_errors=True)
            partial.mkdir(parents=True)
            marker = {
                "asked": asked,
                "right": _keep(session, examined, partial, kl_tokens, progress),
            }
            (partial / _MARKER).write_text(json.dumps(marker), encoding="utf-8")
            partial.rename(store)  # in one step: a store of this name is always whole
        except OSError as error:
            raise OutputError(
                f"{store} cannot be written: {error.strerror or error}",
                fix="free some space, or choose another place with --out",
            ) from error
    return _kept(examined, store)


def _kept(examined: Exam, store: Path) -> Reference:
    """What a finished store holds."""
    return Reference(
        exam=examined,
        nll=np.load(store / "nll.npy"),
        tops=np.load(store / "tops.npy"),
        starts=np.load(store / "starts.npy"),
        log_probs=np.load(store / "log_probs.npy", mmap_mode="r"),
        right=int(_marker(store)["right"]),
        store=store,
    )


def score(session: Session, base: Reference, *, progress: Progress | None = None) -> Quality:
    """Score a variant on the text of `base`, token by token against it.

    Args:
        session: The variant, opened; it is reset, not closed.
        base: From `reference`.
        progress: Told the share done.

    Raises:
        NumericsGateFailed: the session returned something that is no number.
    """
    windows, task = base.exam.windows, base.exam.task
    found = marks(session, base, progress=progress)
    nll, tops, kl = found.nll, found.tops, found.kl
    right = share_of(tops, windows, task.spans) + guesses(session, task)
    change = block_mean(nll.astype(np.float64) - base.nll)
    agreed = wilson(int((tops == base.tops).sum()), tops.size)
    return Quality(
        perplexity=_perplexity(nll),
        loss=_estimate(
            (math.expm1(min(x, _MOST)) for x in change), "1", f"paired with the base, {_METHOD}"
        ),
        kl=_estimate((max(0.0, x) for x in block_mean(kl)), "nat/token", _METHOD),
        top1=_estimate(agreed, "1", "95 % Wilson"),
        cloze=_cloze(right, task),
        tokens=nll.size,
        text=base.exam.text,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What a variant said of a text, token by token.

    Args:
        nll: float32, [windows, window - 1]. [nat]
        tops: int32, the same; its first choices.
        kl: float32, [windows, run]; from the base, where its distributions were kept. [nat]
    """

    nll: npt.NDArray[np.float32]
    tops: npt.NDArray[np.int32]
    kl: npt.NDArray[np.float32]


def marks(session: Session, base: Reference, *, progress: Progress | None = None) -> Marks:
    """Let a variant read the text of `base`; see `score`."""
    windows = base.exam.windows
    nll, tops = np.empty_like(base.nll), np.empty_like(base.tops)
    kl = np.zeros((len(windows), base.log_probs.shape[1]), np.float32)
    for number, start, logits in scan(session, windows, progress):
        stop = start + len(logits)
        nll[number, start:stop], tops[number, start:stop] = grade(
            logits, windows[number, start + 1 : stop + 1]
        )
        kept, here = _overlap(int(base.starts[number]), kl.shape[1], start, stop)
        if kept.start < kept.stop:
            kl[number, kept] = divergence(base.log_probs[number, kept], logits[here])
            _let_go(base.log_probs)
    return Marks(nll, tops, kl)


def _let_go(kept: npt.NDArray[np.float16]) -> None:
    """Tell the system that the pages of a mapped file are not needed for now."""
    mapped = getattr(kept, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _marker(store: Path) -> dict[str, Any]:
    try:
        marker: dict[str, Any] = json.loads((store / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker


def _keep(
    session: Session, examined: Exam, folder: Path, kl_tokens: int, progress: Progress | None
) -> int:
    """Score the base and write its arrays; return how many words it guessed."""
    windows, task = examined.windows, examined.task
    shape = (windows.shape[0], windows.shape[1] - 1)
    nll, tops = np.empty(shape, np.float32), np.empty(shape, np.int32)
    log_probs: Any = None
    starts = np.zeros(len(windows), np.int64)
    for number, start, logits in scan(session, windows, progress):
        stop = start + len(logits)
        if log_probs is None:  # the vocabulary is known from the first logits only
            starts, run = _runs(shape, int(logits.shape[1]), kl_tokens)
            log_probs = np.lib.format.open_memmap(
                folder / "log_probs.npy",
                mode="w+",
                dtype=np.float16,
                shape=(len(windows), run, int(logits.shape[1])),
            )
        nll[number, start:stop], tops[number, start:stop] = grade(
            logits, windows[number, start + 1 : stop + 1]
        )
        kept, here = _overlap(int(starts[number]), log_probs.shape[1], start, stop)
        if kept.start < kept.stop:
            log_probs[number, kept] = log_probabilities(logits[here])
            _let_go(log_probs)  # what was written is the system's, and reaches the file
    log_probs.flush()
    np.save(folder / "nll.npy", nll)
    np.save(folder / "tops.npy", tops)
    np.save(folder / "starts.npy", starts)
    return share_of(tops, windows, task.spans) + guesses(session, task)


def _runs(shape: tuple[int, int], vocabulary: int, tokens: int) -> tuple[Tokens, int]:
    """Where each window's run of kept positions starts, and how long all runs are.

    The place moves on by the golden ratio from window to window, so that
    early and late positions are represented alike.
    """
    count, length = shape
    run = min(max(1, min(tokens, _KEPT_BYTES // (2 * vocabulary)) // count), length)
    places = np.arange(count) * 0.6180339887498949 % 1.0
    return (places * (length - run + 1)).astype(np.int64), run


def _overlap(first: int, run: int, start: int, stop: int) -> tuple[slice, slice]:
    """Which kept positions lie in a chunk: counted from the run, and from the chunk."""
    low, high = max(first, start), min(first + run, stop)
    return slice(low - first, high - first), slice(low - start, high - start)


def _perplexity(nll: npt.NDArray[np.float32]) -> Estimate:
    return _estimate((math.exp(min(x, _MOST)) for x in block_mean(nll)), "1", _METHOD)


def _cloze(right: int, task: Cloze) -> Estimate:
    if task.items == 0:
        return Estimate(
            value=0.5,
            low=0.0,
            high=1.0,
            unit="1",
            kind=Kind.ASSUMED,
            source="the text holds no cloze items: nothing is known",
            boundary="model",
        )
    return _estimate(wilson(right, task.items), "1", f"{task.name}, 95 % Wilson")


def _itself(value: float, unit: str) -> Estimate:
    return Estimate.exact(value, unit=unit, source="the base against itself", boundary="model")


def _estimate(numbers: Iterable[float], unit: str, source: str) -> Estimate:
    value, low, high = (float(number) for number in numbers)
    return Estimate(
        value=value,
        low=low,
        high=high,
        unit=unit,
        kind=Kind.MEASURED,
        source=source,
        boundary="model",
    )
