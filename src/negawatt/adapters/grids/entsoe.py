"""The Transparency Platform of ENTSO-E: intensities from the mix of generation, and prices.

Documents are XML. A refusal is a document too, and comes with status 200 as well as 400, so that
the root says what it is. Points that repeat may be left out (curve A03), steps may change within
one answer, and one kind of station may come in several series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from negawatt.adapters.grids import entsoe_xml as xml
from negawatt.adapters.grids.asked import Asked, key, pieces, unknown_zone
from negawatt.adapters.grids.entsoe_areas import AREAS, area_of
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

_BASE = "https://web-api.tp.entsoe.eu"
_KEY = "ENTSOE_API_KEY"
_SPAN = timedelta(days=30)  # a year is allowed, but answers get long
_LEAST_SPAN = timedelta(hours=2)
_PAGE = 100  # series in a document
_MOST_OFFSET = 4800
#: Kinds of stations in the words of our table; what is not here is unknown.
_FUELS = MappingProxyType(
    {
        "B01": "biomass",
        "B02": "coal",
        "B03": "coal",
        "B04": "gas",
        "B05": "coal",
        "B06": "oil",
        "B07": "coal",
        "B08": "coal",
        "B09": "geothermal",
        "B11": "hydro",
        "B12": "hydro",
        "B13": "ocean",
        "B14": "nuclear",
        "B16": "solar",
        "B18": "wind offshore",
        "B19": "wind onshore",
    }
)
_STORES = frozenset({"B10", "B25"})  # pumped, and others
_MEGAWATTS = MappingProxyType({"MAW": 1.0, "KWT": 1e-3, "GAW": 1e3})


class _Steps(NamedTuple):
    """One kind of station, at one length of step."""

    step: timedelta
    values: dict[datetime, float]


class Entsoe(Asked):
    """Average life-cycle intensities of production in Europe, and day-ahead prices.

    Args:
        topic: "carbon" or "price".
        key: The token; that of ENTSOE_API_KEY when None.
        base_url: Where its API begins.
        patience: How long it is waited for.

    Zones are "DE", "DK-DK1", "NO-NO2" and so on, or codes such as 10YFR-RTE------C.
    """

    about: ClassVar[str] = "Europe, average, life cycle, of production; day-ahead price"
    topics: ClassVar[tuple[Topic, ...]] = (Topic.CARBON, Topic.PRICE)
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
        self.name = "entsoe:A75" if carbon else "entsoe:A44"
        self.basis = (
            Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE, Flow.PRODUCTION) if carbon else None
        )
        self._key, self._base = key, base_url

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        for first, last in pieces(start, end, _SPAN):
            if self.topic is Topic.CARBON:
                yield from self._mix(zone, first, last)
            else:
                yield from self._prices(zone, first, last, Status.MEASURED)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        if self.topic is Topic.CARBON:
            raise self.no_forecasts()
        return list(self._prices(zone, start, end, Status.FORECAST))

    def _mix(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        area = area_of(zone)
        query = [("documentType", "A75"), ("processType", "A16"), ("in_Domain", area)]
        kinds: dict[str, list[_Steps]] = {}
        for document in self._documents(zone, query, start, end):
            for series in document.series:
                if not series.charging and series.kind not in _STORES:
                    scale = self._scale(series.unit)
                    kinds.setdefault(series.kind, []).extend(
                        _Steps(step, {at: value * scale for at, value in values.items()})
                        for step, values in series.steps.items()
                    )
        if not kinds:
            return
        finest = min(steps.step for told in kinds.values() for steps in told)
        outputs = {kind: _summed(told, finest) for kind, told in kinds.items()}
        for at, value in intensities(outputs, _FUELS, "life_cycle").items():
            yield Reading(
                zone, Topic.CARBON, at, finest, value, GRAMS_PER_KWH, Status.MEASURED, self.name,
                self.basis,
            )  # fmt: skip

    def _scale(self, unit: str) -> float:
        if unit not in _MEGAWATTS:
            raise SignalUnavailable(
                f"ENTSO-E answers in {unit!r}, which is no power", fix="report it, and try later"
            )
        return _MEGAWATTS[unit]

    def _prices(
        self, zone: str, start: datetime, end: datetime, status: Status
    ) -> Iterator[Reading]:
        area = area_of(zone)
        query = [
            ("documentType", "A44"),
            ("in_Domain", area),
            ("out_Domain", area),
            ("contract_MarketAgreement.type", "A01"),
        ]
        for document in self._documents(zone, query, start, end):
            by_step: dict[timedelta, list[Reading]] = {}
            for series in document.series:
                if series.price_unit != "MWH" or not series.currency:
                    raise SignalUnavailable(
                        f"ENTSO-E tells a price in {series.currency}/{series.price_unit}",
                        fix="report it, and try later",
                    )
                for step, values in series.steps.items():
                    by_step.setdefault(step, []).extend(
                        Reading(zone, Topic.PRICE, at, step, value, f"{series.currency}/MWh",
                                status, self.name, None, document.made)
                        for at, value in values.items()
                    )  # fmt: skip
            yield from _finest(by_step)

    def _documents(
        self, zone: str, query: list[tuple[str, str]], start: datetime, end: datetime
    ) -> Iterator[xml.Document]:
        """The answers for a time, page by page; a time that is too long is cut in halves."""
        when = [("periodStart", f"{start:%Y%m%d%H%M}"), ("periodEnd", f"{_up(end):%Y%m%d%H%M}")]
        offset, before = 0, b""
        while offset <= _MOST_OFFSET:
            page = [("offset", str(offset))] if offset else []
            content = self._ask([*query, *when, *page])
            document = xml.read(content, self.name)
            if document.refusal is not None:
                if "exceeds" in document.refusal and end - start > _LEAST_SPAN:
                    middle = _up(start + (end - start) / 2)
                    yield from self._documents(zone, query, start, middle)
                    yield from self._documents(zone, query, middle, end)
                    return
                if not offset:
                    self._check(document.refusal, zone)
                return
            if content == before:  # a server that does not heed `offset` sends all at once
                return
            yield document
            if len(document.series) < _PAGE:
                return
            offset, before = offset + _PAGE, content

    def _ask(self, query: Sequence[tuple[str, str]]) -> bytes:
        token = key(self._key, _KEY, "ENTSO-E")
        web = Web(
            "ENTSO-E",
            self._base,
            f"check {_KEY}; transparency.entsoe.eu gives tokens on request",
            {"Accept": "application/xml"},
            (token,),
            self.patience,
        )
        answer = web.ask("/api", [("securityToken", token), *query])
        if answer.status == HTTPStatus.BAD_REQUEST and b"Acknowledgement" in answer.body:
            return answer.body
        return web.accepted(answer).body

    def _check(self, refusal: str, zone: str) -> None:
        """Whether a refusal says no more than that there is nothing."""
        if "No matching data found" in refusal:
            return
        if "not valid for this area" in refusal:
            raise unknown_zone("ENTSO-E", zone, AREAS)
        shown = re.sub(r"securityToken=[^&\s]*", "securityToken=…", refusal)
        raise SignalUnavailable(
            f"ENTSO-E refuses: {shown}",
            fix="ask for another time or zone",
        )


def _summed(told: list[_Steps], step: timedelta) -> dict[datetime, float]:
    """Several series of one kind, added up in the finest steps. [MW]"""
    total: dict[datetime, float] = {}
    for steps in told:
        for at, value in steps.values.items():
            for part in range(steps.step // step):
                time = at + part * step
                total[time] = total.get(time, 0.0) + value
    return total


def _finest(by_step: dict[timedelta, list[Reading]]) -> list[Reading]:
    """The prices of each time in the shortest steps that tell it."""
    kept: list[Reading] = []
    for step in sorted(by_step):
        covered = {reading.start for reading in kept}
        finer = min(by_step)
        kept += [
            reading
            for reading in by_step[step]
            if not any(reading.start + part * finer in covered for part in range(step // finer))
        ]
    return kept


def _up(at: datetime) -> datetime:
    """The full hour that follows, or is."""
    floor = at.replace(minute=0, second=0, microsecond=0)
    return floor if floor == at else floor + timedelta(hours=1)
