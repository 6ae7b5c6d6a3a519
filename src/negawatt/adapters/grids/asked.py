"""What all providers have in common: options, units, pieces of time, and an answer in order."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from negawatt.adapters.grids.web import Patience
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Basis, Reading, Topic, utc

_POUNDS_PER_MWH = 0.45359237  # in g/kWh
#: Units of an intensity, without spaces and without what the CO2 is called, in gCO2e/kWh.
_GRAMS = MappingProxyType(
    {
        "g/kwh": 1.0,
        "kg/mwh": 1.0,
        "t/gwh": 1.0,
        "kg/kwh": 1000.0,
        "g/wh": 1000.0,
        "t/mwh": 1000.0,
        "lb/mwh": _POUNDS_PER_MWH,
        "lbs/mwh": _POUNDS_PER_MWH,
        "lb/kwh": _POUNDS_PER_MWH * 1000,
        "lbs/kwh": _POUNDS_PER_MWH * 1000,
    }
)
_LATELY = timedelta(minutes=5)  # who asks for what was known then, asks for what is known
_NAMED_AT_MOST = 5

T = TypeVar("T")


def grams(unit: str, provider: str) -> float:
    """What a value in a unit is to be multiplied by for gCO2e/kWh.

    Raises:
        SignalUnavailable: the unit is none of an intensity. It is refused and not guessed.

    >>> grams("lbs_co2_per_mwh", "WattTime"), grams("gCO2eq/kWh", "x"), grams("kg CO2/kWh", "x")
    (0.45359237, 1.0, 1000.0)
    """
    plain = re.sub(r"_per_| per ", "/", unit.lower().replace("₂", "2"))
    plain = re.sub(r"co2-?(eq|e)?|[\s_.]", "", plain)
    if plain not in _GRAMS:
        raise SignalUnavailable(
            f"{provider} answers in {unit!r}, which is no carbon intensity",
            fix="ask it for a signal in grams or pounds of CO2 for each kWh or MWh",
        )
    return _GRAMS[plain]


def moment(text: Any, provider: str) -> datetime:
    """A time of an answer, in UTC.

    Raises:
        SignalUnavailable: it is no time, or has no zone.

    >>> moment("2018-01-20T12:00Z", "uk").isoformat()
    '2018-01-20T12:00:00+00:00'
    """
    try:
        return utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, UsageError) as error:
        raise SignalUnavailable(
            f"{provider} tells the time {text!r}, which cannot be placed",
            fix="report it; another provider may do meanwhile",
        ) from error


def number(value: Any) -> float:
    """A value of an answer, which may come as text.

    Raises:
        ValueError: it is no finite number.

    >>> number("20"), number(-1)
    (20.0, -1.0)
    """
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value} is no number")
    return found


def pieces(start: datetime, end: datetime, span: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """A time in pieces that a provider takes.

    >>> from datetime import UTC
    >>> day = datetime(2026, 1, 1, tzinfo=UTC)
    >>> [(a.day, b.day) for a, b in pieces(day, day + timedelta(days=5), timedelta(days=2))]
    [(1, 3), (3, 5), (5, 6)]
    """
    while start < end:
        until = min(start + span, end)
        yield start, until
        start = until


def key(given: str | None, variable: str, provider: str) -> str:
    """A key that was handed in, or that of the environment.

    Raises:
        SignalUnavailable: there is none.
    """
    found = given or os.environ.get(variable)
    if not found:
        raise SignalUnavailable(
            f"{provider} wants a key, and {variable} is not set",
            fix=f"export {variable}=YOUR_KEY; the provider's site tells how to get one",
        )
    return found


def choice(name: str, given: str, known: Mapping[str, T]) -> T:
    """The meaning of an option.

    Raises:
        UsageError: there is no such choice.
    """
    if given not in known:
        raise UsageError(f"{name}={given} is no choice", fix=f"choose one of: {', '.join(known)}")
    return known[given]


def unknown_zone(
    provider: str, zone: str, known: Iterable[str], *, like: str | None = None
) -> UsageError:
    """There is no such zone; the message names those near it, or near what it is `like`."""
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    close = get_close_matches((like or zone).casefold(), folded, n=_NAMED_AT_MOST, cutoff=0.5)
    near = ", ".join(folded[name] for name in close)
    some = ", ".join(names[:_NAMED_AT_MOST]) + (", ..." if len(names) > _NAMED_AT_MOST else "")
    hint = f"near it are: {near}" if near else f"it knows: {some}" if names else "see its site"
    return UsageError(f"{provider} knows no zone {zone!r}", fix=hint)


class Asked(ABC):
    """A provider that is asked for a past or a time ahead.

    Args:
        topic: What it is to tell of.
        patience: How long it is waited for; its clock tells now.

    Raises:
        UsageError: it tells nothing of that topic.
    """

    name: str
    topic: Topic
    basis: Basis | None
    about: ClassVar[str]
    topics: ClassVar[tuple[Topic, ...]] = (Topic.CARBON,)
    keys: ClassVar[tuple[str, ...]] = ()
    keeps_forecasts: ClassVar[bool] = False

    def __init__(self, topic: str, patience: Patience | None) -> None:
        self.patience = patience or Patience()
        self.topic = choice("topic", topic, {str(one): one for one in self.topics})

    @property
    def now(self) -> datetime:
        """The clock."""
        return utc(self.patience.clock())

    def past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        """What happened; see `GridSource`."""
        start, end = span(start, end)
        end = min(end, self.now)
        return self._told(self._past, zone, start, end) if start < end else []

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> Sequence[Reading]:
        """The newest forecast; see `GridSource`."""
        start, end = span(start, end)
        then = None if as_of is None else utc(as_of)
        if then is not None and self.now - _LATELY <= then <= self.now + _LATELY:
            then = None
        if then is not None and not self.keeps_forecasts:
            raise SignalUnavailable(
                f"{self.name} does not keep what it foresaw at {then:%Y-%m-%d %H:%M} UTC",
                fix="ask often, so that the cache has it, or take a file with a column issued_at",
            )
        return self._told(self._ahead, zone, start, end, then)

    def _told(
        self, ask: Callable[..., Iterable[Reading]], zone: str, start: datetime, *rest: Any
    ) -> list[Reading]:
        try:
            return tidy(ask(zone, start, *rest), start, rest[0])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise SignalUnavailable(
                f"{self.name} answers in a shape that is not known"
                f" ({type(error).__name__}: {error})",
                fix="see whether a newer negawatt reads it, and report it if not",
            ) from error

    @abstractmethod
    def _past(self, zone: str, start: datetime, end: datetime) -> Iterable[Reading]:
        """Readings of a past, in any order."""

    @abstractmethod
    def _ahead(
        self, zone: str, start: datetime, end: datetime, as_of: datetime | None
    ) -> Iterable[Reading]:
        """Readings of one forecast, in any order."""

    def no_forecasts(self) -> SignalUnavailable:
        """The provider tells the past alone."""
        return SignalUnavailable(
            f"{self.name} makes no forecast of {self.topic}",
            fix="a forecast from its history is used instead; or name a provider that makes one",
        )


def span(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Both ends in UTC.

    Raises:
        UsageError: no time lies between them, or one has no time zone.
    """
    first, last = utc(start), utc(end)
    if last <= first:
        raise UsageError(f"no time lies between {start} and {end}", fix="give a later end")
    return first, last


def tidy(readings: Iterable[Reading], start: datetime, end: datetime) -> list[Reading]:
    """In order, each time once, and only those that touch the time asked for.

    What is told twice of one time counts as told last; what lies over the one before, as hours
    do where a provider goes over to quarters, is left out.
    """
    newest = {reading.start: reading for reading in readings}
    kept: list[Reading] = []
    for _, reading in sorted(newest.items()):
        if reading.end <= start or reading.start >= end:
            continue
        if not kept or kept[-1].end <= reading.start:
            kept.append(reading)
    return kept
