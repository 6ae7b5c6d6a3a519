"""One energy times one intensity, with the interval of every factor carried along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.core.grid import GRAMS_PER_KWH
from negawatt.core.quantities import J_PER_KWH

GRAMS = "gCO2e"


def operational_emissions(
    energy: Estimate, intensity: Estimate, pue: Estimate | None = None
) -> Estimate:
    """Greenhouse gas from running the work; manufacture is counted elsewhere.

    The E x I term of the Software Carbon Intensity score, ISO/IEC 21031:2024.
    Intervals multiply end by end, and the result is of the weakest kind that
    went into it.

    Args:
        energy: Drawn by the IT equipment. [J]
        intensity: Of the grid that fed it, over the same period. [gCO2e/kWh]
        pue: Facility energy over IT energy, ISO/IEC 30134-2; at least 1. When
            it is None the overhead of the building is left out, and the
            boundary of the result says so. [1]

    Returns:
        The emissions. [gCO2e]

    Raises:
        UsageError: a unit is not the one stated, or `pue` is below 1.

    >>> energy = Estimate.exact(7_200_000, unit="J", source="meter")
    >>> grid = Estimate.exact(150, unit="gCO2e/kWh", kind=Kind.ASSUMED, source="supplier")
    >>> str(operational_emissions(energy, grid, stated_pue(1.2)))
    '360 gCO2e (assumed)'
    """
    expect(intensity, GRAMS_PER_KWH, "intensity")
    grams = kilowatt_hours(energy).times(intensity, unit=GRAMS)
    boundary = joined(energy.boundary, "operation only")
    if pue is None:
        return replace(grams, boundary=f"{boundary}, IT equipment only")
    expect_pue(pue)
    return replace(grams.times(pue, unit=GRAMS), boundary=f"{boundary}, facility overhead included")


def facility_energy(energy: Estimate, pue: Estimate | None) -> Estimate:
    """What the building drew from the grid for this IT energy. [J]

    Args:
        energy: Drawn by the IT equipment. [J]
        pue: Facility energy over IT energy; None leaves the building out, and
            the boundary says so. [1]

    >>> facility_energy(Estimate.exact(100, unit="J", source="meter"), stated_pue(1.25)).value
    125.0
    """
    expect(energy, "J", "energy")
    if pue is None:
        return replace(energy, boundary=joined(energy.boundary, "IT equipment only"))
    expect_pue(pue)
    total = energy.times(pue, unit="J")
    return replace(total, boundary=joined(energy.boundary, "facility overhead included"))


def kilowatt_hours(energy: Estimate) -> Estimate:
    """The same energy in kilowatt-hours. [kWh]

    Raises:
        UsageError: it is not in joules.

    >>> kilowatt_hours(Estimate.exact(7_200_000, unit="J", source="meter")).value
    2.0
    """
    expect(energy, "J", "energy")
    low, value, high = (joules / J_PER_KWH for joules in (energy.low, energy.value, energy.high))
    return replace(energy, low=low, value=value, high=high, unit="kWh")


def stated_pue(value: float) -> Estimate:
    """A power usage effectiveness somebody states. [1]"""
    return Estimate.exact(value, unit="1", kind=Kind.ASSUMED, source="stated PUE")


def expect(estimate: Estimate, unit: str, name: str) -> None:
    """Refuse an estimate in another unit.

    Raises:
        UsageError: the unit is not `unit`.
    """
    if estimate.unit != unit:
        raise UsageError(
            f"{name} is in {estimate.unit}, and {unit} is needed", fix=f"convert {name} to {unit}"
        )


def expect_pue(pue: Estimate) -> None:
    """Refuse a PUE that cannot be one.

    Raises:
        UsageError: it has a unit, or is below 1.
    """
    expect(pue, "1", "pue")
    if pue.low < 1:
        raise UsageError(
            f"a PUE is facility over IT energy and cannot be below 1, got {pue.low:g}",
            fix="give the yearly PUE of the site, for example --pue 1.2, or leave it out",
        )


def total(estimates: Sequence[Estimate]) -> Estimate:
    """The sum of like figures, ends added, every source named once.

    Raises:
        UsageError: there are none, or their units differ.

    >>> hours = [Estimate.exact(k, unit="J", source=f"meter {k % 2}") for k in range(4)]
    >>> total(hours).value, total(hours).source
    (6.0, 'meter 0 + meter 1')
    """
    if len({estimate.unit for estimate in estimates}) != 1:
        raise UsageError("these figures have no sum", fix="add figures of one unit, at least one")
    sources = dict.fromkeys(estimate.source for estimate in estimates)
    return replace(
        estimates[0],
        value=math.fsum(estimate.value for estimate in estimates),
        low=math.fsum(estimate.low for estimate in estimates),
        high=math.fsum(estimate.high for estimate in estimates),
        kind=weakest(estimate.kind for estimate in estimates),
        source=" + ".join(sources),
        period_s=None,
    )


def joined(*parts: str) -> str:
    """Words of a boundary, commas between them, empty ones left out."""
    return ", ".join(filter(None, parts))
