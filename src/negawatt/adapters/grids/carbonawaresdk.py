"""The web API of the Carbon Aware SDK: a server of your own that asks providers for you.

It does not say whether its ratings are average or marginal, because that hangs on the provider
behind it: whoever names the server has to say it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

from negawatt.adapters.grids.asked import Asked, choice, moment, number, unknown_zone
from negawatt.adapters.grids.web import Patience, Web
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Reading, Signal, Status, Topic

_SIGNALS = MappingProxyType({"average": Signal.AVERAGE, "marginal": Signal.MARGINAL})
_COUNTED = MappingProxyType(
    {
        "unstated": Accounting.UNSTATED,
        "lifecycle": Accounting.LIFE_CYCLE,
        "direct": Accounting.DIRECT,
    }
)
_USUAL = timedelta(minutes=5)


class CarbonAwareSDK(Asked):
    """Ratings of locations, in grams per kilowatt-hour.

    Args:
        topic: "carbon".
        base_url: Where the server is; there is no public one.
        signal: What its ratings are, "average" or "marginal".
        factors: "lifecycle", "direct" or "unstated".
        patience: How long it is waited for.

    Zones are its locations, such as "eastus".

    Raises:
        UsageError: the server or the signal is not named.
    """

    about: ClassVar[str] = "a server of your own (?base_url=...&signal=average or marginal)"
    keeps_forecasts: ClassVar[bool] = True

    def __init__(
        self,
        *,
        topic: str = "carbon",
        base_url: str = "",
        signal: str = "",
        factors: str = "unstated",
        patience: Patience | None = None,
    ) -> None:
        super().__init__(topic, patience)
        if not base_url or not signal:
            raise UsageError(
                "carbonawaresdk needs to know its server, and what its ratings are",
                fix="carbonawaresdk://?base_url=http://HOST:PORT&signal=average, or marginal",
            )
        self.name = "carbonawaresdk"
        self.basis = Basis(choice("signal", signal, _SIGNALS), choice("factors", factors, _COUNTED))
        self._web = Web(
            "The Carbon Aware SDK",
            base_url,
            "see which keys the server itself was given",
            patience=self.patience,
        )

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        query = [("location", zone), ("time", start.isoformat()), ("toTime", end.isoformat())]
        told = self._ask(zone, "/emissions/bylocation", query, None) or []
        times = [moment(one["time"], self.name) for one in told]
        for at, one in zip(times, told, strict=True):
            if one.get("rating") is not None:
                step = _duration(one.get("duration")) or _usual_step(times)
                yield self._reading(zone, at, step, one["rating"], None)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        first = max(start, as_of or self.now)
        if first >= end:
            return []
        if as_of is None:
            query = [("location", zone), ("dataStartAt", first.isoformat())]
            query.append(("dataEndAt", end.isoformat()))
            told = self._ask(zone, "/emissions/forecasts/current", query, None)
        else:
            wanted = {
                "location": zone,
                "requestedAt": as_of.isoformat(),
                "dataStartAt": first.isoformat(),
                "dataEndAt": end.isoformat(),
            }
            told = self._ask(zone, "/emissions/forecasts/batch", [], [wanted])
        return list(self._issue(zone, told, as_of))

    def _issue(self, zone: str, told: Any, as_of: datetime | None) -> Iterator[Reading]:
        if not told:
            return
        issued = moment(told[0]["generatedAt"], self.name)
        if as_of is not None and issued > as_of:
            raise SignalUnavailable(
                f"the Carbon Aware SDK answers with a forecast made after {as_of:%Y-%m-%d %H:%M}",
                fix="see whether the provider behind it keeps forecasts; WattTime does",
            )
        for one in told[0]["forecastData"]:
            if one.get("value") is not None:
                step = timedelta(minutes=number(one.get("duration") or 0)) or _USUAL
                at = moment(one["timestamp"], self.name)
                yield self._reading(zone, at, step, one["value"], issued)

    def _reading(
        self, zone: str, at: datetime, step: timedelta, value: Any, issued: datetime | None
    ) -> Reading:
        return Reading(
            zone, Topic.CARBON, at, step, number(value), GRAMS_PER_KWH,
            Status.MEASURED if issued is None else Status.FORECAST, self.name, self.basis, issued,
        )  # fmt: skip

    def _ask(self, zone: str, path: str, query: list[tuple[str, str]], body: Any) -> Any:
        answer = self._web.ask(path, query, body=body)
        if answer.status == HTTPStatus.NO_CONTENT:
            return None
        if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            known = self._web.get("/locations")
            if zone not in known:
                raise unknown_zone("The Carbon Aware SDK", zone, known)
        return self._web.parsed(self._web.accepted(answer), path)


def _duration(text: str | None) -> timedelta | None:
    """A length of time as .NET writes it.

    >>> _duration("01:00"), _duration("00:05:00"), _duration("1.00:00:00"), _duration(None)
    (datetime.timedelta(seconds=3600), datetime.timedelta(seconds=300), datetime.timedelta(days=1), None)
    """
    found = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+)(?::(\d+)(?:\.\d+)?)?", text or "")
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds) or None


def _usual_step(times: list[datetime]) -> timedelta:
    """The shortest way from one time to the next, where nobody tells the length of a step."""
    ways = [after - before for before, after in pairwise(sorted(times)) if after > before]
    return min(ways, default=_USUAL)
