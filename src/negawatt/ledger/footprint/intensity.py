"""Carbon intensities that say what they are: where, when, of what signal, counted how."""

from __future__ import annotations

from dataclasses import replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import table
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Signal
from negawatt.core.quantities import GramsPerKWh
from negawatt.core.zones import Country, Intensity, Zone, countries, of_zone, zones

__all__ = [
    "Country",
    "Intensity",
    "Zone",
    "countries",
    "of_zone",
    "stated",
    "stated_intensity",
    "world",
    "world_intensity",
    "zones",
]


def world() -> Intensity:
    """The band for an unknown place, with its basis."""
    basis = Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE)
    return Intensity(world_intensity(), basis, "world, place unknown")


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


def stated(grams_per_kwh: float, basis: Basis | None = None) -> Intensity:
    """An intensity somebody states, with what they say it is."""
    estimate = stated_intensity(GramsPerKWh(grams_per_kwh))
    return Intensity(estimate, basis or Basis(), "place not stated")
