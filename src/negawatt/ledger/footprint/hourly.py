"""Emissions hour by hour: each joule meets the intensity of its own time.

The mean intensity that comes out is weighted by energy, not by fetches. A time
for which no intensity is known is a gap that is told, never filled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.core.grid import GRAMS_PER_KWH, Basis
from negawatt.ledger.footprint.operation import expect, operational_emissions, total


@dataclass(frozen=True, slots=True)
class Span:
    """A figure that holds for a stretch of time. `start` is aware; `step` is above 0."""

    start: datetime
    step: timedelta
    estimate: Estimate

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.step <= timedelta(0):
            raise UsageError(
                f"{self.start} with a step of {self.step} is no stretch of time",
                fix="give an aware start, for example in UTC, and a step above 0",
            )

    @property
    def end(self) -> datetime:
        """Where the next one may start."""
        return self.start + self.step


@dataclass(frozen=True, slots=True)
class IntensitySeries:
    """Intensities of one place and one basis, in time order, holes allowed. [gCO2e/kWh]"""

    basis: Basis
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        _in_order(self.spans, "intensities")
        for span in self.spans:
            expect(span.estimate, GRAMS_PER_KWH, "intensity")

    def __add__(self, other: IntensitySeries) -> IntensitySeries:
        """The series with another after it; only like joins like.

        Raises:
            UsageError: one is average and the other marginal, or they count differently.
        """
        if other.basis != self.basis:
            raise UsageError(
                f"intensities that are {self.basis} cannot be mixed with {other.basis}",
                fix="work out each series on its own, and report both with their labels",
            )
        return IntensitySeries(self.basis, (*self.spans, *other.spans))


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch with energy and no intensity: its emissions are unknown."""

    start: datetime
    end: datetime
    energy: Estimate  # [J]


@dataclass(frozen=True, slots=True)
class Hourly:
    """Emissions of the time that is covered, and what is not."""

    basis: Basis
    emissions: Estimate | None  # of the covered part; None when nothing is [gCO2e]
    intensity: Estimate | None  # energy-weighted mean over it [gCO2e/kWh]
    covered: Estimate | None  # energy with an intensity [J]
    gaps: tuple[Gap, ...]

    @property
    def complete(self) -> bool:
        """True when every joule has met an intensity."""
        return not self.gaps


def hourly_emissions(
    energy: Sequence[Span], intensity: IntensitySeries, pue: Estimate | None = None
) -> Hourly:
    """Energy times intensity, each stretch with its own.

    Energy is taken as spread evenly over its stretch. Where that stretch meets
    several intensities this is an assumption: the value follows it, the
    interval holds for any other spread too, and the kind is modelled at best.

    Args:
        energy: Drawn by the IT equipment in each stretch, in time order. [J]
        intensity: Of the grid that fed it.
        pue: Facility over IT energy; None leaves the building out. [1]

    Raises:
        UsageError: stretches overlap or are out of order, or a unit is wrong.

    >>> from datetime import UTC
    >>> hour, noon = timedelta(hours=1), datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> kwh = Estimate.exact(3_600_000, unit="J", source="meter")
    >>> grid = Estimate.exact(100, unit="gCO2e/kWh", source="grid")
    >>> day = [Span(noon, hour, kwh), Span(noon + hour, hour, kwh.scaled(3))]
    >>> rates = (Span(noon, hour, grid), Span(noon + hour, hour, grid.scaled(2)))
    >>> found = hourly_emissions(day, IntensitySeries(Basis(), rates))
    >>> found.emissions.value, found.intensity.value
    (700.0, 175.0)
    """
    _in_order(energy, "energies")
    shares, gaps = [], []
    for span in energy:
        expect(span.estimate, "J", "energy")
        pieces, holes = _meet(span, intensity.spans)
        gaps += holes
        if pieces:
            shares.append(_of_stretch(span, pieces, spread=len(pieces) > 1 or bool(holes)))
    if not shares:
        return Hourly(intensity.basis, None, None, None, tuple(gaps))
    covered = total([joules for joules, _ in shares])
    mean = replace(_weighted(shares), boundary=f"energy-weighted, {intensity.basis}")
    grams = total([operational_emissions(joules, rate, pue) for joules, rate in shares])
    grams = replace(grams, boundary=f"{grams.boundary}, {intensity.basis}")
    return Hourly(intensity.basis, grams, mean, covered, tuple(gaps))


