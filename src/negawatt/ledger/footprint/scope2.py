"""Purchased electricity in both views of the GHG Protocol, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import table
from negawatt.core.grid import GRAMS_PER_KWH, Signal
from negawatt.ledger.footprint.intensity import Intensity
from negawatt.ledger.footprint.operation import (
    GRAMS,
    expect,
    facility_energy,
    joined,
    kilowatt_hours,
    total,
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A claim on how electricity was made: certificates, a contract, a supplier's own rate.

    Args:
        name: What it is, as an auditor finds it again.
        intensity: Of the electricity it stands for. [gCO2e/kWh]
        share: Of the facility's energy it covers, above 0 and at most 1. [1]
    """

    name: str
    intensity: Estimate
    share: float = 1.0

    def __post_init__(self) -> None:
        expect(self.intensity, GRAMS_PER_KWH, self.name)
        if not 0 < self.share <= 1:
            raise UsageError(
                f"{self.name} cannot cover {self.share:g} of the energy",
                fix="give the share it covers as a number above 0 and at most 1",
            )


@dataclass(frozen=True, slots=True)
class Scope2:
    """Emissions of purchased electricity, told twice. Never add the two.

    Args:
        location: By the grid the machine stands in. [gCO2e]
        market: By what was bought, the rest at the residual mix. [gCO2e]
        covered: Share of the energy that instruments stand for. [1]
        residual: What the rest was counted with, in words.
        notes: What a reader has to know to use the figures.
    """

    location: Estimate
    market: Estimate
    covered: float
    residual: str
    notes: tuple[str, ...]


def scope2(
    energy: Estimate,
    grid: Intensity,
    *,
    pue: Estimate | None = None,
    instruments: Sequence[Instrument] = (),
    residual: Estimate | None = None,
) -> Scope2:
    """Location-based and market-based emissions of one IT energy.

    GHG Protocol Scope 2 Guidance (2015): both totals are reported, the
    market-based one from contractual instruments and, for what they do not
    cover, the residual mix. An unknown residual mix is a band from the least
    the grid may have been to coal, because what is left when others have
    bought the clean part may be anything up to that.

    Args:
        energy: Drawn by the IT equipment. [J]
        grid: Of the place, average. [gCO2e/kWh]
        pue: Facility over IT energy; None leaves the building out. [1]
        instruments: What was bought; shares add up to at most 1.
        residual: Of the untracked rest; None when unknown. [gCO2e/kWh]

    Raises:
        UsageError: the grid's signal is marginal, or shares exceed 1.

    >>> from negawatt.ledger.footprint.intensity import stated
    >>> hour = Estimate.exact(3_600_000, unit="J", source="meter")
    >>> wind = Instrument("wind contract", stated(0).estimate, share=0.5)
    >>> both = scope2(hour, stated(400), instruments=[wind], residual=stated(600).estimate)
    >>> both.location.value, both.market.value
    (400.0, 300.0)
    """
    if grid.basis.signal is not Signal.AVERAGE:
        raise UsageError(
            f"{grid.place}: Scope 2 counts with average intensities, and this one is marginal",
            fix="give the average intensity of the grid; marginal ones are for decisions",
        )
    covered = sum(one.share for one in instruments)
    if covered > 1 + 1e-9:
        raise UsageError(
            f"the instruments cover {covered:.4g} of the energy, more than all of it",
            fix="lower their shares until they add up to at most 1",
        )
    drawn = kilowatt_hours(facility_energy(energy, pue))
    location = replace(
        drawn.times(grid.estimate, unit=GRAMS),
        boundary=joined(drawn.boundary, f"Scope 2, location-based, {grid.place}, {grid.basis}"),
    )
    rest, words = _rest(grid, residual)
    parts = [drawn.scaled(one.share).times(one.intensity, unit=GRAMS) for one in instruments]
    open_share = max(0.0, 1 - covered)
    if open_share > 1e-9:
        parts.append(drawn.scaled(open_share).times(rest, unit=GRAMS))
    words = words if open_share > 1e-9 else "not needed: instruments cover all"
    market = replace(total(parts), boundary=joined(drawn.boundary, "Scope 2, market-based", words))
    notes = _notes(grid, instruments, pue)
    return Scope2(location, market, min(covered, 1.0), words, notes)


def _rest(grid: Intensity, residual: Estimate | None) -> tuple[Estimate, str]:
    """The intensity of what no instrument covers, and how it was come by."""
    if residual is not None:
        expect(residual, GRAMS_PER_KWH, "residual mix")
        return residual, "residual mix as stated"
    here, coal = grid.estimate, table("site")["coal"]
    band = Estimate(
        value=here.value,
        low=here.low,
        high=max(here.high, coal.high),
        unit=GRAMS_PER_KWH,
        kind=Kind.ASSUMED,
        source=f"residual mix unknown: from the grid ({here.source}) to coal ({coal.source})",
    )
    return band, "residual mix unknown: a band"


def _notes(
    grid: Intensity, instruments: Sequence[Instrument], pue: Estimate | None
) -> tuple[str, ...]:
    notes = [f"grid: {grid.place}, {grid.basis}"]
    if "life cycle" in str(grid.basis.accounting):
        notes.append("life-cycle factors hold fuel supply too, which is Scope 3 category 3")
    if pue is None:
        notes.append("PUE unknown: the building's own draw is not in the figures")
    if not instruments:
        notes.append("no contract or certificate was stated")
    notes += [f"{one.name}: {one.share:.4g} of the energy" for one in instruments]
    return tuple(notes)
