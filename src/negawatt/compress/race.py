"""Paired timing: sessions take turns, so a drifting machine slows them all alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Session
from negawatt.core.records import Workload

_SOURCE = "process CPU clock"
_STRIDE = 4  # tokens a session writes before the next has its turn
_ENOUGH = 6  # values from which order statistics give a 95 % interval


@dataclass(frozen=True, slots=True)
class Laps:
    """Times of one session; values of two raced sessions at one place are a pair."""

    prefill_cpu: tuple[float, ...]  # per round [s/token]
    decode_cpu: tuple[float, ...]  # per few tokens [s/token]
    prefill_wall: tuple[float, ...]  # of the whole prompt [s]
    decode_wall: tuple[float, ...]  # [s/token]


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

    In every round each session reads the prompt, and then all write a few
    tokens in turn until they have their share: two sessions are never more
    than a few tokens apart, so whatever else the machine does falls on both.
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
    runners = {name: _Runner(session, prompt, clock) for name, session in sessions.items()}
    for turn in range(rounds + 1):
        for runner in runners.values():
            runner.read(counted=turn > 0)
        for _ in range(max(1, decode_tokens // _STRIDE)):
            for runner in runners.values():
                runner.write(counted=turn > 0)
    return {name: runner.laps() for name, runner in runners.items()}


class _Runner:
    """One session in a race, with the times it took."""

    def __init__(self, session: Session, prompt: NDArray[np.int64], clock: Clock) -> None:
        self._session, self._prompt, self._clock = session, prompt, clock
        self._next: NDArray[np.int64] = prompt[:, :1]
        self._read: list[tuple[float, float]] = []  # CPU and wall time [s]
        self._written: list[tuple[float, float]] = []

    def read(self, *, counted: bool) -> None:
        """Read the prompt into an empty cache."""
        self._session.reset()
        cpu, wall = self._clock.cpu(), self._clock.monotonic()
        self._step(self._prompt)
        if counted:
            self._read.append((self._clock.cpu() - cpu, self._clock.monotonic() - wall))

    def write(self, *, counted: bool) -> None:
        """Write a few tokens."""
        cpu, wall = self._clock.cpu(), self._clock.monotonic()
        for _ in range(_STRIDE):
            self._step(self._next)
        if counted:
            self._written.append((self._clock.cpu() - cpu, self._clock.monotonic() - wall))

    def _step(self, tokens: NDArray[np.int64]) -> None:
        logits = self._session.forward(tokens, keep=1)
        self._next = np.argmax(logits[:, -1:], axis=-1)

    def laps(self) -> Laps:
        """Times per token, and wall times per request."""
        batch, length = self._prompt.shape
        return Laps(
            prefill_cpu=tuple(cpu / (batch * length) for cpu, _ in self._read),
            decode_cpu=tuple(cpu / (batch * _STRIDE) for cpu, _ in self._written),
            prefill_wall=tuple(wall for _, wall in self._read),
            decode_wall=tuple(wall / _STRIDE for _, wall in self._written),
        )


def joined(heats: Sequence[Laps]) -> Laps:
    """Laps of several heats, one after the other."""
    names = [field.name for field in fields(Laps)]
    return Laps(**{n: tuple(t for heat in heats for t in getattr(heat, n)) for n in names})


def centre(values: Sequence[float], *, unit: str, boundary: str = "process") -> Estimate:
    """Median of repeated timings with its 95 % interval, never wider than what was seen.

    >>> centre([3.0, 1.0, 2.0], unit="s").value
    2.0
    """
    low, middle, high = _median(values)
    return Estimate(
        value=middle,
        low=max(low, min(values)),
        high=min(high, max(values)),
        unit=unit,
        kind=Kind.MEASURED,
        source=f"{_SOURCE}, median of {len(values)} timings",
        boundary=boundary,
    )


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Estimate:
    """Ratio of paired timings: the median over pairs with its 95 % interval.

    >>> ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).value
    2.0
    """
    pairs = zip(numerator, denominator, strict=True)
    # In logarithms, so that swapping the two turns ratio and interval round.
    logs = [math.log(a / b) for a, b in pairs]
    low, middle, high = (math.exp(x) for x in _median(logs))
    return Estimate(
        value=middle,
        low=low,
        high=high,
        unit="1",
        kind=Kind.MEASURED,
        source=f"{_SOURCE}, median of {len(numerator)} pairs taken in turns",
        boundary="process",
    )


def _median(values: Sequence[float]) -> tuple[float, float, float]:
    """Low end, median and high end, 95 %.

    The ends are the order statistics that hold the median by the binomial
    law, which no outlier moves; fewer than six values have none so sure, and
    get Student's interval around their median.
    """
    ordered = sorted(values)
    n, middle = len(ordered), statistics.median(values)
    if n == 1:
        return middle, middle, middle
    if n < _ENOUGH:
        spread = statistics.stdev(ordered) / math.sqrt(n)
        half = float(student.ppf(0.975, n - 1)) * spread
        return middle - half, middle, middle + half
    reach = max(0, math.floor((n - 1.96 * math.sqrt(n)) / 2))
    return ordered[reach], middle, ordered[n - 1 - reach]
