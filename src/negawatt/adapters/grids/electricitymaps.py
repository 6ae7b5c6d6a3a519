"""Electricity Maps, version 3: intensities with imports followed home, and day-ahead prices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar

from negawatt.adapters.grids.asked import Asked, choice, key, moment, number, pieces, unknown_zone
from negawatt.adapters.grids.web import Patience, Web
from negawatt.core.errors import SignalUnavailable
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

_BASE = "https://api.electricitymaps.com/v3"
_KEY = "ELECTRICITYMAPS_API_KEY"
_STEPS = MappingProxyType(
    {
        "5_minutes": timedelta(minutes=5),
        "15_minutes": timedelta(minutes=15),
        "hourly": timedelta(hours=1),
    }
)
_FACTORS = MappingProxyType({"lifecycle": Accounting.LIFE_CYCLE, "direct": Accounting.DIRECT})
_HORIZONS = (6, 24, 48, 72)  # hours
_SPAN = timedelta(days=10)  # of one question
_DAY = timedelta(hours=24)  # what every plan may see of the past


class ElectricityMaps(Asked):
    """Average intensities of consumption.

    Args:
        topic: "carbon" or "price".
        factors: "lifecycle" or "direct".
        key: The token; that of ELECTRICITYMAPS_API_KEY when None.
        base_url: Where its API begins.
        patience: How long it is waited for.
    """

    about: ClassVar[str] = "world-wide, average, flow-traced; life-cycle or direct; day-ahead price"
    topics: ClassVar[tuple[Topic, ...]] = (Topic.CARBON, Topic.PRICE)
    keys: ClassVar[tuple[str, ...]] = (_KEY,)

    def __init__(
        self,
        *,
        topic: str = "carbon",
        factors: str = "lifecycle",
        key: str | None = None,
        base_url: str = _BASE,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(topic, patience)
        accounting = choice("factors", factors, _FACTORS)
        carbon = self.topic is Topic.CARBON
        self.basis = Basis(Signal.AVERAGE, accounting, Flow.CONSUMPTION) if carbon else None
        self.name = f"electricitymaps:{factors if carbon else 'price-day-ahead'}"
        self._factors, self._key, self._base = factors, key, base_url
        self._path = "/carbon-intensity" if carbon else "/price-day-ahead"

    def _web(self) -> Web:
        token = key(self._key, _KEY, "Electricity Maps")
        return Web(
            "Electricity Maps",
            self._base,
            f"check {_KEY}, and that its plan holds the zone",
            {"auth-token": token},
            (token,),
            self.patience,
        )

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        if start < self.now - _DAY:
            try:
                for first, last in pieces(start, end, _SPAN):
                    when = [("start", _text(first)), ("end", _text(last))]
                    told = self._ask(zone, "/past-range", when)
                    yield from self._readings(zone, told, told.get("data"), None)
            except SignalUnavailable:
                if end < self.now - _DAY:
                    raise
            else:
                return
        # free plans show the last day alone, which is more than nothing
        told = self._ask(zone, "/history", [])
        yield from self._readings(zone, told, told.get("history"), None)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        wanted = (end - self.now) / timedelta(hours=1)
        hours = next((one for one in _HORIZONS if one >= wanted), _HORIZONS[-1])
        told = self._ask(zone, "/forecast", [("horizonHours", str(hours))])
        issued = moment(told.get("updatedAt"), self.name)
        return list(self._readings(zone, told, told.get("forecast"), issued))

    def _ask(self, zone: str, path: str, more: list[tuple[str, str]]) -> dict[str, Any]:
        web = self._web()
        query = [("zone", zone), *more]
        if self.topic is Topic.CARBON:
            query.append(("emissionFactorType", self._factors))
        answer = web.ask(self._path + path, query)
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            self._check_zone(web, zone)
        told = web.parsed(web.accepted(answer), path)
        if not isinstance(told, dict):
            raise web.failed(f"answers {path} with a {type(told).__name__}")
        if told.get("zone", zone) != zone:
            raise web.failed(f"answers for {told['zone']} when asked for {zone}")
        return told

    def _check_zone(self, web: Web, zone: str) -> None:
        told = web.get("/zones")
        known = told.get("zones", told)
        if zone not in known:
            raise unknown_zone("Electricity Maps", zone, known)

    def _readings(
        self, zone: str, told: dict[str, Any], items: Any, issued: datetime | None
    ) -> Iterator[Reading]:
        if not isinstance(items, list):
            raise SignalUnavailable(
                f"{self.name} answers without a list of values", fix="report it, and try later"
            )
        value_name = "carbonIntensity" if self.topic is Topic.CARBON else "value"
        for item in items:
            value = item.get(value_name)
            if value is None:
                continue
            given = item.get("temporalGranularity") or told.get("temporalGranularity") or "hourly"
            if given not in _STEPS:
                raise SignalUnavailable(
                    f"{self.name} answers in steps called {given}", fix="ask for hourly values"
                )
            self._check_factors(item)
            start = moment(item["datetime"], self.name)
            said = item.get("updatedAt")
            yield Reading(
                zone,
                self.topic,
                _floor(start, _STEPS[given]),
                _STEPS[given],
                number(value),
                self._unit(item, told),
                _status(item, issued),
                self.name,
                self.basis,
                issued or (moment(said, self.name) if said else None),
            )

    def _unit(self, item: dict[str, Any], told: dict[str, Any]) -> str:
        if self.topic is Topic.CARBON:
            return GRAMS_PER_KWH
        unit: str = item.get("unit") or told.get("unit") or ""
        if not unit.endswith("/MWh"):
            raise SignalUnavailable(
                f"{self.name} tells a price in {unit!r}", fix="report it, and try another provider"
            )
        return unit

    def _check_factors(self, item: dict[str, Any]) -> None:
        given = item.get("emissionFactorType", self._factors)
        if self.topic is Topic.CARBON and given != self._factors:
            raise SignalUnavailable(
                f"{self.name} answers with {given} factors", fix=f"name it with ?factors={given}"
            )


def _status(item: dict[str, Any], issued: datetime | None) -> Status:
    if issued is not None:
        return Status.FORECAST
    return Status.ESTIMATED if item.get("isEstimated") else Status.MEASURED


def _floor(start: datetime, step: timedelta) -> datetime:
    """The latest value bears the minute it was made at, not that at which its hour began."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (start - midnight) // step * step


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
