"""What is built in about grid zones: yearly means, how they spread, and a zone's intensity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Signal


@dataclass(frozen=True, slots=True)
class Intensity:
    """The intensity of a place with its basis. `estimate` is in gCO2e/kWh."""

    estimate: Estimate
    basis: Basis
    place: str


@dataclass(frozen=True, slots=True)
class Zone:
    """One row of the table of zones: a year's mean and how it spreads. [gCO2e/kWh]"""

    code: str
    name: str
    mean: float
    year_low: float  # least and greatest of the yearly means at hand
    year_high: float
    hour_low: float  # where the middle 95 % of the hours lay
    hour_high: float
    year: int
    source: str
    licence: str


@cache
def zones() -> Mapping[str, Zone]:
    """Every zone with a built-in yearly factor, by its code.

    >>> zones()["DE"].name, zones()["DE"].year
    ('Germany', 2022)
    """
    numbers = ("mean", "year_low", "year_high", "hour_low", "hour_high")
    made = {
        row["code"]: Zone(
            code=row["code"],
            name=row["name"],
            year=int(row["year"]),
            source=row["source"],
            licence=row["licence"],
            **{name: float(row[name]) for name in numbers},
        )
        for row in _rows("zones")
    }
    return MappingProxyType(made)


@dataclass(frozen=True, slots=True)
class Country:
    """One row of the table of countries: a year's mean, and nothing of its hours. [gCO2e/kWh]"""

    code: str
    name: str
    mean: float
    year: int
    source: str
    licence: str


@cache
def countries() -> Mapping[str, Country]:
    """Every country whose yearly mean is all that is built in, by its code.

    >>> countries()["CN"].name, countries()["CN"].year
    ('China', 2023)
    """
    made = {
        row["code"]: Country(
            row["code"],
            row["name"],
            float(row["mean"]),
            int(row["year"]),
            row["source"],
            row["licence"],
        )
        for row in _rows("countries")
    }
    return MappingProxyType(made)


def _rows(table_name: str) -> Iterator[dict[str, str]]:
    import csv

    place = files("negawatt") / "data" / "factors" / f"{table_name}.csv"
    text = place.read_text(encoding="utf-8")
    return csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))


def of_zone(code: str, *, whole_year: bool = False) -> Intensity:
    """The built-in yearly factor of a zone, or of a country by its code.

    The interval says where the hours of the year lay, because a run of unknown
    hour may have met any of them; for a whole year it is the range of yearly
    means. A country that is cut into zones is the band over those at hand. A country of
    which the yearly mean alone is known is taken to vary as the zones do: the interval
    reaches to the ends that nine zones in ten keep within, and holds the few of its own zones
    that are at hand.

    Args:
        code: Such as "DE", "US-CAL-CISO" or "US"; case does not matter.
        whole_year: The energy was drawn evenly over a year.

    Raises:
        UsageError: no such zone; the message names those there are.

    >>> of_zone("fr").estimate.value < of_zone("PL").estimate.value
    True
    >>> of_zone("US").place
    'US, one of 50 zones at hand'
    """
    wanted = code.strip().upper()
    known = zones()
    if wanted in countries():
        return _of_country(countries()[wanted], whole_year=whole_year)
    inside = [known[wanted]] if wanted in known else _inside(wanted)
    if not inside:
        raise _unknown(code)
    means = [zone.mean for zone in inside]
    lows = [zone.year_low if whole_year else zone.hour_low for zone in inside]
    highs = [zone.year_high if whole_year else zone.hour_high for zone in inside]
    first, one = inside[0], len(inside) == 1
    place = (
        f"{first.code} ({first.name})" if one else f"{wanted}, one of {len(inside)} zones at hand"
    )
    which = "mean" if one else "unweighted mean over zones"
    spread = "range of yearly means" if whole_year else "middle 95 % of its hours"
    estimate = Estimate(
        value=sum(means) / len(means),
        low=min(*lows, *means),
        high=max(*highs, *means),
        unit=GRAMS_PER_KWH,
        kind=Kind.ASSUMED,
        source=f"{first.source}, {which} of {first.year}; interval: {spread}",
        boundary=place,
    )
    return Intensity(estimate, Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE), place)


def _inside(country: str) -> list[Zone]:
    return [zone for zone in zones().values() if zone.code.startswith(f"{country}-")]


def _of_country(found: Country, *, whole_year: bool) -> Intensity:
    low, high = (found.mean * end for end in _usual_ends(whole_year=whole_year))
    place, few = f"{found.code} ({found.name})", _inside(found.code)
    spread = "yearly means" if whole_year else "hours"
    theirs = f", and those of {len(few)} of its zones" if few else ""
    estimate = Estimate(
        value=found.mean,
        low=min([low, *(zone.year_low if whole_year else zone.hour_low for zone in few)]),
        high=max([high, *(zone.year_high if whole_year else zone.hour_high for zone in few)]),
        unit=GRAMS_PER_KWH,
        kind=Kind.ASSUMED,
        source=f"{found.source}, mean of {found.year}, production without imports; interval: as"
        f" the {spread} of other grids spread{theirs}",
        boundary=place,
    )
    return Intensity(estimate, Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE), place)


@cache
def _usual_ends(*, whole_year: bool) -> tuple[float, float]:
    """The ends that nine zones in ten keep within, as shares of their mean. [1]"""
    ends = [
        (zone.year_low, zone.year_high) if whole_year else (zone.hour_low, zone.hour_high)
        for zone in zones().values()
    ]
    means = [zone.mean for zone in zones().values()]
    lows = sorted(low / mean for (low, _), mean in zip(ends, means, strict=True))
    highs = sorted(high / mean for (_, high), mean in zip(ends, means, strict=True))
    return lows[len(lows) // 10], highs[-1 - len(highs) // 10]


def _unknown(code: str) -> UsageError:
    from difflib import get_close_matches

    known = {code: zone.name for code, zone in zones().items()}
    known |= {code: country.name for code, country in countries().items()}
    close = get_close_matches(code.upper(), known, n=1)
    hint = f"did you mean {close[0]} ({known[close[0]]})? " if close else ""
    return UsageError(
        f"there is no built-in factor for the zone {code!r}",
        fix=f"{hint}give --intensity G_PER_KWH, leave the place out for the world's band,"
        f" or name one of: {', '.join(known)}",
    )
