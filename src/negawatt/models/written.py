"""What is lost when a text is written token by token, which reading it at once does not show.

An engine reads a prompt with keys and values as they were computed, and writes with those
that lie in its cache, rounded. So sessions are fed one token at a time here, all of them the
same one, and compared at every position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import NumericsGateFailed, TextError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Session
from negawatt.models.corpus import Tokens
from negawatt.models.interval import BLOCK, block_mean
from negawatt.models.scoring import Progress

_METHOD = f"token by token, 95 % Student t over blocks of {BLOCK} tokens"


@dataclass(frozen=True, slots=True)
class Written:
    """How one session writes, beside another one that is fed the same tokens."""

    loss: Estimate  # perplexity over that of the other, less one [1]
    kl: Estimate  # mean KL(other || this) [nat/token]


def written(
    sessions: Mapping[str, Session],
    windows: Tokens,
    beside: str,
    progress: Progress | None = None,
) -> dict[str, Written]:
    """Feed `windows` to all sessions, one token at a time, and compare them with one of them.

    Args:
        sessions: By name, all open at once; they are reset, not closed.
        windows: int64, [windows, window].
        beside: Name of the session that the others are compared with; it loses nothing.
        progress: Told the share done.

    Raises:
        NumericsGateFailed: a session returned something that is no number.
        TextError: too little text for an interval.
    """
    if windows.ndim != 2 or windows.shape[1] < 2 or not len(windows):
        raise TextError("there is no text to write", fix="give windows of at least two tokens")
    shape = len(windows), windows.shape[1] - 1
    nll = {name: np.zeros(shape) for name in sessions}
    kl = {name: np.zeros(shape) for name in sessions}
    for row, window in enumerate(windows):
        for session in sessions.values():
            session.reset()
        for at in range(shape[1]):
            token = window[None, at : at + 1]
            said = {name: _log_softmax(one.forward(token)) for name, one in sessions.items()}
            base = said[beside]
            likely = np.exp(base)
            for name, values in said.items():
                nll[name][row, at] = -values[window[at + 1]]
                kl[name][row, at] = likely @ (base - values)
        if progress:
            progress("writing", (row + 1) / shape[0])
    return {name: _told(nll[name] - nll[beside], kl[name]) for name in sessions}


def _log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Of the one position, float64 [vocabulary]."""
    values = np.asarray(logits, np.float64).reshape(-1)
    if not np.isfinite(values).all():
        raise NumericsGateFailed(
            "the engine returned logits that are not numbers",
            fix="use a wider key-value cache, or another engine for this model",
        )
    shifted = values - values.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _told(change: npt.NDArray[np.float64], kl: npt.NDArray[np.float64]) -> Written:
    loss = [math.expm1(x) for x in block_mean(change)]
    far = [max(0.0, x) for x in block_mean(kl)]
    return Written(_estimate(loss, "1"), _estimate(far, "nat/token"))


def _estimate(numbers: list[float], unit: str) -> Estimate:
    value, low, high = numbers
    return Estimate(
        value=value,
        low=low,
        high=high,
        unit=unit,
        kind=Kind.MEASURED,
        source=_METHOD,
        boundary="model",
    )
