"""Water that a kilowatt-hour evaporates: at the site, and where the electricity was made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import table
from negawatt.ledger.footprint.operation import expect, facility_energy, joined, kilowatt_hours

LITRES = "L"
LITRES_PER_KWH = "L/kWh"


@dataclass(frozen=True, slots=True)
class Water:
    """Litres consumed. A factor nobody stated makes its part a band, not a zero."""

    onsite: Estimate
    offsite: Estimate

    @property
    def total(self) -> Estimate:
        """Both together. [L]"""
        return replace(self.onsite + self.offsite, boundary="on site and off site")


def water(
    energy: Estimate,
    *,
    pue: Estimate | None = None,
    onsite: Estimate | None = None,
    offsite: Estimate | None = None,
) -> Water:
    """Water for an IT energy.

    On site it is the water usage effectiveness (ISO/IEC 30134-9), which counts
    per kilowatt-hour of IT energy; off site every kilowatt-hour the building
    draws counts, so the PUE multiplies it.

    Args:
        energy: Drawn by the IT equipment. [J]
        pue: Facility over IT energy; None leaves the building out. [1]
        onsite: Water usage effectiveness of the site; a band when None. [L/kWh]
        offsite: Water of the electricity used; a band when None. [L/kWh]

    Raises:
        UsageError: a unit is not the one stated, or a factor is negative.

    >>> energy = Estimate.exact(3_600_000, unit="J", source="meter")
    >>> used = water(energy, onsite=stated_water(0.3), offsite=stated_water(4))
    >>> used.onsite.value, used.offsite.value, used.total.value
    (0.3, 4.0, 4.3)
    """
    unstated = table("water")
    here = onsite or unstated["onsite"].estimate()
    there = offsite or unstated["offsite"].estimate()
    for factor, name in ((here, "on-site water"), (there, "off-site water")):
        expect(factor, LITRES_PER_KWH, name)
    drawn = facility_energy(energy, pue)
    it = kilowatt_hours(energy).times(here, unit=LITRES)
    made = kilowatt_hours(drawn).times(there, unit=LITRES)
    where = "on site" if onsite else "on site, WUE unknown: a band"
    off = joined("off site", drawn.boundary, "" if offsite else "factor unknown: a band")
    return Water(replace(it, boundary=where), replace(made, boundary=off))


def stated_water(litres_per_kwh: float) -> Estimate:
    """A water factor somebody states. [L/kWh]

    Raises:
        UsageError: it is negative.
    """
    if litres_per_kwh < 0:
        raise UsageError(
            f"water cannot be {litres_per_kwh:g} L per kWh",
            fix="give litres consumed per kilowatt-hour, 0 or more",
        )
    return Estimate.exact(
        litres_per_kwh, unit=LITRES_PER_KWH, kind=Kind.ASSUMED, source="stated water factor"
    )
