"""From joules to greenhouse gas, with the interval of every factor carried along."""

from __future__ import annotations

from dataclasses import replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import table
from negawatt.core.quantities import GramsPerKWh, Joules

GRAMS = "gCO2e"
GRAMS_PER_KWH = "gCO2e/kWh"


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
    >>> pue = Estimate.exact(1.2, unit="1", source="operator")
    >>> str(operational_emissions(energy, stated_intensity(GramsPerKWh(150)), pue))
    '360 gCO2e (assumed)'
    """
    _expect(energy, "J", "energy")
    _expect(intensity, GRAMS_PER_KWH, "intensity")
    low, value, high = (Joules(j).kwh for j in (energy.low, energy.value, energy.high))
    kwh = replace(energy, low=low, value=value, high=high, unit="kWh")
    grams = kwh.times(intensity, unit=GRAMS)
    boundary = ", ".join(filter(None, (energy.boundary, "operation only")))
    if pue is None:
        return replace(grams, boundary=f"{boundary}, IT equipment only")
    _expect(pue, "1", "pue")
    if pue.low < 1:
        raise UsageError(
            f"a PUE is facility over IT energy and cannot be below 1, got {pue.low:g}",
            fix="give the yearly PUE of the site, for example --pue 1.2, or leave it out",
        )
    return replace(grams.times(pue, unit=GRAMS), boundary=f"{boundary}, facility overhead included")


def world_intensity() -> Estimate:
    """The band for an unknown place: the world's mean, and where 95 % of grid zones lie.

    >>> world_intensity().kind
    <Kind.ASSUMED: 'assumed'>
    """
    return replace(table("grid")["world"].estimate(), boundary="world, place unknown")


def stated_intensity(intensity: GramsPerKWh) -> Estimate:
    """An intensity somebody states: taken as it is, and called assumed.

    Raises:
        UsageError: it is negative.
    """
    if intensity.value < 0:
        raise UsageError(
            f"a grid cannot emit {intensity.value:g} g per kWh",
            fix="give its intensity in grams of CO2e per kWh, for example --intensity 150",
        )
    return Estimate.exact(
        intensity.value, unit=GRAMS_PER_KWH, kind=Kind.ASSUMED, source="stated intensity"
    )


def stated_pue(value: float) -> Estimate:
    """A power usage effectiveness somebody states. [1]"""
    return Estimate.exact(value, unit="1", kind=Kind.ASSUMED, source="stated PUE")


def _expect(estimate: Estimate, unit: str, name: str) -> None:
    if estimate.unit != unit:
        raise UsageError(
            f"{name} is in {estimate.unit}, and {unit} is needed", fix=f"convert {name} to {unit}"
        )
