"""WattTime, version 3: what one more kilowatt-hour makes the grid emit, and the average.

Its `signal-index` is a percentile from 0 to 100 and no intensity: it is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar

from negawatt.adapters.grids.asked import (
    Asked,
    choice,
    grams,
    key,
    moment,
    number,
    pieces,
    unknown_zone,
)
from negawatt.adapters.grids.web import Answer, Patience, Web
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Reading, Signal, Status, Topic

_BASE = "https://api.watttime.org"
_USER, _PASSWORD = "WATTTIME_USER", "WATTTIME_PASSWORD"
_SIGNALS = MappingProxyType({"co2_moer": Signal.MARGINAL, "co2_aoer": Signal.AVERAGE})
_NO_INTENSITIES = frozenset({"signal-index", "health_damage"})
_SPAN = timedelta(days=30)
_ISSUES_SPAN = timedelta(days=1)
_STEP = timedelta(minutes=5)
_FARTHEST = 72  # hours
_REGION_TROUBLE = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class WattTime(Asked):
    """Marginal or average operating emissions, by five minutes.

    Args:
        topic: "carbon".
        signal: "co2_moer", which is marginal, or "co2_aoer", which is average.
        user: As at its site; WATTTIME_USER when None.
        password: WATTTIME_PASSWORD when None.
        base_url: Where its API begins.
        patience: How long it is waited for.

    Zones are its regions, such as "CAISO_NORTH".

    Raises:
        UsageError: the signal is no intensity.
    """

    about: ClassVar[str] = "world-wide, marginal (co2_moer) or average (co2_aoer), direct; 72 hours"
    keys: ClassVar[tuple[str, ...]] = (_USER, _PASSWORD)
    keeps_forecasts: ClassVar[bool] = True

    def __init__(
        self,
        *,
        topic: str = "carbon",
        signal: str = "co2_moer",
        user: str | None = None,
        password: str | None = None,
        base_url: str = _BASE,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(topic, patience)
        if signal in _NO_INTENSITIES:
            raise UsageError(
                f"{signal} of WattTime is no carbon intensity, and cannot be made one",
                fix="take signal=co2_moer, or signal=co2_aoer for the average",
            )
        self.basis = Basis(choice("signal", signal, _SIGNALS), Accounting.DIRECT)
        self.name = f"watttime:{signal}"
        self._signal, self._base = signal, base_url
        self._user, self._password = user, password
        self._token = ""

    def _past(self, zone: str, start: datetime, end: datetime) -> Iterator[Reading]:
        for first, last in pieces(start, end, _SPAN):
            # ranges hold both ends, and the next piece begins with this one's
            told = self._ask(zone, "/v3/historical", _range(first, last))
            yield from self._readings(zone, told["data"], told["meta"], None)

    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        wanted = -(((as_of or self.now) - end) // timedelta(hours=1))
        horizon = ("horizon_hours", str(min(max(wanted, 1), _FARTHEST)))
        if as_of is not None:
            return self._issue_of(zone, as_of, horizon)
        told = self._ask(zone, "/v3/forecast", [horizon])
        issued = moment(told["meta"]["generated_at"], self.name)
        return list(self._readings(zone, told["data"], told["meta"], issued))

    def _issue_of(self, zone: str, as_of: datetime, horizon: tuple[str, str]) -> list[Reading]:
        """The newest forecast that was made until then: of the hour before, or of that day."""
        for back in (timedelta(hours=1), _ISSUES_SPAN):
            query = [*_range(as_of - back, as_of + _STEP), horizon]
            told = self._ask(zone, "/v3/forecast/historical", query)
            issues = {moment(one["generated_at"], self.name): one for one in told["data"]}
            known = [issued for issued in issues if issued <= as_of]
            if known:
                newest = max(known)
                points = issues[newest]["forecast"]
                return list(self._readings(zone, points, told["meta"], newest))
        raise SignalUnavailable(
            f"WattTime has no forecast of the day before {as_of:%Y-%m-%d %H:%M} UTC for {zone}",
            fix="ask for a later time",
        )

    def _readings(
        self, zone: str, points: Any, meta: dict[str, Any], issued: datetime | None
    ) -> Iterator[Reading]:
        factor = grams(str(meta.get("units", "no unit")), "WattTime")
        if meta.get("signal_type", self._signal) != self._signal:
            raise SignalUnavailable(
                f"WattTime answers with {meta['signal_type']} when asked for {self._signal}",
                fix="report it, and try later",
            )
        step = timedelta(seconds=number(meta.get("data_point_period_seconds") or 300))
        for point in points:
            if point.get("value") is None:
                continue
            guessed = point.get("imputed_data_used")
            status = Status.ESTIMATED if guessed else Status.MEASURED
            yield Reading(
                zone,
                Topic.CARBON,
                moment(point["point_time"], self.name),
                step,
                number(point["value"]) * factor,
                GRAMS_PER_KWH,
                status if issued is None else Status.FORECAST,
                self.name,
                self.basis,
                issued,
            )

    def _ask(self, zone: str, path: str, more: list[tuple[str, str]]) -> dict[str, Any]:
        query = [("region", zone), ("signal_type", self._signal), *more]
        web = self._web()
        answer = self._with_token(web, path, query)
        if answer.status in _REGION_TROUBLE:
            self._check_region(web, zone)
        told: dict[str, Any] = web.parsed(web.accepted(answer), path)
        return told

    def _web(self) -> Web:
        user = key(self._user, _USER, "WattTime")
        password = key(self._password, _PASSWORD, "WattTime")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return Web(
            "WattTime",
            self._base,
            f"check {_USER} and {_PASSWORD}, and that the plan holds the region",
            secrets=(password, pair, self._token),
            patience=self.patience,
        )

    def _with_token(self, web: Web, path: str, query: list[tuple[str, str]]) -> Answer:
        """One question; a token lives for half an hour, and a new one is fetched when it is over."""
        if not self._token:
            self._log_in(web)
        answer = web.ask(path, query, headers={"Authorization": f"Bearer {self._token}"})
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._log_in(web)
            answer = web.ask(path, query, headers={"Authorization": f"Bearer {self._token}"})
        return answer

    def _log_in(self, web: Web) -> None:
        pair = web.secrets[1]
        answer = web.accepted(web.ask("/login", headers={"Authorization": f"Basic {pair}"}))
        self._token = web.parsed(answer, "/login")["token"]
        web.secrets = (*web.secrets, self._token)

    def _check_region(self, web: Web, zone: str) -> None:
        """Name the regions of the plan, where this is none of them."""
        answer = self._with_token(web, "/v3/my-access", [])
        told = web.parsed(web.accepted(answer), "/v3/my-access")
        regions = {
            region["region"]
            for one in told["signal_types"]
            if one["signal_type"] == self._signal
            for region in one["regions"]
        }
        if zone not in regions:
            raise unknown_zone("Your plan at WattTime", zone, regions)


def _range(first: datetime, last: datetime) -> list[tuple[str, str]]:
    """A range whose end the answer does not hold, though ranges hold both ends."""
    return [("start", first.isoformat()), ("end", (last - _STEP).isoformat())]
