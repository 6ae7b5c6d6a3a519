"""From power to energy: the trapezoid rule, with gaps flagged instead of smoothed over."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, runtime_checkable

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.quantities import Joules, Watts

MAX_GAP_S = 1.0  # longer silences between two samples are gaps
POLL_S = 0.1  # how often a power gauge is read while a window is open
_MISSED = 3.0  # samples of a slow gauge that may fail to come before there is a gap


@dataclass(frozen=True, slots=True)
class Integral:
    """Energy under a power curve.

    Args:
        value: Trapezoid sum. [J]
        low: Sum with each step at the smaller of its ends, gaps at zero. [J]
        high: Sum with each step at the larger of its ends, gaps at the ceiling. [J]
        gap_s: Time during which nothing was seen. [s]
    """

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    gap_s: float = 0.0

    def __add__(self, other: Integral) -> Integral:
        return Integral(
            self.value + other.value,
            self.low + other.low,
            self.high + other.high,
            self.gap_s + other.gap_s,
        )

    def blurred(self, step_j: float) -> Integral:
        """The same from a counter that moves in steps of this many joules: as far off at the ends.

        >>> Integral(100.0, 100.0, 100.0).blurred(3.6)
        Integral(value=100.0, low=96.4, high=103.6, gap_s=0.0)
        """
        low = min(self.low, max(0.0, self.low - step_j))
        return replace(self, low=low, high=self.high + step_j)

    def doubted(self, gap_s: float) -> Integral:
        """The same from a counter that may have begun anew meanwhile: it may be nothing at all.

        >>> Integral(100.0, 100.0, 100.0).doubted(2.0)
        Integral(value=100.0, low=0.0, high=100.0, gap_s=2.0)
        """
        return replace(self, low=min(0.0, self.low), gap_s=self.gap_s + gap_s)

    def __sub__(self, earlier: Integral) -> Integral:
        return Integral(
            self.value - earlier.value,
            self.low - earlier.low,
            self.high - earlier.high,
            self.gap_s - earlier.gap_s,
        )


def step(
    span_s: float, before_w: float, after_w: float, *, max_gap_s: float, ceiling_w: float
) -> tuple[float, float, float, float]:
    """The energy between two neighbouring samples: value, low, high and gap, as in `Integral`."""
    value = span_s * (before_w + after_w) / 2
    lower, upper = (before_w, after_w) if before_w <= after_w else (after_w, before_w)
    if span_s > max_gap_s:
        return value, 0.0, span_s * max(upper, ceiling_w), span_s
    return value, span_s * lower, span_s * upper, 0.0


def integrate(
    times_s: Sequence[float],
    power_w: Sequence[float],
    *,
    max_gap_s: float = MAX_GAP_S,
    ceiling_w: float = 0.0,
) -> Integral:
    """Energy of a sampled power curve.

    Cutting the series at a sample and adding the two integrals gives the whole.

    Args:
        times_s: When each sample was taken, never decreasing. [s]
        power_w: The samples, none negative. [W]
        max_gap_s: Two samples further apart leave a gap. The trapezoid still spans it, but
            its time is reported and its interval runs from nothing to the ceiling. [s]
        ceiling_w: The most the device can draw; the larger neighbour when that is more. [W]

    Raises:
        UsageError: the series differ in length, time runs backwards or power is negative.

    >>> integrate([0.0, 1.0, 2.0], [10.0, 20.0, 20.0])
    Integral(value=35.0, low=30.0, high=40.0, gap_s=0.0)
    """
    if len(times_s) != len(power_w):
        raise UsageError(
            f"{len(times_s)} times but {len(power_w)} power samples", fix="give one time a sample"
        )
    if any(after < before for before, after in pairwise(times_s)) or min(power_w, default=0) < 0:
        raise UsageError(
            "a power series needs times that never decrease and samples that are not negative",
            fix="sort the samples by time and drop the broken ones",
        )
    total = Integral()
    for (t0, t1), (p0, p1) in zip(pairwise(times_s), pairwise(power_w), strict=True):
        total += Integral(*step(t1 - t0, p0, p1, max_gap_s=max_gap_s, ceiling_w=ceiling_w))
    return total


@runtime_checkable
class PowerGauge(Protocol):
    """Hardware that reports power alone.

    One that is slow to answer, or far away, says in `poll_every_s` how often it may be asked; the
    others are asked every tenth of a second. One whose reading needs a word of warning says it in
    `label`.
    """

    @property
    def name(self) -> str:
        """Which adapter and domain: `nvml:0`."""

    @property
    def boundary(self) -> str:
        """What the number includes: `gpu:0`."""

    @property
    def limit(self) -> Watts:
        """The most it can draw."""

    def power(self) -> Watts:
        """Power now; raise `MeterUnavailable`, never return a guess."""


def _negative(name: str, power_w: float) -> MeterUnavailable:
    return MeterUnavailable(
        f"{name} says {power_w:g} W, and nothing draws less than nothing",
        fix="read it by hand; if it stays so, leave this meter out",
    )


class Integrated:
    """A power gauge made into an energy counter by sampling it while a window is open.

    Two reads far apart leave a gap; `poll_every_s` asks whoever holds the meter to read it
    in between.
    """

    def __init__(
        self, gauge: PowerGauge, *, clock: Clock | None = None, max_gap_s: float | None = None
    ) -> None:
        self._gauge = gauge
        self._clock = clock or SystemClock()
        self.poll_every_s: float = getattr(gauge, "poll_every_s", POLL_S)
        self._max_gap_s = max_gap_s or max(MAX_GAP_S, _MISSED * self.poll_every_s)
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None  # (time [s], power [W])
        self._sums = (0.0, 0.0, 0.0, 0.0)  # as in `Integral`

    @property
    def name(self) -> str:
        """The name of the gauge."""
        return self._gauge.name

    @property
    def boundary(self) -> str:
        """The boundary of the gauge."""
        return self._gauge.boundary

    @property
    def label(self) -> str:
        """How the energy is come by, with the gauge's own word of warning if it has one."""
        warning: str = getattr(self._gauge, "label", "")
        return "; ".join(part for part in ("power samples, integrated", warning) if part)

    def integral(self) -> Integral:
        """Sample now and return the energy since the first sample, with its interval and gaps."""
        return Integral(*self.sample())

    def energy(self) -> Joules:
        """Energy since the first sample."""
        return Joules(self.sample()[0])

    def sample(self) -> tuple[float, float, float, float]:
        """Sample now; the same as `integral`, as plain numbers.

        Raises:
            MeterUnavailable: the gauge does not answer, or tells less than nothing.
        """
        with self._lock:
            now, power = self._clock.monotonic(), self._gauge.power().value
            if power < 0:
                raise _negative(self.name, power)
            if self._last is not None:
                before, before_w = self._last
                value, low, high, gap_s = step(
                    now - before,
                    before_w,
                    power,
                    max_gap_s=self._max_gap_s,
                    ceiling_w=self._gauge.limit.value,
                )
                sums = self._sums
                self._sums = (sums[0] + value, sums[1] + low, sums[2] + high, sums[3] + gap_s)
            self._last = (now, power)
            return self._sums
