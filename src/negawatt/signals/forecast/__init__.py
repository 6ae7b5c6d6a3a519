"""Foreseeing a signal from its own past: plain ways, our own, and the choice among them."""

from __future__ import annotations

from datetime import datetime

from negawatt.signals.forecast.base import Forecaster, past_of
from negawatt.signals.forecast.baselines import HourMean, LastWeek, Level, Persistence
from negawatt.signals.forecast.replay import replay
from negawatt.signals.forecast.ridge import Ridge
from negawatt.signals.series import Series

__all__ = [
    "Forecaster",
    "HourMean",
    "LastWeek",
    "Level",
    "Persistence",
    "Ridge",
    "best",
    "foresee",
    "replay",
]


def best(history: Series) -> Forecaster:
    """The way that a history of this length is enough for.

    Raises:
        SignalUnavailable: the history has no value.
        UsageError: it is a forecast, or a day is no whole number of its steps.
    """
    past = past_of(history)
    ways = (Ridge(), HourMean(days=3.0), Persistence(), Level())
    return next(way for way in ways if len(past) >= way.days * past.per_day)


def foresee(history: Series, start: datetime, end: datetime) -> Series:
    """What comes from `start` to `end`, by the way that the length of the history allows.

    Args:
        history: What is known now; the forecast is issued where it ends.
        start: Aware. Steps that the history itself tells are left out.
        end: Aware.

    Raises:
        SignalUnavailable: the history has no value.
        UsageError: nothing that is asked for lies after the history, or it is no history.

    >>> import numpy as np
    >>> from datetime import UTC, timedelta
    >>> from negawatt.core.grid import Status, Topic
    >>> hour = timedelta(hours=1)
    >>> begin = datetime(2026, 1, 1, tzinfo=UTC)
    >>> days = np.tile(np.where(np.arange(24) < 6, 40.0, 90.0), 14)
    >>> past = Series(
    ...     zone="DE",
    ...     topic=Topic.PRICE,
    ...     unit="EUR/MWh",
    ...     basis=None,
    ...     source="file",
    ...     status=Status.MEASURED,
    ...     start=begin,
    ...     step=hour,
    ...     values=days,
    ... )
    >>> foresee(past, past.end + 4 * hour, past.end + 8 * hour).values.round(1).tolist()
    [40.0, 40.0, 90.0, 90.0]
    """
    return best(history).foresee(history, start, end)
