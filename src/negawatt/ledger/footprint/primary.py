"""Primary energy: what was taken from nature for the electricity, where the data give it."""

from __future__ import annotations

from dataclasses import replace

from negawatt.core.estimate import Estimate
from negawatt.core.factors import table
from negawatt.ledger.footprint.operation import facility_energy, kilowatt_hours

MEGAJOULES = "MJ"


def primary_energy(
    energy: Estimate, zone: str | None = None, pue: Estimate | None = None
) -> Estimate | None:
    """Primary energy behind an IT energy, or None where the place has no published factor.

    Args:
        energy: Drawn by the IT equipment. [J]
        zone: Code of the country or zone; None is the world's band.
        pue: Facility over IT energy; None leaves the building out. [1]

    Returns:
        The primary energy [MJ], or None: unknown is not zero.

    >>> hour = Estimate.exact(3_600_000, unit="J", source="meter")
    >>> primary_energy(hour, "FR").value
    11.3
    >>> primary_energy(hour, "ZA") is None
    True
    """
    known = table("primary")
    key = "world" if zone is None else zone.strip().upper().partition("-")[0]
    if key not in known:
        return None
    drawn = facility_energy(energy, pue)
    found = kilowatt_hours(drawn).times(known[key].estimate(), unit=MEGAJOULES)
    place = "world, place unknown" if zone is None else key
    return replace(found, boundary=f"{drawn.boundary}, {place}")
