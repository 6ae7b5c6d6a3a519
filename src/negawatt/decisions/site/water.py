"""Water of a site: what cooling takes there, and what making the bought electricity took."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.site.records import Column
from negawatt.ledger.footprint.water import LITRES_PER_KWH, Water, water


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteWater:
    """Litres, and the same weighted by how scarce water is.

    Args:
        used: On site and off site. [L]
        stress: World's mean litres that a litre there counts as; None where nobody told. [1]
    """

    used: Water
    stress: float | None = None

    @property
    def weighted(self) -> Estimate | None:
        """Litres of the world's mean scarcity, of what the site itself takes. [L]

        Power stations stand elsewhere, so the site's factor says nothing of their water.
        """
        if self.stress is None:
            return None
        onsite = self.used.onsite
        return replace(onsite.scaled(self.stress), boundary="on site, weighted by scarcity")


def site_water(
    it_j: Column,
    grid_j: Column,
    *,
    wue: Column | None = None,
    wue_ends: tuple[Column, Column] | None = None,
    offsite: Estimate | None = None,
    stress: float | None = None,
) -> SiteWater:
    """Water of a site over some time.

    Off site only what is bought counts: making on-site solar power takes next to no water.

    Args:
        it_j: Energy of the IT equipment, step by step. [J]
        grid_j: Energy bought. [J]
        wue: Water taken at the site per kilowatt-hour of IT energy; a band when None. [L/kWh]
        wue_ends: Lower and upper ends of it; none when None. [L/kWh]
        offsite: Of the electricity bought; a band when None. [L/kWh]
        stress: World's mean litres that a litre there counts as, such as an AWARE factor. [1]

    Raises:
        UsageError: a factor is below 0.

    >>> found = site_water(np.array([3.6e6]), np.array([1.8e6]), wue=np.array([0.4]), stress=2.0)
    >>> found.used.onsite.value, found.weighted.value
    (0.4, 0.8)
    """
    if stress is not None and not 0 <= stress < np.inf:
        raise UsageError(f"water stress is {stress!r}", fix="give a factor of 0 or more")
    drawn, bought = _joules(it_j, "IT equipment"), _joules(grid_j, "bought")
    onsite = None if wue is None else _mean(it_j, wue, *(wue_ends or (wue, wue)))
    here = water(drawn, onsite=onsite).onsite
    there = water(bought, offsite=offsite).offsite
    return SiteWater(used=Water(here, there), stress=stress)


def _joules(column: Column, boundary: str) -> Estimate:
    return Estimate.exact(
        float(column.sum()),
        unit="J",
        source="planned",
        boundary=boundary,
        kind=Kind.MODELLED,
    )


def _mean(it_j: Column, wue: Column, low: Column, high: Column) -> Estimate:
    """Weighted by what IT equipment draws. [L/kWh]"""
    whole = float(it_j.sum())
    means = [float(column @ it_j) / whole if whole > 0 else 0.0 for column in (wue, low, high)]
    return Estimate(
        value=means[0], low=min(means), high=max(means), unit=LITRES_PER_KWH, kind=Kind.MODELLED,
        source="cooling by weather",
    )  # fmt: skip
