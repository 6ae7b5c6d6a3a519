"""What lies ahead, from the best that can be had: a forecast, a kept one, a guess, a mean.

Each rung is tried in turn until every step has a value. A rung that fails is a remark and never
an error, so that a job waits for no provider. Only values of one signal stand in one outlook: a
lower rung that counts otherwise takes the place of the ones above when they gave nothing, and
fills none of their holes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import numpy as np

from negawatt.core.errors import NegawattError, StaleSignal, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Basis, GridSource, Reading, Status, Topic, utc
from negawatt.signals import typical
from negawatt.signals.misses import Misses, banded
from negawatt.signals.series import Series, from_readings
from negawatt.signals.spread import joined, spread

#: Foresees a signal from its past, from one moment to another; both ends are given.
Foresee = Callable[[Series, datetime, datetime], Series]

HOUR = timedelta(hours=1)


class Rung(StrEnum):
    """Where an outlook comes from, the best first."""

    LIVE = "live forecast"
    KEPT = "kept forecast"
    FORESEEN = "foreseen from history"
    TYPICAL = "typical hours"
    YEARLY = "yearly mean"
    NOTHING = "nothing known"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the time ahead.

    Args:
        series: Every step from start to end, NaN where nothing is known.
        rung: What told most of it: the best rung that gave a value.
        remarks: What failed, what is old, what was filled from where.
    """

    series: Series
    rung: Rung
    remarks: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """True when any step has a value."""
        return self.rung is not Rung.NOTHING


class Source(GridSource, Protocol):
    """A provider together with what is kept of it."""

    def remembered(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime
    ) -> Sequence[Reading]:
        """The newest forecast that is kept and was known at a moment, without asking anybody."""

    def misses(self, zone: str, now: datetime) -> Misses | None:
        """How its forecasts missed before; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Args:
        zone: By the names of the tables of zones, or the provider's own.
        start: Aware.
        end: Aware, after it.
        now: When the question is asked.
        topic: What about.
        max_age: How old a forecast may be, and the end of a past.
        past: How much of it a forecaster is given.
        replayed: True when `now` is not the clock's: nothing said after it may be used.

    Raises:
        UsageError: no time lies between start and end.
    """

    zone: str
    start: datetime
    end: datetime
    now: datetime
    topic: Topic = Topic.CARBON
    max_age: timedelta = timedelta(hours=24)
    past: timedelta = timedelta(days=56)
    replayed: bool = False

    def __post_init__(self) -> None:
        if utc(self.end) <= utc(self.start):
            raise UsageError(
                f"no time lies between {self.start} and {self.end}",
                fix="give an end that is after the start",
            )


@dataclass(slots=True)
class _Climb:
    """The answer so far."""

    asked: Question
    series: Series | None = None
    rung: Rung = Rung.NOTHING
    remarks: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.series is not None and self.series.complete

    def remark(self, text: str) -> None:
        """Say what failed, once: a provider without a key has neither forecast nor past."""
        if text not in self.remarks:
            self.remarks.append(text)

    def take(self, found: Series, rung: Rung, remark: str = "") -> None:
        """Put a rung's values where none are yet."""
        if self.series is None:
            fitted = spread(found, self.asked.start, self.asked.end)
            if np.isnan(fitted.values).all():
                self.remarks.append(f"{found.source}: nothing of the time asked for")
                return
            self.series, self.rung = fitted, rung
            self.remarks += [remark] if remark else []
            return
        try:
            self.series.same_signal(found)
            filled, added = joined(self.series, found)
        except UsageError as error:
            self.remarks.append(f"{error.what}, so its holes stay")
            return
        if added:
            self.series = filled
            self.remarks.append(
                f"{added} of {len(filled)} steps from the rung below: {rung} ({found.source})"
            )


def look_ahead(
    asked: Question,
    sources: Sequence[Source],
    foresee: Foresee | None = None,
    history: Series | None = None,
) -> Outlook:
    """The best that is known of the time ahead.

    Args:
        asked: The question.
        sources: Providers, the preferred first.
        foresee: Makes a forecast of a past; None leaves that rung out.
        history: A past that is at hand; that of the providers when None.

    Raises:
        UsageError: a provider, or the forecaster, mixes kinds of signal.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> outlook = look_ahead(Question(zone="DE", start=noon, end=noon + 24 * HOUR, now=noon), [])
    >>> str(outlook.rung), len(outlook.series)
    ('typical hours', 24)
    """
    climb = _Climb(asked)
    for found, rung, remark in _rungs(climb, sources, foresee, history):
        climb.take(found, rung, remark)
        if climb.complete:
            break
    if climb.series is None:
        return Outlook(_nothing(asked), Rung.NOTHING, tuple(climb.remarks))
    if not climb.complete:
        lacking = int(np.isnan(climb.series.values).sum())
        climb.remarks.append(f"of {lacking} of {len(climb.series)} steps nothing is known")
    return Outlook(climb.series, climb.rung, tuple(climb.remarks))


Found = tuple[Series, Rung, str]


def _rungs(
    climb: _Climb, sources: Sequence[Source], foresee: Foresee | None, history: Series | None
) -> Iterator[Found]:
    for source in sources:
        yield from _live(climb, source)
    for source in sources:
        yield from _kept(climb, source)
    if foresee is not None:
        yield from _foreseen(climb, sources, foresee, history)
    if climb.asked.topic is Topic.CARBON:
        yield from _built_in(climb)


