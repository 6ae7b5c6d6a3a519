"""What our own forecaster learns from: one row for each past moment, as it looked then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negawatt.signals.forecast.base import Past, Places
from negawatt.signals.series import Column

Table = NDArray[np.float64]

LEVELS = (3, 7)  # days over which the level is taken besides
SETTLE = 3  # days before the first row, so that its lags hold something
KNOWN = 0.75  # of what came after a row; with less of it known nothing is learned from the row


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One row for each step of a history, and one more for the moment when it ends.

    A row says how the last day differed, step by step, from the mean of its hour over the days
    before it; the same for the last days as a whole; and which day of the week it is.

    Args:
        days: Over how many the means are taken.
        past: The history, in whatever unit it is foreseen in.
        features: [steps + 1, differences then weekdays].
        differences: How many of the features are differences; the rest are weekdays, 0 or 1.
        mean: Of the hour of day over the days before, [steps + a day].
    """

    days: int
    past: Past
    features: Table
    differences: int
    mean: Column

    def targets(self, day: int) -> Table:
        """What came that many days later, less the mean known at the row; NaN where unknown.

        Lost values are filled where only a few lack; otherwise the row has NaN.
        """
        width, steps = self.past.per_day, len(self.past)
        found = np.full((steps + 1, width), np.nan)
        whole = steps - (day + 1) * width + 1
        if whole < 1:
            return found
        places = np.arange(whole)[:, None] + np.arange(width)
        came = self.past.filled[places + day * width]
        known = np.isfinite(self.past.values)[places + day * width].mean(axis=1) >= KNOWN
        found[:whole] = np.where(known[:, None], came - self.mean[places], np.nan)
        found[: SETTLE * width] = np.nan
        return found

    def base(self, issues: Places) -> Table:
        """The means of the day that begins at each issue, [issues, a day]."""
        return np.asarray(self.mean[issues[:, None] + np.arange(self.past.per_day)])


def rows_of(past: Past, days: int) -> Rows:
    """The rows of a history."""
    width, steps = past.per_day, len(past)
    mean = hour_means(past, days)
    # before the first known days there is nothing to differ from
    gap = np.where(np.arange(steps) < width, 0.0, past.filled - mean[:steps])
    padded = np.concatenate([np.zeros(width), gap])
    lags = np.lib.stride_tricks.sliding_window_view(padded, width)[:, ::-1]
    total = np.concatenate([[0.0], np.cumsum(gap)])
    place = np.arange(steps + 1)
    levels = [
        (total - total[np.maximum(place - over * width, 0)]) / (over * width) for over in LEVELS
    ]
    weekday = ((place + past.phase) // width + past.weekday) % 7
    features = np.column_stack([lags, *levels, np.eye(7)[weekday]])
    return Rows(days, past, features, width + len(LEVELS), mean)


def hour_means(past: Past, days: int) -> Column:
    """Of each step, the mean of its hour of day over the days before it, one day beyond the end.

    Lost values are left out. Where that hour was never known, the filled value of a day before
    stands in; on the first day nothing was, and the first value does.
    """
    width, steps = past.per_day, len(past)
    total = running(past.values, width)
    count = running(np.isfinite(past.values) * 1.0, width)
    last = np.arange(steps + width) - width
    there, gone = np.maximum(last, 0), last - days * width
    known = np.where(last >= 0, count[there], 0.0)
    summed = np.where(last >= 0, total[there], 0.0)
    known -= np.where(gone >= 0, count[np.maximum(gone, 0)], 0.0)
    summed -= np.where(gone >= 0, total[np.maximum(gone, 0)], 0.0)
    instead = np.where(last >= 0, past.filled[there], past.filled[0])
    return np.where(known > 0.5, summed / np.maximum(known, 1.0), instead)


def running(values: Column, period: int) -> Column:
    """Sums along whole periods: of each step and those 1, 2, ... periods before it.

    >>> running(np.array([1.0, 2.0, 3.0, np.nan, 5.0]), 2).tolist()
    [1.0, 2.0, 4.0, 2.0, 9.0]
    """
    rows = -(-len(values) // period)
    padded = np.zeros(rows * period)
    padded[: len(values)] = np.nan_to_num(values)
    return np.cumsum(padded.reshape(rows, period), axis=0).ravel()[: len(values)]