@dataclass(frozen=True, slots=True)
class _Piece:
    energy: Estimate
    rate: Estimate


def _meet(span: Span, known: Sequence[Span]) -> tuple[list[_Piece], list[Gap]]:
    """Cut a stretch at the edges of the intensities it meets."""
    pieces, gaps, at = [], [], span.start
    first = bisect_right(known, span.start, key=lambda one: one.end)
    for place in range(first, len(known)):
        one = known[place]
        start, end = max(one.start, span.start), min(one.end, span.end)
        if start >= end:
            break
        if start > at:
            gaps.append(_gap(span, at, start))
        pieces.append(_Piece(_part(span, start, end), one.estimate))
        at = end
    if at < span.end:
        gaps.append(_gap(span, at, span.end))
    if pieces and gaps:  # how much fell into the hole is not known
        pieces = [_Piece(_any_of(piece.energy, span), piece.rate) for piece in pieces]
        gaps = [replace(gap, energy=_any_of(gap.energy, span)) for gap in gaps]
    return pieces, gaps


def _any_of(energy: Estimate, span: Span) -> Estimate:
    """A part of a stretch whose spread decides what is known: from none of it to all of it."""
    kind = weakest((Kind.MODELLED, energy.kind))
    return replace(energy, low=0.0, high=max(energy.high, span.estimate.high), kind=kind)


def _part(span: Span, start: datetime, end: datetime) -> Estimate:
    return span.estimate.scaled((end - start) / span.step)


def _gap(span: Span, start: datetime, end: datetime) -> Gap:
    return Gap(start, end, _part(span, start, end))


def _of_stretch(span: Span, pieces: Sequence[_Piece], *, spread: bool) -> tuple[Estimate, Estimate]:
    """The energy of a stretch and the intensity it met, whichever way it was spread."""
    joules = total([piece.energy for piece in pieces])
    joules = replace(joules, high=max(joules.value, min(joules.high, span.estimate.high)))
    if not spread:
        return joules, pieces[0].rate
    whole = joules.value
    rate = replace(
        pieces[0].rate,
        value=sum(p.energy.value * p.rate.value for p in pieces) / whole
        if whole
        else pieces[0].rate.value,
        low=min(p.rate.low for p in pieces),
        high=max(p.rate.high for p in pieces),
        kind=weakest((Kind.MODELLED, *(p.rate.kind for p in pieces))),
    )
    return replace(joules, kind=weakest((Kind.MODELLED, joules.kind))), rate


def _weighted(shares: Sequence[tuple[Estimate, Estimate]]) -> Estimate:
    """The mean intensity, weighted by the best estimate of each energy."""
    rates = [rate for _, rate in shares]
    whole = sum(joules.value for joules, _ in shares)

    def mean(end: str) -> float:
        if not whole:
            return sum(float(getattr(rate, end)) for rate in rates) / len(rates)
        return sum(j.value * float(getattr(rate, end)) for j, rate in shares) / whole

    return replace(
        rates[0],
        low=mean("low"),
        value=mean("value"),
        high=mean("high"),
        source=" + ".join(dict.fromkeys(rate.source for rate in rates)),
        kind=weakest((*(rate.kind for rate in rates), *(j.kind for j, _ in shares))),
    )


def _in_order(spans: Sequence[Span], name: str) -> None:
    for before, after in pairwise(spans):
        if after.start < before.end:
            raise UsageError(
                f"{name} overlap: one ends {before.end}, the next starts {after.start}",
                fix="sort them by time and leave each moment in one of them",
            )
