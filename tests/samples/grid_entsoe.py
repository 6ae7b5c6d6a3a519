"""ENTSO-E's platform: documents in XML, refusals among them with status 200."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from grid_server import GAP, HOUR, NOW, GridServer, steps, truth
from loopback import Reply

QUARTER = timedelta(minutes=15)
MIX = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
PRICES = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
AREAS = ("10YFR-RTE------C", "10Y1001A1001A82H")


def _at(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=UTC)


def _minutes(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")


class EntsoeServer(GridServer):
    """Gas comes in two series, nuclear power in the curve that leaves repeats out.

    Args are set on the instance: `refusal_status` of an acknowledgement, `most_days` of a
    question, `quarters_from` when steps become quarters, `paged` whether a document holds one
    hundred series and the rest follows by `offset`, `unit` of power, `extra` further series.
    """

    refusal_status = 200
    most_days = 366
    quarters_from: datetime | None = None
    paged = False
    unit = "MAW"
    price_unit = "MWH"
    also_hours = False  # prices by the quarter and by the hour for the same day

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        given = dict(query)
        if given.get("securityToken") != self.key:
            return 401, {}, "<html><body>Unauthorized: s3cret-key-not</body></html>"
        if path != "/api" or given.get("in_Domain") not in AREAS:
            return self.refused("The combination of in_Domain=X is not valid for this area")
        start, end = _at(given["periodStart"]), _at(given["periodEnd"])
        if end - start > timedelta(days=self.most_days):
            return self.refused("amount of requested data exceeds allowed limit")
        offset = int(given.get("offset", 0))
        made = self.mix if given["documentType"] == "A75" else self.prices
        series = made(start, end)
        if self.paged:
            series = series[offset : offset + 100]
        if not series:
            return self.refused("No matching data found for Data item")
        root, space = ("GL", MIX) if given["documentType"] == "A75" else ("Publication", PRICES)
        return (
            200,
            {"Content-Type": "application/xml"},
            (
                f'<?xml version="1.0" encoding="UTF-8"?><{root}_MarketDocument xmlns="{space}">'
                f"<mRID>x</mRID><createdDateTime>{NOW - HOUR:%Y-%m-%dT%H:%M:%SZ}</createdDateTime>"
                f"{''.join(series)}</{root}_MarketDocument>"
            ),
        )

    def refused(self, text: str) -> Reply:
        space = "urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"
        return (
            self.refusal_status,
            {"Content-Type": "application/xml"},
            (
                f'<Acknowledgement_MarketDocument xmlns="{space}"><mRID>y</mRID>'
                f"<Reason><code>999</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
            ),
        )

    def mix(self, start: datetime, end: datetime) -> list[str]:
        end = min(end, NOW)
        cut = self.quarters_from
        spans = [(start, end, HOUR)]
        if cut is not None and start < cut < end:
            spans = [(start, cut, HOUR), (cut, end, QUARTER)]
        series = []
        for first, last, step in spans:
            for begin, until in _around_the_gap(first, last):
                series += [
                    self.made("B04", begin, until, step, lambda t: truth(t) - 40),
                    self.made("B04", begin, until, step, lambda t: 40),
                ]
            series += [
                self.made("B14", first, last, step, lambda t: 500, repeats=True),
                self.made("B10", first, last, step, lambda t: 90),
                self.made("B10", first, last, step, lambda t: 70, domain="out"),
                self.made("B20", first, last, step, lambda t: 10),
            ]
        return [one for one in series if "<Point>" in one]

    def made(
        self,
        kind: str,
        start: datetime,
        end: datetime,
        step: timedelta,
        value: Callable[[datetime], float],
        *,
        repeats: bool = False,
        domain: str = "in",
    ) -> str:
        """One TimeSeries of a kind of station."""
        times = [t for t in steps(start, end, step) if t < end]
        points = [(n + 1, value(t)) for n, t in enumerate(times)]
        return (
            f"<TimeSeries><mRID>1</mRID><{domain}BiddingZone_Domain.mRID codingScheme='A01'>Z"
            f"</{domain}BiddingZone_Domain.mRID>"
            f"<quantity_Measure_Unit.name>{self.unit}</quantity_Measure_Unit.name>"
            f"<curveType>{'A03' if repeats else 'A01'}</curveType>"
            f"<MktPSRType><psrType>{kind}</psrType></MktPSRType>"
            f"{_period(start, end, step, points, 'quantity', repeats=repeats)}</TimeSeries>"
        )

    def prices(self, start: datetime, end: datetime) -> list[str]:
        end = min(end, NOW + 36 * HOUR)
        kinds = [(QUARTER, True), (HOUR, False)] if self.also_hours else [(HOUR, True)]
        series = []
        for step, repeats in kinds:
            times = [t for t in steps(start, end, step) if t < end]
            points = [(n + 1, truth(t) - 350.0) for n, t in enumerate(times)]
            series.append(
                "<TimeSeries><mRID>1</mRID><currency_Unit.name>EUR</currency_Unit.name>"
                f"<price_Measure_Unit.name>{self.price_unit}</price_Measure_Unit.name>"
                f"<curveType>{'A03' if repeats else 'A01'}</curveType>"
                f"{_period(start, end, step, points, 'price.amount', repeats=repeats)}</TimeSeries>"
            )
        return [one for one in series if "<Point>" in one]


def _around_the_gap(start: datetime, end: datetime) -> Iterable[tuple[datetime, datetime]]:
    """A time without the hour that has no value."""
    if start <= GAP < end:
        return [(start, GAP), (GAP + HOUR, end)]
    return [(start, end)]


def _period(
    start: datetime,
    end: datetime,
    step: timedelta,
    points: list[tuple[int, float]],
    name: str,
    *,
    repeats: bool,
) -> str:
    if repeats:  # a point like the one before is left out
        points = [p for n, p in enumerate(points) if n == 0 or p[1] != points[n - 1][1]]
    told = "".join(
        f"<Point><position>{place}</position><{name}>{value}</{name}></Point>"
        for place, value in points
    )
    return (
        f"<Period><timeInterval><start>{_minutes(start)}</start><end>{_minutes(end)}</end>"
        f"</timeInterval><resolution>PT{step // timedelta(minutes=1)}M</resolution>{told}</Period>"
    )


def entsoe_expected(at: datetime) -> float:
    """Gas and nuclear power over their lives, the medians of the IPCC."""
    return (490 * truth(at) + 12 * 500) / (truth(at) + 500)
