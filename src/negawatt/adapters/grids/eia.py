"""The US Energy Information Administration, version 2: intensities from the mix of fuels.

Its `period` names the END of an hour. Values come as numbers, as text or as null, and pages hold
five thousand rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar

from negawatt.adapters.grids.asked import Asked, key, number, pieces, unknown_zone
from negawatt.adapters.grids.mix import intensities
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

_BASE = "https://api.eia.gov/v2"
_KEY = "EIA_API_KEY"
_HOUR = timedelta(hours=1)
_SPAN = timedelta(days=60)
_PAGE = 5000
#: Its codes of fuels, in the words of our table; stores and OTH have no kind.
_FUELS = MappingProxyType(
    {
        "COL": "coal",
        "NG": "gas",
        "OIL": "oil",
        "NUC": "nuclear",
        "WAT": "hydro",
        "SUN": "solar",
        "SNB": "solar",
        "WND": "wind",
        "WNB": "wind",
        "GEO": "geothermal",
    }
)
_STORES = frozenset({"BAT", "PS", "UES"})
#: What they make in a megawatt-hour.
_MEGAWATT_HOURS = MappingProxyType({"megawatthours": 1.0, "mwh": 1.0, "gigawatthours": 1000.0})
#: Balancing authorities by name, to help who misspells one.
_AREAS = (
    "AECI", "AVA", "AVRN", "AZPS", "BANC", "BPAT", "CHPD", "CISO", "CPLE", "CPLW", "DOPD", "DUK",
    "EPE", "ERCO", "FMPP", "FPC", "FPL", "GCPD", "GVL", "HST", "IID", "IPCO", "ISNE", "JEA", "LDWP",
    "LGEE", "MISO", "NEVP", "NWMT", "NYIS", "PACE", "PACW", "PGE", "PJM", "PNM", "PSCO", "PSEI",
    "SC", "SCEG", "SCL", "SEC", "SOCO", "SPA", "SRP", "SWPP", "TAL", "TEC", "TEPC", "TIDC", "TPWR",
    "TVA", "WACM", "WALC", "WAUW",
)  # fmt: skip


class EIA(Asked):
    """Average intensities of production at the chimney, and the load, by the hour.

    Args:
        topic: "carbon" or "load".
        key: The key; that of EIA_API_KEY when None.
        base_url: Where its API begins.
        patience: How long it is waited for; its clock says when a forecast was fetched.

    Zones are balancing authorities, "CISO", or "US-CAL-CISO" as others call them.
    """

    about: ClassVar[str] = "US balancing areas, average, direct, of production; load ahead"
    topics: ClassVar[tuple[Topic, ...]] = (Topic.CARBON, Topic.LOAD)
    keys: ClassVar[tuple[str, ...]] = (_KEY,)

    def __init__(
        self,
        *,
        topic: str = "carbon",
        key: str | None = None,
        base_url: str = _BASE,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(topic, patience)
        carbon = self.topic is Topic.CARBON
        self.name = "eia" if carbon else "eia:load"
        self.basis = Basis(Signal.AVERAGE, Accounting.DIRECT, Flow.PRODUCTION) if carbon else None
        self._key, self._base = key, base_url

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        for first, last in pieces(start, end, _SPAN):
            if self.topic is Topic.CARBON:
                yield from self._mix(zone, first, last)
            else:
                yield from self._load(zone, "D", first, last, None)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        if self.topic is Topic.CARBON:
            raise self.no_forecasts()
        return list(self._load(zone, "DF", start, end, self.now))

    def _mix(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        outputs: dict[str, dict[datetime, float]] = {}
        for row in self._rows(zone, "fuel-type-data", [], start, end):
            if row["fueltype"] not in _STORES and row["value"] is not None:
                told = outputs.setdefault(row["fueltype"], {})
                told[_start(row)] = _megawatt_hours(row)
        for at, value in intensities(outputs, _FUELS, "direct").items():
            yield self._reading(zone, at, value, None)

    def _load(
        self, zone: str, kind: str, start: datetime, end: datetime, issued: datetime | None
    ) -> Iterator[Reading]:
        for row in self._rows(zone, "region-data", [("facets[type][]", kind)], start, end):
            if row["value"] is not None:
                yield self._reading(zone, _start(row), _megawatt_hours(row), issued)

    def _reading(self, zone: str, at: datetime, value: float, issued: datetime | None) -> Reading:
        carbon = self.topic is Topic.CARBON
        return Reading(
            zone, self.topic, at, _HOUR, value, GRAMS_PER_KWH if carbon else "MW",
            Status.MEASURED if issued is None else Status.FORECAST, self.name, self.basis, issued,
        )  # fmt: skip

    def _rows(
        self, zone: str, route: str, facets: list[tuple[str, str]], start: datetime, end: datetime
    ) -> Iterator[dict[str, Any]]:
        token = key(self._key, _KEY, "The EIA")
        web = Web(
            "The EIA", self._base, f"check {_KEY}; eia.gov/opendata gives keys", {}, (token,),
            self.patience,
        )  # fmt: skip
        area, offset = _area(zone), 0
        query = [
            ("frequency", "hourly"),
            ("data[]", "value"),
            ("facets[respondent][]", area),
            *facets,
            ("start", f"{start + _HOUR:%Y-%m-%dT%H}"),
            ("end", f"{end + _HOUR:%Y-%m-%dT%H}"),
            ("sort[0][column]", "period"),
            ("sort[0][direction]", "asc"),
            ("length", str(_PAGE)),
            ("api_key", token),
        ]
        while True:
            told = web.get(f"/electricity/rto/{route}/data/", [*query, ("offset", str(offset))])
            rows = told["response"]["data"]
            if not rows and not offset and area not in _AREAS:
                raise unknown_zone("The EIA", zone, _AREAS, like=area)
            yield from rows
            offset += len(rows)
            if not rows or offset >= int(told["response"].get("total", 0)):
                return


def _area(zone: str) -> str:
    """The balancing authority; others put state and country before it.

    >>> _area("US-CAL-CISO"), _area("bpat")
    ('CISO', 'BPAT')
    """
    name = zone.strip().upper()
    return name.rsplit("-", 1)[-1] if name.startswith("US-") else name


def _start(row: dict[str, Any]) -> datetime:
    """When the hour began that ended with the period."""
    return datetime.strptime(row["period"], "%Y-%m-%dT%H").replace(tzinfo=UTC) - _HOUR


def _megawatt_hours(row: dict[str, Any]) -> float:
    unit = str(row.get("value-units", "megawatthours"))
    if unit.lower() not in _MEGAWATT_HOURS:
        raise SignalUnavailable(
            f"The EIA answers in {unit!r}, which is no energy", fix="report it, and try later"
        )
    return number(row["value"]) * _MEGAWATT_HOURS[unit.lower()]
