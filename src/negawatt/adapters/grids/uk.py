"""The Carbon Intensity API of Great Britain's system operator: the nation, and seventeen regions.

A past of the nation is what happened. A region's past is the last forecast of it, because nobody
measures what a region uses, and is called estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar

from negawatt.adapters.grids.asked import Asked, moment, number, pieces, unknown_zone
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

_BASE = "https://api.carbonintensity.org.uk"
_NATION = "GB"
_SPAN = timedelta(days=14)
_SLOT = timedelta(minutes=30)
_LEAST = timedelta(microseconds=1)
_FARTHEST = timedelta(hours=48)
#: The provider's numbers of the regions.
_REGIONS = MappingProxyType(
    {
        "GB-NORTH-SCOTLAND": 1,
        "GB-SOUTH-SCOTLAND": 2,
        "GB-NORTH-WEST-ENGLAND": 3,
        "GB-NORTH-EAST-ENGLAND": 4,
        "GB-YORKSHIRE": 5,
        "GB-NORTH-WALES": 6,
        "GB-SOUTH-WALES": 7,
        "GB-WEST-MIDLANDS": 8,
        "GB-EAST-MIDLANDS": 9,
        "GB-EAST-ENGLAND": 10,
        "GB-SOUTH-WEST-ENGLAND": 11,
        "GB-SOUTH-ENGLAND": 12,
        "GB-LONDON": 13,
        "GB-SOUTH-EAST-ENGLAND": 14,
        "GB-ENGLAND": 15,
        "GB-SCOTLAND": 16,
        "GB-WALES": 17,
    }
)


class CarbonIntensityUK(Asked):
    """Average intensities at the chimney, imports included, by the half hour.

    Args:
        topic: "carbon".
        base_url: Where its API begins.
        patience: How long it is waited for; its clock says when a forecast was fetched, because
            the provider does not say when it was made.

    Zones are "GB" and its regions: "GB-LONDON", or "GB-13" by number.
    """

    about: ClassVar[str] = "Great Britain and its regions, average, direct; forecast of 48 hours"

    def __init__(
        self, *, topic: str = "carbon", base_url: str = _BASE, patience: Patience | None = None
    ) -> None:
        super().__init__(topic, patience)
        self.name = "uk"
        self.basis = Basis(Signal.AVERAGE, Accounting.DIRECT, Flow.CONSUMPTION)
        self._web = Web(
            "The UK Carbon Intensity API",
            base_url,
            "it needs no key: see whether a proxy stands between",
            patience=self.patience,
        )

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        region = _region(zone)
        begin, until = _floor(start), _floor(end + _SLOT - _LEAST)
        for first, last in pieces(begin, until, _SPAN):
            for slot in self._slots(region, f"{_text(first)}/{_text(last)}"):
                told = slot["intensity"]
                value = told.get("forecast") if region else told.get("actual")
                if value is not None and moment(slot["to"], self.name) <= self.now:
                    status = Status.ESTIMATED if region else Status.MEASURED
                    yield self._reading(zone, slot, value, status, None)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        region, issued = _region(zone), self.now
        begin = _floor(max(start, issued - _SLOT))
        if begin >= min(end, issued + _FARTHEST):
            return []
        return [
            self._reading(zone, slot, slot["intensity"]["forecast"], Status.FORECAST, issued)
            for slot in self._slots(region, f"{_text(begin)}/fw48h")
            if slot["intensity"].get("forecast") is not None
        ]

    def _slots(self, region: int | None, when: str) -> Sequence[dict[str, Any]]:
        """The half hours of a question; a window of a region comes as an object or a list of one."""
        path = f"/intensity/{when}"
        if region:
            path = f"/regional{path}/regionid/{region}"
        answer = self._web.ask(path)
        if answer.status == HTTPStatus.NOT_FOUND:
            return ()
        told = self._web.parsed(self._web.accepted(answer), path)["data"]
        if region and isinstance(told, list):
            told = told[0] if told else {"data": []}
        slots: Sequence[dict[str, Any]] = told["data"] if region else told
        return slots

    def _reading(
        self, zone: str, slot: dict[str, Any], value: Any, status: Status, issued: datetime | None
    ) -> Reading:
        start, end = moment(slot["from"], self.name), moment(slot["to"], self.name)
        source = f"{self.name}:{'national' if zone.upper() == _NATION else 'regional'}"
        return Reading(
            zone, Topic.CARBON, start, end - start, number(value), GRAMS_PER_KWH, status, source,
            self.basis, issued,
        )  # fmt: skip


def _region(zone: str) -> int | None:
    """The number of a region; None for the nation."""
    name = zone.strip().upper().replace(" ", "-")
    if name == _NATION:
        return None
    if name in _REGIONS:
        return _REGIONS[name]
    numbered = name.removeprefix(f"{_NATION}-")
    if numbered.isdigit() and int(numbered) in _REGIONS.values():
        return int(numbered)
    raise unknown_zone("The UK Carbon Intensity API", zone, [_NATION, *_REGIONS])


def _floor(at: datetime) -> datetime:
    """The beginning of its half hour, which is how the provider counts."""
    return at.replace(minute=at.minute // 30 * 30, second=0, microsecond=0)


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")
