"""Documents of ENTSO-E, read into plain tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from xml.etree import ElementTree as ET

from negawatt.adapters.grids.asked import moment, number
from negawatt.core.errors import SignalUnavailable

_STEPS = MappingProxyType(
    {
        "PT1M": timedelta(minutes=1),
        "PT15M": timedelta(minutes=15),
        "PT30M": timedelta(minutes=30),
        "PT60M": timedelta(hours=1),
        "PT1H": timedelta(hours=1),
    }
)
_REPEATS = "A03"  # the curve whose repeated points are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One TimeSeries.

    Args:
        kind: Of power station, "B14"; empty for prices.
        charging: It is a store that takes power.
        unit: Of quantities.
        currency: Of prices.
        price_unit: What a price is for.
        steps: Values by their time, by the length of their step.
    """

    kind: str
    charging: bool
    unit: str
    currency: str
    price_unit: str
    steps: dict[timedelta, dict[datetime, float]]


@dataclass(frozen=True, slots=True)
class Document:
    """An answer: series, or a refusal in the platform's words."""

    series: tuple[Series, ...]
    refusal: str | None = None
    made: datetime | None = None


def read(content: bytes, provider: str) -> Document:
    """One document.

    Raises:
        SignalUnavailable: it is none, or of a form that is not known.
    """
    what = f"{provider} answers with something that is none of its documents"
    fix = "try again later; a page of maintenance may stand there"
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SignalUnavailable(what, fix=fix)
    try:
        root = ET.fromstring(content)  # noqa: S314  # entities are refused above
    except ET.ParseError as error:
        raise SignalUnavailable(f"{what} ({error})", fix=fix) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag == "Acknowledgement_MarketDocument":
        return Document((), " ".join((root.findtext(".//Reason/text") or "no reason").split()))
    told = root.findtext("createdDateTime")
    return Document(
        tuple(_series(one, provider) for one in root.iter("TimeSeries")),
        made=moment(told, provider) if told else None,
    )


def _series(element: ET.Element, provider: str) -> Series:
    repeats = element.findtext("curveType") == _REPEATS
    steps: dict[timedelta, dict[datetime, float]] = {}
    for period in element.iter("Period"):
        step = _step(period.findtext("resolution") or "", provider)
        steps.setdefault(step, {}).update(_points(period, step, provider, repeats=repeats))
    return Series(
        kind=element.findtext(".//psrType") or "",
        charging=element.find("outBiddingZone_Domain.mRID") is not None
        and element.find("inBiddingZone_Domain.mRID") is None,
        unit=element.findtext("quantity_Measure_Unit.name") or "",
        currency=element.findtext("currency_Unit.name") or "",
        price_unit=element.findtext("price_Measure_Unit.name") or "",
        steps=steps,
    )


def _points(
    period: ET.Element, step: timedelta, provider: str, *, repeats: bool
) -> dict[datetime, float]:
    """The values of a Period; where repeated points are left out they are put back."""
    start = moment(period.findtext("timeInterval/start"), provider)
    end = moment(period.findtext("timeInterval/end"), provider)
    told = {}
    for point in period.iter("Point"):
        value = point.findtext("quantity") or point.findtext("price.amount")
        told[int(point.findtext("position") or 0)] = number(value)
    if not repeats:
        return {start + (place - 1) * step: value for place, value in told.items()}
    filled: dict[datetime, float] = {}
    last: float | None = None
    for place in range(1, (end - start) // step + 1):
        last = told.get(place, last)
        if last is not None:
            filled[start + (place - 1) * step] = last
    return filled


def _step(text: str, provider: str) -> timedelta:
    if text not in _STEPS:
        shown = text if re.fullmatch(r"P[A-Z0-9]+", text) else "an unknown length"
        raise SignalUnavailable(
            f"{provider} answers in steps of {shown}", fix="report it, and try another provider"
        )
    return _STEPS[text]
