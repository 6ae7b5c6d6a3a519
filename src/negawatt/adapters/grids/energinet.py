"""Energi Data Service of Energinet: Denmark by five minutes, its forecast, and day-ahead prices.

Its times carry no zone; the columns that end in UTC are read, and a wider time is asked for than
is wanted, because the ends of a question count as Danish time where `timezone` is not heeded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from negawatt.adapters.grids.asked import Asked, number, unknown_zone
from negawatt.adapters.grids.web import Patience, Web
from negawatt.core.grid import (
    GRAMS_PER_KWH,
    Accounting,
    Basis,
    Flow,
    Reading,
    Signal,
    Status,
    Topic,
)

_BASE = "https://api.energidataservice.dk/dataset"
_AREAS = MappingProxyType(
    {"DK1": "DK1", "DK2": "DK2", "DK-DK1": "DK1", "DK-DK2": "DK2"}  # and as others call them
)
_MARGIN = timedelta(hours=3)  # more than Danish time is ever away from UTC
_PAGE = 10_000


class _Dataset(NamedTuple):
    name: str
    time: str
    value: str
    step: timedelta


_MEASURED = _Dataset("CO2Emis", "Minutes5UTC", "CO2Emission", timedelta(minutes=5))
_FORESEEN = _Dataset("CO2EmisProg", "Minutes5UTC", "CO2Emission", timedelta(minutes=5))
#: Prices by the hour until this day, by the quarter from it on.
_QUARTERS = datetime(2025, 9, 30, 22, tzinfo=UTC)
_OLD_PRICES = _Dataset("Elspotprices", "HourUTC", "SpotPriceEUR", timedelta(hours=1))
_PRICES = _Dataset("DayAheadPrices", "TimeUTC", "DayAheadPriceEUR", timedelta(minutes=15))


class Energinet(Asked):
    """Average intensities at the chimney, imports included, and prices.

    Args:
        topic: "carbon" or "price".
        base_url: Where its data sets are.
        patience: How long it is waited for; its clock says when a forecast was fetched.

    Zones are "DK1" and "DK2", or "DK-DK1" and "DK-DK2".
    """

    about: ClassVar[str] = "Denmark, average, direct, 5 minutes; forecast until tomorrow; price"
    topics: ClassVar[tuple[Topic, ...]] = (Topic.CARBON, Topic.PRICE)

    def __init__(
        self, *, topic: str = "carbon", base_url: str = _BASE, patience: Patience | None = None
    ) -> None:
        super().__init__(topic, patience)
        carbon = self.topic is Topic.CARBON
        self.name = "energinet" if carbon else "energinet:price"
        self.basis = Basis(Signal.AVERAGE, Accounting.DIRECT, Flow.CONSUMPTION) if carbon else None
        self._web = Web(
            "Energinet", base_url, "it needs no key: see whether a proxy stands between",
            patience=self.patience,
        )  # fmt: skip

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        area = _area(zone)
        if self.topic is Topic.CARBON:
            yield from self._read(zone, area, _MEASURED, start, end)
        else:
            yield from self._prices(zone, area, start, end, None)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        area, issued = _area(zone), self.now
        if self.topic is Topic.CARBON:
            return list(self._read(zone, area, _FORESEEN, start, end, issued))
        return list(self._prices(zone, area, start, end, issued))

    def _prices(
        self, zone: str, area: str, start: datetime, end: datetime, issued: datetime | None
    ) -> Iterator[Reading]:
        """Two data sets, each for its time, so that no hour is told by both."""
        if start < _QUARTERS:
            yield from self._read(zone, area, _OLD_PRICES, start, min(end, _QUARTERS), issued)
        if end > _QUARTERS:
            yield from self._read(zone, area, _PRICES, max(start, _QUARTERS), end, issued)

    def _read(
        self,
        zone: str,
        area: str,
        data: _Dataset,
        start: datetime,
        end: datetime,
        issued: datetime | None = None,
    ) -> Iterator[Reading]:
        carbon = self.topic is Topic.CARBON
        status = Status.MEASURED if issued is None else Status.FORECAST
        for row in self._records(area, data, start, end):
            if row.get("PriceArea", area) != area or row[data.value] is None:
                continue
            at = datetime.fromisoformat(row[data.time]).replace(tzinfo=UTC)
            if at + data.step > start and at < end:
                yield Reading(
                    zone,
                    self.topic,
                    at,
                    data.step,
                    number(row[data.value]),
                    GRAMS_PER_KWH if carbon else "EUR/MWh",
                    status,
                    f"{self.name}:{data.name}",
                    self.basis,
                    issued,
                )

    def _records(
        self, area: str, data: _Dataset, start: datetime, end: datetime
    ) -> Iterator[dict[str, Any]]:
        """The rows of a data set, page by page."""
        given, offset = (
            [
                ("start", f"{start - _MARGIN:%Y-%m-%dT%H:%M}"),
                ("end", f"{end + _MARGIN:%Y-%m-%dT%H:%M}"),
                ("timezone", "utc"),
                ("filter", json.dumps({"PriceArea": [area]})),
                ("sort", f"{data.time} ASC"),
                ("limit", str(_PAGE)),
            ],
            0,
        )
        while True:
            told = self._web.get(f"/{data.name}", [*given, ("offset", str(offset))])
            yield from told["records"]
            offset += len(told["records"])
            if not told["records"] or offset >= int(told["total"]):
                return


def _area(zone: str) -> str:
    area = _AREAS.get(zone.strip().upper())
    if area is None:
        raise unknown_zone("Energinet", zone, _AREAS)
    return area
