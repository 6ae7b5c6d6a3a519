"""From what power stations make to what a kilowatt-hour of the mix emits."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

Counted = Literal["life_cycle", "direct"]

#: Kinds that lack a value may have made this share of the energy at most.
_MAY_LACK = 0.02
#: The share of the energy whose kind must be known.
_KNOWN = 0.5


@cache
def factors(counted: Counted) -> Mapping[str, float]:
    """What each kind emits, by its name. [gCO2e/kWh]

    >>> factors("life_cycle")["nuclear"], factors("direct")["nuclear"]
    (12.0, 0.0)
    """
    place = files("negawatt") / "data" / "factors" / "generation.csv"
    lines = place.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return MappingProxyType({row["fuel"]: float(row[counted]) for row in rows})


def intensities(
    outputs: Mapping[str, Mapping[datetime, float]],
    fuels: Mapping[str, str],
    counted: Counted,
) -> dict[datetime, float]:
    """What a kilowatt-hour of the mix emitted at each time. [gCO2e/kWh]

    A time is left out when kinds that usually make more than a fiftieth of the energy have not
    reported it, or when less than half of the energy is of a known kind; the rest is taken to emit
    as the known part does. Output below zero is a station's own use, and counts as none.

    Args:
        outputs: By kind in the provider's words and time; power or energy of equal steps.
        fuels: The provider's words in those of the table; what is not there is unknown.
        counted: "life_cycle" or "direct".

    >>> noon = datetime(2026, 1, 1, 12)
    >>> intensities(
    ...     {"B04": {noon: 1.0}, "B14": {noon: 3.0}}, {"B04": "gas", "B14": "nuclear"}, "direct"
    ... )[noon]
    110.0
    """
    per_fuel = factors(counted)
    usual = {
        kind: sum(max(0.0, one) for one in told.values()) / len(told)
        for kind, told in outputs.items()
        if told
    }
    total = sum(usual.values())
    found: dict[datetime, float] = {}
    for time in sorted({time for told in outputs.values() for time in told}):
        here = {kind: max(0.0, told[time]) for kind, told in outputs.items() if time in told}
        lacking = sum(share for kind, share in usual.items() if kind not in here)
        if lacking > _MAY_LACK * total:
            continue
        known = {kind: one for kind, one in here.items() if fuels.get(kind) in per_fuel}
        made, sure = sum(here.values()), sum(known.values())
        if sure > 0 and sure >= _KNOWN * made:
            emitted = sum(one * per_fuel[fuels[kind]] for kind, one in known.items())
            found[time] = emitted / sure
    return found
