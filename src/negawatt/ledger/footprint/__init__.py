"""What joules mean outside the machine: greenhouse gas, water, primary energy, the making of parts.

Pure arithmetic on estimates. Intervals are carried end by end, the weakest kind
wins, and what is unknown is a band or an error, never a zero.

`operation` multiplies one energy by one intensity, `hourly` does it hour by hour;
`intensity` knows the grids by year, `scope2` gives both views of purchased
electricity, `water` and `primary` the rest of what a kilowatt-hour takes,
`embodied` the share of making the hardware, `idle` what reserved machines draw
while they wait, `remote` a request to somebody else's model, and `account` all
of it for one activity.
"""

from __future__ import annotations

from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Signal
from negawatt.ledger.footprint.intensity import (
    Intensity,
    of_zone,
    stated_intensity,
    world_intensity,
    zones,
)
from negawatt.ledger.footprint.operation import (
    GRAMS,
    kilowatt_hours,
    operational_emissions,
    stated_pue,
)

__all__ = [
    "GRAMS",
    "GRAMS_PER_KWH",
    "Accounting",
    "Basis",
    "Intensity",
    "Signal",
    "kilowatt_hours",
    "of_zone",
    "operational_emissions",
    "stated_intensity",
    "stated_pue",
    "world_intensity",
    "zones",
]
