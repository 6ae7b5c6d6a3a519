"""Paired timing: sessions take turns, so a drifting machine slows them all alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Half:
    """Times of one session in one phase; values of two raced sessions at one place are a pair."""

    cpu: tuple[float, ...]  # [s/token]
    wall: tuple[float, ...]  # of a whole prompt, or of a token of every sequence [s]

    def after(self, earlier: Half | None) -> Half:
        """These times behind those of an earlier race of the same kind."""
        if earlier is None:
            return self
        return Half(earlier.cpu + self.cpu, earlier.wall + self.wall)


def laps(read: Half, written: Half) -> Laps:
    """Both phases of one session."""
    return Laps(read.cpu, written.cpu, read.wall, written.wall)


def race(
    sessions: Mapping[str, Session],
    workload: Workload,
    *,
    rounds: int,
    decode_tokens: int,
    vocabulary: int,
    clock: Clock | None = None,
) -> dict[str, Laps]:
    """Let sessions take turns at reading prompts, then at writing tokens.

    Args:
        sessions: By name; all open at once.
        workload: Prompt length, tokens written and batch.
        rounds: Counted rounds; an uncounted prompt and a few uncounted tokens come first.
        decode_tokens: Tokens each session writes per round.
        vocabulary: Bound of the random tokens.
        clock: The machine's when None.
    """
    read = race_reading(sessions, workload, rounds=rounds, vocabulary=vocabulary, clock=clock)
    written = race_writing(
        sessions,
        workload,
        rounds=rounds,
        decode_tokens=decode_tokens,
        vocabulary=vocabulary,
        clock=clock,
    )
    return {name: laps(read[name], written[name]) for name in sessions}


def race_reading(
    sessions: Mapping[str, Session],
    workload: Workload,
    *,
    rounds: int,
    vocabulary: int,
    clock: Clock | None = None,
) -> dict[str, Half]:
    """Let sessions take turns at reading one prompt into an empty cache.

    Prompt tokens are random: what a dense model costs does not depend on them.
    """
    runners = _runners(sessions, workload, vocabulary, clock)
    for turn in range(rounds + 1):
        for runner in runners.values():
            runner.read(counted=turn > 0)
    tokens = workload.batch * workload.prompt
    return {name: runner.half(tokens, 1) for name, runner in runners.items()}


def race_writing(
    sessions: Mapping[str, Session],
    workload: Workload,
    *,
    rounds: int,
    decode_tokens: int,
    vocabulary: int,
    clock: Clock | None = None,
) -> dict[str, Half]:
    """Let sessions take turns at writing a few tokens each.

    Two sessions are never more than a few tokens apart, so whatever else the
    machine does falls on both. When a reply is as long as the workload's, the
    prompt is read again, uncounted: the context stays what the workload has.
    """
    runners = _runners(sessions, workload, vocabulary, clock)
    turns = rounds * max(1, decode_tokens // _STRIDE)
    written = workload.generate  # as if a reply had just ended
    for turn in range(turns + 1):
        if written >= workload.generate:
            for runner in runners.values():
                runner.read(counted=False)
            written = 0
        for runner in runners.values():
            runner.write(counted=turn > 0)
        written += _STRIDE
    tokens = workload.batch * _STRIDE
    return {name: runner.half(tokens, _STRIDE) for name, runner in runners.items()}


def _runners(
    sessions: Mapping[str, Session], workload: Workload, vocabulary: int, clock: Clock | None
) -> dict[str, _Runner]:
    clock = clock or SystemClock()
    random = np.random.default_rng(0)
    prompt = random.integers(0, vocabulary, (workload.batch, workload.prompt))
    return {name: _Runner(session, prompt, clock) for name, session in sessions.items()}


class _Runner:
    """One session in a race, with the times it took."""

    def __init__(self, session: Session, prompt: NDArray[np.int64], clock: Clock) -> None:
        self._session, self._prompt, self._clock = session, prompt, clock
        self._next: NDArray[np.int64] = prompt[:, :1]
        self._times: list[tuple[float, float]] = []  # CPU and wall time [s]

    def read(self, *, counted: bool) -> None:
        """Read the prompt into an empty cache."""
        self._session.reset()
        self._timed(self._prompt, 1, counted=counted)

    def write(self, *, counted: bool) -> None:
        """Write a few tokens."""
        self._timed(None, _STRIDE, counted=counted)

    def _timed(self, tokens: NDArray[np.int64] | None, steps: int, *, counted: bool) -> None:
        cpu, wall = self._clock.cpu(), self._clock.monotonic()
        for _ in range(steps):
            logits = self._session.forward(self._next if tokens is None else tokens, keep=1)
            self._next = np.argmax(logits[:, -1:], axis=-1)
        if counted:
            self._times.append((self._clock.cpu() - cpu, self._clock.monotonic() - wall))

    def half(self, tokens: int, walls: int) -> Half:
        """The counted times, each over so many tokens, and their walls over so many."""
        return Half(
            cpu=tuple(cpu / tokens for cpu, _ in self._times),
            wall=tuple(wall / walls for _, wall in self._times),
        )


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
