"""The plain ways: what any other has to beat, and what is left when the history is short."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from negawatt.signals.forecast.base import Past, Places, Table, foresee_by
from negawatt.signals.forecast.rows import running
from negawatt.signals.series import Series

MEAN_DAYS = 28


@dataclass(frozen=True, slots=True)
class Level:
    """The mean of the last day, for all that comes: tells how much, and nothing of when.

    >>> Level().name
    'level'
    """

    name: str = "level"
    days: float = 0.0

    def foresee(self, history: Series, start: datetime, end: datetime) -> Series:
        """What comes; see `Forecaster`."""
        return foresee_by(self, history, start, end)

    def predict(self, past: Past, issues: Places, ahead: Places) -> Table:
        """The mean of the filled steps of the day before."""
        total = np.concatenate([[0.0], np.cumsum(past.filled)])
        since = np.maximum(issues - past.per_day, 0)
        # before the first known value nothing is known: an issue there takes that value itself
        until = np.maximum(issues, 1)
        mean = (total[until] - total[since]) / (until - since)
        return np.repeat(mean[:, None], len(ahead), axis=1)


@dataclass(frozen=True, slots=True)
class Persistence:
    """Each hour as the same hour of the last day that is known.

    >>> Persistence().days
    1.0
    """

    name: str = "persistence"
    days: float = 1.0

    def foresee(self, history: Series, start: datetime, end: datetime) -> Series:
        """What comes; see `Forecaster`."""
        return foresee_by(self, history, start, end)

    def predict(self, past: Past, issues: Places, ahead: Places) -> Table:
        """The filled value whole days before."""
        return past.filled[_before(issues, ahead, past.per_day)]


@dataclass(frozen=True, slots=True)
class LastWeek:
    """Each hour as the same hour of the same weekday, a week before."""

    name: str = "last-week"
    days: float = 7.0

    def foresee(self, history: Series, start: datetime, end: datetime) -> Series:
        """What comes; see `Forecaster`."""
        return foresee_by(self, history, start, end)

    def predict(self, past: Past, issues: Places, ahead: Places) -> Table:
        """The filled value whole weeks before."""
        return past.filled[_before(issues, ahead, 7 * past.per_day)]


@dataclass(frozen=True, slots=True)
class HourMean:
    """Each hour as the mean of that hour of day over the last 28 days, or as many as there are.

    >>> HourMean().name
    'mean-28d'
    """

    name: str = "mean-28d"
    days: float = 1.0
    over: int = MEAN_DAYS

    def foresee(self, history: Series, start: datetime, end: datetime) -> Series:
        """What comes; see `Forecaster`."""
        return foresee_by(self, history, start, end)

    def predict(self, past: Past, issues: Places, ahead: Places) -> Table:
        """Means of what was known; the filled value where that hour was never known."""
        day = past.per_day
        last = _before(issues, ahead, day)
        total, count = running(past.values, day), running(np.isfinite(past.values) * 1.0, day)
        known = _span(count, last, day, self.over)
        mean = _span(total, last, day, self.over) / np.maximum(known, 1.0)
        return np.where(known > 0, mean, past.filled[last])


def _before(issues: Places, ahead: Places, period: int) -> Places:
    """Where the same moment of the last whole period before each issue lies."""
    back = period * (ahead // period + 1)
    return issues[:, None] + ahead - back


def _span(sums: Table, last: Places, period: int, count: int) -> Table:
    """The part of running sums that the last `count` periods make."""
    gone = last - count * period
    return sums[last] - np.where(gone >= 0, sums[np.maximum(gone, 0)], 0.0)
