"""Electricity Maps v3, WattTime v3 and the Carbon Aware SDK, as their documents describe them."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from grid_server import GAP, HOUR, NOW, GridServer, at_of, foreseen, steps, truth
from loopback import Reply


def _z(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class ElectricityMapsServer(GridServer):
    """`granularity` is the step it answers in; `factors` what it counts, whatever is asked."""

    zones = ("DE", "FR", "DK-DK1", "DK-DK2")
    granularity = "hourly"
    factors: str | None = None
    forecast_hours = 72
    wrapped = False  # zones in an object of their own, as the SDK has it
    price_unit = "EUR/MWh"
    free = False  # a plan that shows the last day alone

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        given = dict(query)
        if path == "/zones":
            told = {zone: {"zoneName": zone} for zone in self.zones}
            return 200, {}, {"zones": told} if self.wrapped else told
        if headers.get("auth-token") != self.key:
            return 401, {}, {"error": f"Invalid auth-token {headers.get('auth-token')}"}
        if given.get("zone") not in self.zones:
            message = f"Zone {given.get('zone')!r} does not exist"
            return 404, {}, {"status": "error", "message": message}
        _, signal, what = path.split("/")
        if self.free and what not in ("latest", "history"):
            return 401, {}, {"error": f"{what} is not in your plan"}
        if signal not in ("carbon-intensity", "price-day-ahead"):
            return 404, {}, {"status": "error", "message": "no such signal"}
        return self.told(signal, what, given)

    def told(self, signal: str, what: str, given: dict[str, str]) -> Reply:
        about = {"zone": given["zone"], "temporalGranularity": self.granularity}
        if what == "history":
            times = steps(NOW - 24 * HOUR, NOW - HOUR, HOUR)
            return 200, {}, about | {"history": [self.item(signal, t, given) for t in times]}
        if what == "past-range":
            start, end = at_of(given["start"]), at_of(given["end"])
            if end - start > timedelta(days=10):
                return 400, {}, {"status": "error", "message": "range is too long"}
            times = [t for t in steps(start, min(end, NOW), HOUR) if t < end]
            told = about | {"data": [self.item(signal, t, given) for t in times]}
            return 200, {}, told | {"aggregationPeriod": None}
        if given.get("horizonHours") not in ("6", "24", "48", "72"):
            return 400, {}, {"status": "error", "message": "horizonHours"}
        until = NOW + min(int(given["horizonHours"]), self.forecast_hours) * HOUR
        name = "carbonIntensity" if signal == "carbon-intensity" else "value"
        items = [
            {name: foreseen(t), "datetime": _z(t)} | self.unit(signal)
            for t in steps(NOW, until - HOUR, HOUR)
        ]
        issued = NOW - timedelta(minutes=20)
        return 200, {}, about | {"updatedAt": _z(issued), "forecast": items}

    def unit(self, signal: str) -> dict[str, str]:
        return {"unit": self.price_unit} if signal == "price-day-ahead" else {}

    def item(self, signal: str, at: datetime, given: dict[str, str]) -> dict[str, Any]:
        value = None if at == GAP else truth(at)
        common = {
            "zone": given["zone"],
            "datetime": _z(at),
            "updatedAt": _z(at + 2 * HOUR),
            "createdAt": _z(at - HOUR),
        }
        if signal == "price-day-ahead":
            return common | {"value": value, "source": "nordpool.com"} | self.unit(signal)
        return common | {
            "carbonIntensity": value,
            "emissionFactorType": self.factors or given.get("emissionFactorType", "lifecycle"),
            "isEstimated": at.hour == 3,
            "estimationMethod": "TIME_SLICER_AVERAGE" if at.hour == 3 else None,
            "temporalGranularity": self.granularity,
        }


class WattTimeServer(GridServer):
    """Values in pounds per MWh; a token is good until `expire` is called."""

    user, password = "ada", "s3cret-key"
    regions = ("CAISO_NORTH", "PJM_NJ", "ERCOT_EASTTX")
    units = "lbs_co2_per_mwh"
    step = timedelta(minutes=5)

    def __init__(self) -> None:
        super().__init__()
        self.user, self.password = WattTimeServer.user, WattTimeServer.password
        self.token, self.logins = "", 0

    def expire(self) -> None:
        self.token = f"{self.token}, but of yesterday"

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        if path == "/login":
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            if headers.get("authorization") != f"Basic {pair}":
                return 403, {}, "Forbidden"
            self.logins += 1
            self.token = f"jwt-{self.logins}"
            return 200, {}, {"token": self.token}
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, {"detail": "Token has expired"}
        given = dict(query)
        if path == "/v3/my-access":
            regions = [{"region": name, "endpoints": []} for name in self.regions]
            kinds = ("co2_moer", "co2_aoer")
            told = [{"signal_type": kind, "regions": regions} for kind in kinds]
            return 200, {}, {"signal_types": told}
        if given.get("region") not in self.regions:
            return 403, {}, {"error": "You do not have access to this region"}
        if path == "/v3/historical":
            return self.historical(given)
        if path == "/v3/forecast":
            return self.forecast(given)
        return self.issues(given)

    def points(self, times: list[datetime], of: Any) -> list[dict[str, Any]]:
        return [
            {"point_time": t.isoformat(), "value": round(of(t) / 0.45359237, 6)}
            for t in times
            if t.replace(minute=0) != GAP
        ]

    def meta(self, given: dict[str, str], issued: datetime | None = None) -> dict[str, Any]:
        made = {} if issued is None else {"generated_at": issued.isoformat()}
        return {
            "data_point_period_seconds": 300, "region": given["region"], "warnings": [],
            "signal_type": given["signal_type"], "model": {"date": "2023-03-01"},
            "units": self.units, **made,
        }  # fmt: skip

    def historical(self, given: dict[str, str]) -> Reply:
        start, end = at_of(given["start"]), at_of(given["end"])
        if end - start > timedelta(days=32):
            return 400, {}, {"error": "Start and end must be within 32 days"}
        times = steps(start, min(end, NOW), self.step)
        return 200, {}, {"data": self.points(times, truth), "meta": self.meta(given)}

    def forecast(self, given: dict[str, str]) -> Reply:
        if not 0 <= int(given["horizon_hours"]) <= 72:
            return 400, {}, {"error": "horizon_hours"}
        until = NOW + int(given["horizon_hours"]) * HOUR
        data = self.points(steps(NOW, until, self.step), foreseen)
        return 200, {}, {"data": data, "meta": self.meta(given, NOW)}

    def issues(self, given: dict[str, str]) -> Reply:
        start, end = at_of(given["start"]), at_of(given["end"])
        if end - start > timedelta(days=1, minutes=5):
            return 400, {}, {"error": "Start and end must be within 1 day"}
        hours = int(given["horizon_hours"])
        data = [
            {
                "generated_at": issued.isoformat(),
                "forecast": self.points(steps(issued, issued + hours * HOUR, self.step), foreseen),
            }
            for issued in steps(start, min(end, NOW), timedelta(minutes=30))
        ]
        return 200, {}, {"data": data, "meta": self.meta(given)}


class CarbonAwareServer(GridServer):
    """The web API in front of a provider; `keeps` whether that one keeps its forecasts."""

    locations = ("eastus", "westus", "northeurope")
    keeps = True

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        if path == "/locations":
            place = {"Latitude": 37.37, "Longitude": -79.81}
            return 200, {}, {name: {**place, "Name": name} for name in self.locations}
        given = body[0] if isinstance(body, list) else dict(query)
        if given.get("location") not in self.locations:
            return 400, {}, {
                "title": "LocationConversionException", "status": 400,
                "detail": f"Unknown location {given.get('location')!r}",
            }  # fmt: skip
        if path == "/emissions/bylocation":
            start, end = at_of(given["time"]), at_of(given["toTime"])
            times = [t for t in steps(start, min(end, NOW - HOUR), HOUR) if t != GAP]
            told = [
                {"location": given["location"], "time": t.isoformat(), "rating": truth(t)}
                | ({"duration": "01:00:00"} if t.hour % 2 else {})
                for t in times
            ]
            return 200, {}, told
        issued = NOW - timedelta(minutes=10)
        if path == "/emissions/forecasts/batch" and self.keeps:
            issued = at_of(given["requestedAt"]) - timedelta(minutes=10)
        start, end = at_of(given["dataStartAt"]), at_of(given["dataEndAt"])
        last = min(end, issued + 24 * HOUR)
        data = [
            {"location": "IE", "timestamp": t.isoformat(), "duration": 60, "value": foreseen(t)}
            for t in steps(start, last, HOUR)
        ]
        return 200, {}, [
            {
                "generatedAt": issued.isoformat(), "requestedAt": NOW.isoformat(),
                "location": given["location"], "dataStartAt": given["dataStartAt"],
                "dataEndAt": given["dataEndAt"], "windowSize": 10, "forecastData": data,
            }
        ]  # fmt: skip
