"""What was known of the slots ahead when a job was released, and never more than that.

The oracle and the noisy oracle are the exceptions, and their names say so: they know what happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from negawatt.actions.backtest.records import Column, Counts, Matrix
from negawatt.decisions.when.rows import rows


class Belief(Protocol):
    """One way of knowing what comes."""

    def rows(self, starts: Counts, width: int) -> Matrix:
        """What is thought, when each start begins, of the slots from it on. [starts, width]

        NaN where nothing is.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Values that were there beforehand: those of an oracle, or of a forecast on record.

    Args:
        values: Of each slot. [slots]
        day: Slots of a day, where values of a day are told when it begins (at a slot number that
            is a multiple), and later days are filled by `beyond`; 0 where all is told.
        beyond: What is thought of later days; None leaves them unknown.
    """

    values: Column
    day: int = 0
    beyond: Belief | None = None

    def rows(self, starts: Counts, width: int) -> Matrix:
        """The values themselves, to the end of the day where they are told by the day."""
        told = rows(self.values, starts, width)
        if not self.day:
            return told
        later = (starts % self.day)[:, None] + np.arange(width) >= self.day
        other = np.nan if self.beyond is None else self.beyond.rows(starts, width)
        return np.where(later, other, told)


@dataclass(frozen=True, slots=True, eq=False)
class Daily:
    """The same time of day on the days before: the last one, or the mean of several.

    Args:
        values: What happened; of it only slots before a start are used. [slots]
        day: Slots of a day.
        days: Over how many the mean is taken; fewer where the signal began later.
    """

    values: Column
    day: int
    days: int = 1

    def means(self) -> Column:
        """Mean of each slot and of those at its time on the days before it. [slots]"""
        count = len(self.values)
        whole = math.ceil(count / self.day)
        padded = np.full(whole * self.day, np.nan)
        padded[:count] = self.values
        table = padded.reshape(whole, self.day)
        there = ~np.isnan(table)
        sums = _last(np.where(there, table, 0.0), self.days)
        numbers = _last(there.astype(np.float64), self.days)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums / numbers).reshape(-1)[:count]

    def rows(self, starts: Counts, width: int) -> Matrix:
        """For each slot the newest mean of its time of day that ends before the start."""
        ahead = np.arange(width)
        back = ahead - self.day * (ahead // self.day + 1)  # the newest such slot before the start
        places = starts[:, None] + back
        return np.where(places >= 0, self.means()[np.maximum(places, 0)], np.nan)


def _last(table: Matrix, days: int) -> Matrix:
    total = np.cumsum(table, axis=0)
    total[days:] = total[days:] - total[:-days].copy()
    return total


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