def _live(climb: _Climb, source: Source) -> Iterator[Found]:
    asked = climb.asked
    as_of = asked.now if asked.replayed else None
    try:
        said = source.ahead(asked.zone, asked.start, asked.end, as_of=as_of)
    except NegawattError as error:
        climb.remark(f"{error.what} ({error.fix})")
        return
    if not said:
        climb.remarks.append(f"{source.name}: its forecast does not reach that far")
        return
    series = from_readings(said)  # readings of several kinds are the source's defect: it raises
    if asked.replayed and series.issued_at is not None and series.issued_at > utc(asked.now):
        climb.remarks.append(f"{source.name}: its forecast was issued later, so it was not known")
        return
    if _is_young(climb, series):
        yield from _weighed(climb, source, series, Rung.LIVE)


def _kept(climb: _Climb, source: Source) -> Iterator[Found]:
    asked = climb.asked
    said = source.remembered(asked.zone, asked.start, asked.end, as_of=asked.now)
    if said:
        series = from_readings(said)
        if _is_young(climb, series):
            yield from _weighed(climb, source, series, Rung.KEPT)


def _weighed(climb: _Climb, source: Source, series: Series, rung: Rung) -> Iterator[Found]:
    """A forecast with the interval that its provider's misses give it."""
    known = source.misses(climb.asked.zone, climb.asked.now)
    with_ends = banded(series, known)
    remark = f"{series.source}: {rung}, issued {age(climb.asked.now, series)} ago"
    if known is not None and with_ends is not series:
        remark += f"; its interval is how it missed in {_span(known.span)}"
    yield with_ends, rung, remark


def _is_young(climb: _Climb, series: Series) -> bool:
    """Whether a forecast is new enough; if not, its age becomes a remark."""
    try:
        check_age(series, climb.asked.now, climb.asked.max_age)
    except StaleSignal as error:
        climb.remarks.append(error.what)
        return False
    return True


def check_age(series: Series, now: datetime, max_age: timedelta) -> None:
    """Refuse a forecast that was made too long ago.

    Raises:
        StaleSignal: it was; the message tells how long.
    """
    if series.issued_at is not None and now - series.issued_at > max_age:
        raise StaleSignal(
            f"{series.source}, {series.zone}: the forecast was issued {age(now, series)} ago,"
            f" {_span(max_age)} are allowed",
            fix="raise grid.max_age, or name a second provider",
        )


def _foreseen(
    climb: _Climb, sources: Sequence[Source], foresee: Foresee, history: Series | None
) -> Iterator[Found]:
    asked = climb.asked
    given: Iterator[Series] = iter([history]) if history is not None else _pasts(climb, sources)
    for past in given:
        try:
            known = over(past, asked.now).fresh(asked.now, asked.max_age)
            ahead = foresee(known, utc(asked.start), utc(asked.end))
        except NegawattError as error:
            climb.remarks.append(error.what)
            continue
        known.same_signal(ahead)
        yield ahead, Rung.FORESEEN, f"{ahead.source}, from {_span(known.end - known.start)} of past"


def over(past: Series, now: datetime) -> Series:
    """The steps of a past that were over at a moment: what a step under way will be, none knows.

    Raises:
        UsageError: none was.
    """
    return past.window(past.start, past.start + past.place(now) * past.step)


def _pasts(climb: _Climb, sources: Sequence[Source]) -> Iterator[Series]:
    asked = climb.asked
    for source in sources:
        try:
            told = source.past(asked.zone, asked.now - asked.past, asked.now)
        except NegawattError as error:
            climb.remark(f"{error.what} ({error.fix})")
            continue
        if told:
            later = sum(one.issued_at is not None and one.issued_at > asked.now for one in told)
            if asked.replayed and later:
                climb.remarks.append(
                    f"{source.name}: {later} of {len(told)} values of its past are as they were"
                    " corrected later"
                )
            yield from_readings(told)
        else:
            climb.remarks.append(f"{source.name}: has no past of {asked.zone}")


def _built_in(climb: _Climb) -> Iterator[Found]:
    asked = climb.asked
    for rung, made in ((Rung.TYPICAL, typical.hours), (Rung.YEARLY, typical.year)):
        try:
            yield made(asked.zone, asked.start, asked.end), rung, ""
        except UsageError as error:
            climb.remarks.append(error.what)


def _nothing(asked: Question) -> Series:
    """A series that knows nothing, hour by hour."""
    start = utc(asked.start).replace(minute=0, second=0, microsecond=0)
    count = -((start - utc(asked.end)) // HOUR)
    carbon = asked.topic is Topic.CARBON
    return Series(
        zone=asked.zone,
        topic=asked.topic,
        unit=GRAMS_PER_KWH if carbon else "unknown",
        basis=Basis() if carbon else None,
        source="nothing",
        status=Status.ESTIMATED,
        start=start,
        step=HOUR,
        values=np.full(count, np.nan),
    )


def age(now: datetime, series: Series) -> str:
    """How long ago a forecast was made, for people; clocks that differ make it no less than 0."""
    if series.issued_at is None:
        return "an unknown time"
    return _span(max(timedelta(0), now - series.issued_at))


def _span(length: timedelta) -> str:
    """A length of time in words.

    >>> _span(timedelta(minutes=95)), _span(timedelta(days=56))
    ('1.6 h', '56 days')
    """
    minutes = length.total_seconds() / 60
    if abs(minutes) < 60:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if abs(minutes) < 48 * 60 else f"{minutes / 1440:.0f} days"
