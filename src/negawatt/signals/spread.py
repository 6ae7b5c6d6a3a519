"""Series laid over the time that is asked for, and holes of one filled from another."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.grid import utc
from negawatt.signals.series import Series


def spread(series: Series, start: datetime, end: datetime) -> Series:
    """The series over exactly the steps from `start` to `end`, NaN where it has none.

    >>> from datetime import UTC, timedelta
    >>> from negawatt.signals import typical
    >>> HOUR = timedelta(hours=1)
    >>> day = datetime(2026, 1, 1, tzinfo=UTC)
    >>> year = typical.year("DE", day, day + 2 * HOUR)
    >>> [bool(gap) for gap in np.isnan(spread(year, day + HOUR, day + 3 * HOUR).values)]
    [False, True]
    """
    first = series.place(start)
    count = -((series.start - utc(end)) // series.step) - first
    inside = np.arange(first, first + count)
    valid = (inside >= 0) & (inside < len(series))
    columns: dict[str, Any] = {}
    for name in ("values", "low", "high"):
        column = getattr(series, name)
        if column is not None:
            columns[name] = np.where(valid, column[np.clip(inside, 0, len(series) - 1)], np.nan)
    return replace(series, start=series.start + first * series.step, **columns)


def joined(upper: Series, lower: Series) -> tuple[Series, int]:
    """The upper series with its holes filled from the lower one, and how many were.

    Intervals are kept only where both have them, because some for a part of the steps would read
    as those of all.

    Raises:
        UsageError: their steps are no whole numbers of each other, or lie beside each other.
    """
    fill = spread(lower, upper.start, upper.end)
    if fill.step < upper.step:
        if fill.start != upper.start:
            raise UsageError(
                f"steps of {lower.source} begin between those of {upper.source}",
                fix="take both on full hours",
            )
        fill = fill.resampled(upper.step)
    places = np.array([fill.place(moment) for moment in upper.times()])
    taken = np.isnan(upper.values) & ~np.isnan(fill.values[places])
    both = upper.low is not None and lower.low is not None
    columns: dict[str, Any] = {"values": np.where(taken, fill.values[places], upper.values)}
    for name in ("low", "high"):
        ours, theirs = getattr(upper, name), getattr(fill, name)
        if both and ours is not None and theirs is not None:
            columns[name] = np.where(taken, theirs[places], ours)
    bare = upper if both else replace(upper, low=None, high=None)
    added = int(taken.sum())
    return (replace(bare, **columns) if added else upper), added
