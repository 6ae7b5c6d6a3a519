"""Paired timing: sessions take turns, so a drifting machine slows them all alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Session
from negawatt.core.records import Workload

_SOURCE = "process CPU clock"


@dataclass(frozen=True, slots=True)
class Laps:
    """Times of one session, a value per round. [s/token]"""

    prefill_cpu: tuple[float, ...]
    decode_cpu: tuple[float, ...]
    prefill_wall: tuple[float, ...]  # of the whole prompt [s]
    decode_wall: tuple[float, ...]


def race(
    sessions: Mapping[str, Session],
    workload: Workload,
    *,
    rounds: int,
    decode_tokens: int,
    vocabulary: int,
    clock: Clock | None = None,
) -> dict[str, Laps]:
    """Let sessions take turns at reading a prompt and writing tokens.

    One uncounted round comes first. Prompt tokens are random: what a dense
    model costs does not depend on them.

    Args:
        sessions: By name; all open at once.
        workload: Prompt length and batch.
        rounds: Counted rounds.
        decode_tokens: Tokens each session writes per round.
        vocabulary: Bound of the random tokens.
        clock: The machine's when None.
    """
    clock = clock or SystemClock()
    random = np.random.default_rng(0)
    prompt = random.integers(0, vocabulary, (workload.batch, workload.prompt))
    laps: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in sessions}
    for turn in range(rounds + 1):
        for name, session in sessions.items():
            lap = _lap(session, prompt, decode_tokens, clock)
            if turn:
                laps[name].append(lap)
    return {
        name: Laps(*(tuple(column) for column in zip(*found, strict=True)))
        for name, found in laps.items()
    }


def _lap(
    session: Session,
    prompt: np.ndarray[tuple[int, int], np.dtype[np.int64]],
    tokens: int,
    clock: Clock,
) -> tuple[float, float, float, float]:
    batch, length = prompt.shape
    session.reset()
    cpu, wall = clock.cpu(), clock.monotonic()
    logits = session.forward(prompt, keep=1)
    prefill = clock.cpu() - cpu, clock.monotonic() - wall
    cpu, wall = clock.cpu(), clock.monotonic()
    for _ in range(tokens):
        logits = session.forward(np.argmax(logits[:, -1:], axis=-1), keep=1)
    decode = clock.cpu() - cpu, clock.monotonic() - wall
    written = tokens * batch
    return prefill[0] / (batch * length), decode[0] / written, prefill[1], decode[1] / tokens


def centre(values: Sequence[float], *, unit: str, boundary: str = "process") -> Estimate:
    """Median of repeated timings, with the interval that order statistics give.

    >>> centre([3.0, 1.0, 2.0], unit="s").value
    2.0
    """
    ordered = sorted(values)
    # Ranks that cover the median with at least 95 %, by the binomial law; the
    # whole range when there are too few values for that.
    n = len(ordered)
    reach = math.floor((n - 1.96 * math.sqrt(n)) / 2) if n >= 6 else 0
    reach = max(0, min(reach, (n - 1) // 2))
    return Estimate(
        value=statistics.median(ordered),
        low=ordered[reach],
        high=ordered[n - 1 - reach],
        unit=unit,
        kind=Kind.MEASURED,
        source=f"{_SOURCE}, median of {n} rounds",
        boundary=boundary,
    )


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate:
    """Ratio of paired timings: geometric mean over rounds, 95 % Student t interval.

    >>> ratio([2.0, 4.0], [1.0, 2.0]).value
    2.0
    """
    logs = np.log(np.asarray(numerator) / np.asarray(denominator))
    middle = float(np.median(logs)) if len(logs) > 4 else float(logs.mean())
    half = 0.0
    if len(logs) > 1:
        half = float(student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return Estimate(
        value=math.exp(middle),
        low=math.exp(middle - half),
        high=math.exp(middle + half),
        unit="1",
        kind=Kind.MEASURED,
        source=f"{_SOURCE}, {len(logs)} paired rounds",
        boundary="process",
    )
