"""What was known of the slots ahead when a job was released, and never more than that.

The oracle and the noisy oracle are the exceptions, and their names say so: they know what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from negawatt.actions.backtest.records import Column, Counts, Matrix
from negawatt.decisions.when.rows import rows
from negawatt.signals.forecast.base import Way, past_of
from negawatt.signals.series import Series

_MOST_CELLS = 1 << 26  # of forecasts kept at once: half a gigabyte


class Belief(Protocol):
    """One way of knowing what comes."""

    def rows(self, starts: Counts, width: int) -> Matrix:
        """What is thought, when each start begins, of the slots from it on. [starts, width]

        NaN where nothing is.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Values that were there beforehand: those of an oracle, or of a forecast on record."""

    values: Column

    def rows(self, starts: Counts, width: int) -> Matrix:
        """The values themselves."""
        return rows(self.values, starts, width)


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """What a way of foreseeing makes of the past before each start, and of nothing later.

    Args:
        ways: The first is used wherever the past is long enough for it, else the next.
        series: The signal.
    """

    ways: tuple[Way, ...]
    series: Series

    def rows(self, starts: Counts, width: int) -> Matrix:
        """Each start foreseen once, however many jobs it has."""
        past = past_of(self.series)
        lead = len(self.series.values) - len(past)  # steps before the first known value
        issues, which = np.unique(starts - lead, return_inverse=True)
        told = np.full((len(issues), width), np.nan)
        open_ = np.ones(len(issues), dtype=bool)
        for way in self.ways:
            enough = open_ & (issues >= max(1.0, way.days * past.per_day))
            if enough.any():
                told[enough] = way.predict(past, issues[enough], np.arange(width))
            open_ &= ~enough
        return np.asarray(told[which])


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Forecasts worked out once for all jobs, because some ways learn as they go along.

    Args:
        starts: Sorted, each once.
        table: What is thought from each on. [starts, width]
    """

    starts: Counts
    table: Matrix

    def rows(self, starts: Counts, width: int) -> Matrix:
        """Those of some of the starts, as far as is asked for."""
        return np.asarray(self.table[np.searchsorted(self.starts, starts), :width])


def kept(belief: Belief, starts: Counts, width: int) -> Belief:
    """A belief with its forecasts worked out; itself where they would fill the memory."""
    known = np.unique(starts)
    if isinstance(belief, Told) or len(known) * width > _MOST_CELLS:
        return belief
    return Kept(known, belief.rows(known, width))


@dataclass(frozen=True, slots=True, eq=False)
class Revised:
    """Forecasts that are made anew in every slot, for so many slots ahead.

    Args:
        table: Made in each slot, for the one after it and on. [slots, slots ahead]
        newest: What happened; the slot before the start is known. [slots]
        beyond: What is thought of slots further ahead.
    """

    table: Matrix
    newest: Column
    beyond: Belief

    def rows(self, starts: Counts, width: int) -> Matrix:
        """What was said one slot before each start."""
        ahead = self.table.shape[1]
        found = self.beyond.rows(starts, width)
        made = starts - 1
        there = made >= 0
        near = min(width, ahead)
        found[there, :near] = self.table[made[there], :near]
        return found


def noisy(values: Column, error: float, seed: int) -> Column:
    """What happened, with Gaussian noise on each slot whose deviation is a part of the mean.

    Args:
        values: [slots].
        error: Standard deviation over the mean of all values. [1]
        seed: Of NumPy's default generator.
    """
    deviation = error * float(np.nanmean(values))
    return values + np.random.default_rng(seed).normal(0.0, deviation, size=len(values))


def newest(values: Column, starts: Counts, width: int) -> Matrix:
    """The last value that is known when each slot begins: that of the slot before. [starts, width]"""
    return rows(values, starts - 1, width)


def usual_low(values: Column, starts: Counts, day: int, part: float, days: int = 28) -> Column:
    """The value that a part of the last days' slots lay below, as known when each start's day began.

    Args:
        values: What happened. [slots]
        starts: Slots.
        day: Slots of a day.
        part: Quantile. [1]
        days: How far back is looked.

    Returns:
        [starts]; NaN where no whole day had passed.
    """
    limits = np.full(len(values) // day + 1, np.nan)
    for number in np.unique(starts // day).tolist():
        past = values[max(0, (number - days) * day) : number * day]
        past = past[~np.isnan(past)]
        if len(past):
            limits[number] = np.quantile(past, part)
    return np.asarray(limits[starts // day])
