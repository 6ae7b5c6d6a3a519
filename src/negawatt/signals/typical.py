"""What is built in about the hours of a zone: typical ones by season, or the mean of a year."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Flow, Signal, Status, Topic, utc
from negawatt.core.zones import countries, of_zone
from negawatt.signals.series import Column, Series

#: What the built-in tables of zones count.
BASIS = Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE, Flow.CONSUMPTION)

_HOUR = timedelta(hours=1)
_SEASONS = MappingProxyType({"DJF": 0, "MAM": 1, "JJA": 2, "SON": 3})


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """The typical hours of a zone, each [seasons, hours of the day in UTC]. [gCO2e/kWh]"""

    mean: Column
    low: Column
    high: Column


@cache
def table() -> Mapping[str, Typical]:
    """The typical hours of every zone that has them, by its code.

    >>> table()["DE"].mean.shape
    (4, 24)
    """
    place = files("negawatt") / "data" / "factors" / "typical_hours.csv"
    lines = place.read_text(encoding="utf-8").splitlines()
    made: dict[str, dict[str, Column]] = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        columns = made.setdefault(row["zone"], {n: np.empty((4, 24)) for n in _COLUMNS})
        hours = [float(row[f"h{hour:02}"]) for hour in range(24)]
        columns[row["what"]][_SEASONS[row["season"]]] = hours
    return MappingProxyType({zone: Typical(**columns) for zone, columns in made.items()})


_COLUMNS = ("mean", "low", "high")


def hours(zone: str, start: datetime, end: datetime) -> Series:
    """The typical hours of a zone over a time, with intervals that hold nine hours in ten.

    Args:
        zone: Such as "DE"; case does not matter.
        start: Aware.
        end: Aware.

    Raises:
        UsageError: the zone has none, or the time is empty.

    >>> from datetime import UTC
    >>> june = datetime(2026, 6, 1, tzinfo=UTC)
    >>> day = hours("US-CAL-CISO", june, june + timedelta(days=1))
    >>> int(day.values.argmin())  # before noon in California
    18
    """
    known = table().get(zone.strip().upper())
    if known is None:
        raise UsageError(
            f"no typical hours are built in for {zone}",
            fix=f"name one of: {', '.join(table())}; or a provider that knows the zone",
        )
    first = _hour(start)
    count = _count(first, end)
    moments = [first + place * _HOUR for place in range(count)]
    seasons = np.array([moment.month % 12 // 3 for moment in moments])
    clock = np.array([moment.hour for moment in moments])
    return Series(
        zone=zone,
        topic=Topic.CARBON,
        unit=GRAMS_PER_KWH,
        basis=BASIS,
        source="built-in typical hours (Electricity Maps, 2022)",
        status=Status.ESTIMATED,
        start=first,
        step=_HOUR,
        values=known.mean[seasons, clock],
        low=known.low[seasons, clock],
        high=known.high[seasons, clock],
    )


def year(zone: str, start: datetime, end: datetime) -> Series:
    """The yearly mean of a zone or country, the same in each hour, with the spread of its hours.

    Raises:
        UsageError: nothing is built in for it; the message names what is.

    >>> from datetime import UTC
    >>> june = datetime(2026, 6, 1, tzinfo=UTC)
    >>> year("CN", june, june + timedelta(hours=2)).values.tolist()
    [582.3, 582.3]
    """
    told = of_zone(zone).estimate
    first = _hour(start)
    count = _count(first, end)
    home = zone.strip().upper() in countries()
    return Series(
        zone=zone,
        topic=Topic.CARBON,
        unit=GRAMS_PER_KWH,
        basis=Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE, Flow.PRODUCTION) if home else BASIS,
        source=f"built-in yearly mean ({told.source.partition(',')[0]})",
        status=Status.ESTIMATED,
        start=first,
        step=_HOUR,
        values=np.full(count, told.value),
        low=np.full(count, told.low),
        high=np.full(count, told.high),
    )


def _hour(moment: datetime) -> datetime:
    return utc(moment).replace(minute=0, second=0, microsecond=0)


def _count(first: datetime, end: datetime) -> int:
    """Hours until `end`, the last begun one included."""
    return -((first - utc(end)) // _HOUR)
