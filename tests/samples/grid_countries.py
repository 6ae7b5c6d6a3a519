"""The UK's Carbon Intensity API, Energinet's data service and the EIA, as their documents say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from grid_server import GAP, HOUR, NOW, GridServer, at_of, foreseen, steps, truth
from loopback import Reply

HALF = timedelta(minutes=30)
FIVE = timedelta(minutes=5)


def _minutes(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")


class UKServer(GridServer):
    """Half hours; a region's windows come as one object, or as a list of one."""

    as_list = False

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        time = r"(\d{4}-\d\d-\d\dT\d\d:\d\dZ)"
        found = re.fullmatch(
            rf"(?P<regional>/regional)?/intensity/{time}/(?:{time}|fw48h)"
            r"(?:/regionid/(?P<id>\d+))?",
            path,
        )
        if not found or bool(found["regional"]) != bool(found["id"]):
            message = "Please enter a valid path e.g. /intensity/"
            return 400, {}, {"error": {"code": "400 Bad Request", "message": message}}
        start = at_of(found[2])
        end = at_of(found[3]) if found[3] else start + 48 * HOUR
        if end - start > timedelta(days=14):
            message = "Please enter a range of at most 14 days"
            return 400, {}, {"error": {"code": "400 Bad Request", "message": message}}
        # both ends belong to a range, and with the first the slot that ends there
        slots = [self.slot(t, regional=bool(found["id"])) for t in steps(start - HALF, end, HALF)]
        if not found["id"]:
            return 200, {}, {"data": slots}
        region = {"regionid": int(found["id"]), "shortname": "London", "data": slots}
        return 200, {}, {"data": [region] if self.as_list else region}

    def slot(self, at: datetime, *, regional: bool) -> dict[str, Any]:
        over = at + HALF <= NOW and at.replace(minute=0) != GAP
        told: dict[str, Any] = {"forecast": foreseen(at), "index": "moderate"}
        if not regional:
            told["actual"] = truth(at) if over else None
        return {"from": _minutes(at), "to": _minutes(at + HALF), "intensity": told}


class EnerginetServer(GridServer):
    """Rows without zones of time; `heeds_timezone` whether the question's ends may be UTC."""

    heeds_timezone = True
    datasets = ("CO2Emis", "CO2EmisProg", "Elspotprices", "DayAheadPrices")
    changed = datetime(2025, 9, 30, 22, tzinfo=UTC)
    most = 10_000

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        given, name = dict(query), path.strip("/")
        if name not in self.datasets:
            return 404, {}, f"Dataset {name} not found"
        areas = json.loads(given["filter"])["PriceArea"]
        rows = [
            row
            for area in areas
            if area in ("DK1", "DK2")
            for row in self.rows(name, area, self.end_of(given, "start"), self.end_of(given, "end"))
        ]
        offset, limit = int(given.get("offset", 0)), int(given.get("limit", 100))
        page = rows[offset : offset + min(limit or self.most, self.most)]
        return 200, {}, {"total": len(rows), "limit": limit, "dataset": name, "records": page}

    def end_of(self, given: dict[str, str], name: str) -> datetime:
        utc = self.heeds_timezone and given.get("timezone") == "utc"
        zone = UTC if utc else ZoneInfo("Europe/Copenhagen")
        return datetime.fromisoformat(given[name]).replace(tzinfo=zone).astimezone(UTC)

    def rows(self, name: str, area: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        if name.startswith("CO2"):
            ahead = name == "CO2EmisProg"
            first, last = (NOW, NOW + 36 * HOUR) if ahead else (start, NOW - FIVE)
            times = [t for t in steps(max(start, first), min(end, last), FIVE) if t < end]
            return [
                self.row(area, "Minutes5", t, CO2Emission=(foreseen if ahead else truth)(t) * 1.0)
                for t in times
                if t.replace(minute=0) != GAP
            ]
        if name == "Elspotprices":
            times = [t for t in steps(start, end, HOUR) if t < min(end, self.changed)]
            return [self.row(area, "Hour", t, SpotPriceEUR=truth(t) - 350.0) for t in times]
        quarters = steps(max(start, self.changed), end, timedelta(minutes=15))
        return [
            self.row(area, "Time", t, DayAheadPriceEUR=truth(t) - 350.0)
            for t in quarters
            if t < min(end, NOW + 36 * HOUR)
        ]

    @staticmethod
    def row(area: str, name: str, at: datetime, **values: float) -> dict[str, Any]:
        local = at.astimezone(ZoneInfo("Europe/Copenhagen"))
        return {
            f"{name}UTC": f"{at:%Y-%m-%dT%H:%M:%S}", f"{name}DK": f"{local:%Y-%m-%dT%H:%M:%S}",
            "PriceArea": area, **values,
        }  # fmt: skip


class EIAServer(GridServer):
    """Hours named by their end, in rows of one fuel each; values as text, numbers or null."""

    page = 5000
    units = "megawatthours"
    areas = ("CISO", "BPAT")
    fuels = ("NG", "NUC", "SUN", "OTH", "BAT")

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        given = dict(query)
        if given.get("api_key") != self.key:
            code = "API_KEY_INVALID" if given.get("api_key") else "API_KEY_MISSING"
            message = f"An invalid api_key was supplied: {given.get('api_key')}"
            return 403, {}, {"error": {"code": code, "message": message}}
        route = path.removeprefix("/electricity/rto/").removesuffix("/data/")
        if route not in ("fuel-type-data", "region-data"):
            return 404, {}, {"error": "not found", "code": 404}
        rows = self.rows(route, given)
        offset, length = int(given.get("offset", 0)), int(given.get("length", 5000))
        page = rows[offset : offset + min(length, self.page)]
        told = {"total": str(len(rows)), "dateFormat": 'YYYY-MM-DD"T"HH24', "data": page}
        return 200, {}, {"response": told, "apiVersion": "2.1.8"}

    def rows(self, route: str, given: dict[str, str]) -> list[dict[str, Any]]:
        area = given["facets[respondent][]"]
        if area not in self.areas:
            return []
        ends = steps(at_of(given["start"] + ":00"), at_of(given["end"] + ":00"), HOUR)
        if route == "region-data":
            kind = given["facets[type][]"]
            last = NOW if kind == "D" else NOW + 24 * HOUR
            return [
                self.row(end, area, str(truth(end - HOUR)), type=kind)
                for end in ends
                if end <= last
            ]
        return [
            self.row(end, area, self.value(fuel, end - HOUR), fueltype=fuel)
            for end in ends
            if end <= NOW
            for fuel in self.fuels
            if (end - HOUR, fuel) != (GAP, "NG")  # its largest fuel has not reported that hour
        ]

    @staticmethod
    def value(fuel: str, start: datetime) -> Any:
        made = {"NG": truth(start), "NUC": "500", "SUN": -3, "OTH": 20, "BAT": -200}
        return made[fuel]

    def row(self, end: datetime, area: str, value: Any, **more: str) -> dict[str, Any]:
        return {
            "period": f"{end:%Y-%m-%dT%H}", "respondent": area, **more, "value": value,
            "value-units": self.units,
        }  # fmt: skip


def eia_expected(at: datetime) -> float:
    """Gas and nuclear power at the chimney: 0.97 lb/kWh, and none."""
    return 440 * truth(at) / (truth(at) + 500)
