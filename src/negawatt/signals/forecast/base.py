"""The seam of forecasting, and what all ways of foreseeing share: steps, gaps, intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Status, Topic, utc
from negawatt.signals.forecast.intervals import LOOK_BACK, band
from negawatt.signals.series import Column, Series

Places = NDArray[np.int64]
Table = NDArray[np.float64]
DAY = timedelta(days=1)


class Forecaster(Protocol):
    """One way to foresee a signal from its own past."""

    @property
    def name(self) -> str:
        """How it is called in tables and as the source of what it says."""

    def foresee(self, history: Series, start: datetime, end: datetime) -> Series:
        """What comes from `start` to `end`, with intervals, as known where the history ends.

        Steps are those of the history, and the first and the last may reach over what is asked
        for. A step that the history tells is not foretold: what is said begins where it ends.

        Raises:
            SignalUnavailable: the history is too short for it, or has no value.
            UsageError: the history ends after all that is asked for, or is a forecast itself.
        """


class Way(Protocol):
    """How values ahead follow from values before: all that two forecasters differ in."""

    @property
    def name(self) -> str:
        """How it is called."""

    @property
    def days(self) -> float:
        """How much past it needs. [d]"""

    def predict(self, past: Past, issues: Places, ahead: Places) -> Table:
        """Values foreseen at many moments: [issues, ahead].

        Args:
            past: The whole history.
            issues: Number of the first step not yet known, for each moment.
            ahead: Steps from there on; 0 is that step itself.

        A row may rest on the steps before its issue only.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A history ready for arithmetic.

    Args:
        values: [steps]; NaN where nothing is known. The first is known.
        filled: The same without gaps: a lost value is that of a day before it, or else the one
            just before it. For features only: nothing is scored against it.
        per_day: Steps in a day.
        phase: Number of the first step within its day, in UTC.
        weekday: Of the first step; Monday is 0.
    """

    values: Column
    filled: Column
    per_day: int
    phase: int
    weekday: int

    def __len__(self) -> int:
        return len(self.values)


def past_of(history: Series) -> Past:
    """What arithmetic needs of a history.

    Raises:
        SignalUnavailable: it has no value at all.
        UsageError: it is a forecast, or a day is no whole number of its steps.
    """
    if history.status is Status.FORECAST:
        raise UsageError(
            f"{history.source}, {history.zone}: a forecast is no history",
            fix="foresee from what was measured",
        )
    if DAY % history.step:
        raise UsageError(
            f"{history.source}, {history.zone}: a day is no whole number of steps of"
            f" {history.step}",
            fix="resample it, for example to hours",
        )
    known = np.flatnonzero(np.isfinite(history.values))
    if not len(known):
        raise SignalUnavailable(
            f"{history.source}, {history.zone}: the history has no value to foresee from",
            fix="give a longer one, or another provider",
        )
    first = int(known[0])
    begin = history.start + first * history.step
    values = np.where(np.isfinite(history.values), history.values, np.nan)[first:]
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    per_day = DAY // history.step
    phase = (begin - midnight) // history.step
    return Past(values, _filled(values, per_day), per_day, phase, begin.weekday())


def _filled(values: Column, per_day: int) -> Column:
    filled = values.copy()
    for place in np.flatnonzero(np.isnan(values)).tolist():
        filled[place] = filled[place - per_day] if place >= per_day else filled[place - 1]
    return filled


def foresee_by(way: Way, history: Series, start: datetime, end: datetime) -> Series:
    """What a way says, with the intervals that its own past errors ask for.

    Raises:
        SignalUnavailable: the history is too short for it.
        UsageError: nothing of what is asked for lies after the history.
    """
    past = past_of(history)
    if len(past) < way.days * past.per_day:
        raise SignalUnavailable(
            f"{way.name} needs {way.days:g} days of history, {history.zone} has"
            f" {len(past) / past.per_day:.3g}",
            fix="give a longer history, or let `best` choose by its length",
        )
    ahead = steps_ahead(history, start, end)
    values = way.predict(past, np.array([len(past)]), ahead)[0]
    ends = band(values, past_errors(way, past, ahead), past.per_day)
    floor = 0.0 if history.topic is Topic.CARBON else -np.inf
    return replace(
        history,
        source=way.name,
        status=Status.FORECAST,
        start=history.end + int(ahead[0]) * history.step,
        values=values,
        low=None if ends is None else np.maximum(ends[0], floor),
        high=None if ends is None else ends[1],
        issued_at=history.end,
    )


def steps_ahead(history: Series, start: datetime, end: datetime) -> Places:
    """Which steps after the history touch a stretch of time; 0 is the first after its end.

    Raises:
        UsageError: none does.
    """
    first = max(0, (utc(start) - history.end) // history.step)
    beyond = -((history.end - utc(end)) // history.step)
    if first >= beyond:
        raise UsageError(
            f"{history.zone}: nothing is to be foreseen from {utc(start):%Y-%m-%d %H:%M} to"
            f" {utc(end):%Y-%m-%d %H:%M} UTC, the history ends {history.end:%Y-%m-%d %H:%M}",
            fix="ask for a time after its end, and for an end after the start",
        )
    return np.arange(first, beyond)


def past_errors(way: Way, past: Past, ahead: Places) -> Table:
    """What came less what had been said at this time of day before, [days, ahead]."""
    back = past.per_day * np.arange(1, LOOK_BACK + 1)
    issues = len(past) - back
    issues = issues[issues >= way.days * past.per_day]
    said = way.predict(past, issues, ahead)
    places = issues[:, None] + ahead
    came = past.values[np.minimum(places, len(past) - 1)]
    return np.where(places < len(past), came - said, np.nan)
