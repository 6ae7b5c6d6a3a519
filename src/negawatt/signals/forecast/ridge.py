"""Our own forecaster: ridge regression of the coming day on the last one, learned anew each time.

What differed on the last day from the mean of its hour says something of the day that comes. How
much is learned from the same history: for each step ahead, from the rows at about the same time
of day, and from those of all times of day; the two are averaged, and that over means of two, four
and eight weeks. Nothing is tuned to a zone. Positive values are foreseen by their logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from negawatt.signals.forecast.base import Past, Places, Table, foresee_by
from negawatt.signals.forecast.rows import Rows, hour_means, rows_of
from negawatt.signals.series import Column, Series

PENALTY = 10.0  # in rows: as if so many had shown no connection at all
HALF_LIFE = 180.0  # of a row's weight [d]
FEWEST = 8.0  # rows, by weight, below which the mean is taken as it is
FARTHEST = 14  # days ahead with a regression of their own; later ones repeat the last week
TINY = 1e-12
NEAR_ZERO = 0.02  # of the mean: a history with values below has no useful logarithm


@dataclass(frozen=True, slots=True)
class Ridge:
    """The coming day from the last one, by regression over the whole history.

    Args:
        name: As the source of what it says.
        days: How much history it needs. [d]
        over: Days over which the means are taken that it adds to; one forecast for each,
            averaged.

    >>> Ridge().over
    (14, 28, 56)
    """

    name: str = "ridge"
    days: float = 5.0
    over: tuple[int, ...] = (14, 28, 56)

    def foresee(self, history: Series, start: datetime, end: datetime) -> Series:
        """What comes; see `Forecaster`."""
        return foresee_by(self, history, start, end)

    def predict(self, past: Past, issues: Places, ahead: Places) -> Table:
        """By the hour, or by the step where steps are no shorter."""
        times = past.per_day // 24
        if times < 2 or past.per_day % 24:
            return self._by_step(past, issues, ahead)
        found = np.empty((len(issues), len(ahead)))
        for phase in np.unique(issues % times).tolist():
            mine = issues % times == phase
            found[mine] = self._by_hour(past, issues[mine], ahead, phase)
        return found

    def _by_hour(self, past: Past, issues: Places, ahead: Places, phase: int) -> Table:
        """Issues that lie alike between the hours; their hours are counted from there."""
        times = past.per_day // 24
        hours, first = hourly(past, phase)
        wanted = np.arange(int(ahead[-1]) // times + 1)
        said = self._by_step(hours, (issues - first) // times, wanted)
        # within the hour: as the steps of that hour differed from its mean in the last weeks
        steps = np.arange(len(wanted) * times)
        shape = _repeated(hour_means(past, self.over[-1]), issues, steps, past.per_day)
        within = shape - shape.reshape(len(issues), -1, times).mean(axis=2).repeat(times, axis=1)
        return np.asarray((said.repeat(times, axis=1) + within)[:, ahead])

    def _by_step(self, past: Past, issues: Places, ahead: Places) -> Table:
        lowest = np.minimum.accumulate(past.filled)
        mean = np.cumsum(past.filled) / np.arange(1, len(past) + 1)
        logs = (lowest > NEAR_ZERO * np.abs(mean))[issues - 1]
        found = np.empty((len(issues), len(ahead)))
        if logs.any():
            safe = max(float(lowest[issues[logs] - 1].min()), np.finfo(float).tiny)
            moved = replace(
                past,
                values=np.log(np.maximum(past.values, safe)),
                filled=np.log(np.maximum(past.filled, safe)),
            )
            found[logs] = np.exp(self._regressed(moved, issues[logs], ahead))
        if not logs.all():
            found[~logs] = self._regressed(past, issues[~logs], ahead)
        return found

    def _regressed(self, past: Past, issues: Places, ahead: Places) -> Table:
        width = past.per_day
        farther = ahead // width > FARTHEST - 1
        near = np.where(farther, (FARTHEST - 7) * width + ahead % (7 * width), ahead)
        found = np.zeros((len(issues), len(ahead)))
        for days in self.over:
            rows = rows_of(past, days)
            for day in np.unique(near // width).tolist():
                mine = near // width == day
                found[:, mine] += one_day(rows, issues, day)[:, near[mine] % width]
        # never outside what was seen so far
        highest = np.maximum.accumulate(past.filled)[issues - 1, None]
        lowest = np.minimum.accumulate(past.filled)[issues - 1, None]
        return np.clip(found / len(self.over), lowest, highest)


def hourly(past: Past, phase: int) -> tuple[Past, int]:
    """Means of whole hours counted from a step, and the number of the first step they hold."""
    times = past.per_day // 24
    count = (len(past) - phase) // times
    table = past.filled[phase : phase + count * times].reshape(count, times)
    known = np.isfinite(past.values[phase : phase + count * times]).reshape(count, times)
    filled = table.mean(axis=1)
    values = np.where(known.mean(axis=1) > 0.5, filled, np.nan)
    weekday = (past.weekday + (past.phase + phase) // past.per_day) % 7
    began = (past.phase + phase) % past.per_day // times
    return Past(values, filled, 24, began, weekday), phase


def _repeated(mean: Column, issues: Places, ahead: Places, width: int) -> Table:
    """Means of the day after each issue, day after day."""
    return np.asarray(mean[issues[:, None] + ahead % width])


def one_day(rows: Rows, issues: Places, day: int) -> Table:
    """What the rows say of one whole day after each issue, that many days on. [issues, a day]"""
    learned = Learned(rows, day)
    found = rows.base(issues)
    for place in np.argsort(issues, kind="stable").tolist():
        found[place] += learned.difference(int(issues[place]))
    return found


@dataclass(slots=True, eq=False)
class Learned:
    """Sums of products of the rows seen so far, by time of day; they only grow."""

    rows: Rows
    day: int
    told: Table = field(init=False)  # features and targets of each row; 0 where unusable
    weight: Column = field(init=False)
    until: int = field(init=False, default=0)
    products: Table = field(init=False)  # [time of day, features, features + targets]
    counts: Column = field(init=False)

    def __post_init__(self) -> None:
        targets = self.rows.targets(self.day)
        usable = np.asarray(np.isfinite(targets).all(axis=1))
        self.told = np.where(usable[:, None], np.column_stack([self.rows.features, targets]), 0.0)
        width, features = self.rows.past.per_day, self.rows.features.shape[1]
        self.weight = usable * self._fading(np.arange(len(usable)))
        self.products = np.zeros((width, features, features + width))
        self.counts = np.zeros(width)

    def _fading(self, place: Places | int) -> Any:
        """Weight of a row, told from the end of the history on."""
        steps = len(self.rows.past)
        return 0.5 ** ((steps - place) / (HALF_LIFE * self.rows.past.per_day))

    def difference(self, issue: int) -> Column:
        """From the mean, for each step of the day; issues must come in order."""
        width = self.rows.past.per_day
        self._learn(max(self.until, issue - (self.day + 1) * width + 1))
        time = issue % width
        beside = [(time - 1) % width, (time + 1) % width]
        alike = self.products[time] + 0.5 * self.products[beside].sum(axis=0)
        alike_count = self.counts[time] + 0.5 * self.counts[beside].sum()
        now = self.rows.features[issue]
        scale = float(self._fading(issue))
        return 0.5 * (
            solved(alike, alike_count, scale, now, self.rows.differences)
            + solved(
                self.products.sum(axis=0), self.counts.sum(), scale, now, self.rows.differences
            )
        )

    def _learn(self, until: int) -> None:
        """Take in the rows up to a place: many days at once at first, then a day at most."""
        width, features = self.rows.past.per_day, self.rows.features.shape[1]
        if self.until == 0:
            self.until = until // width * width
            told = self.told[: self.until].reshape(-1, width, self.told.shape[1])
            told = np.ascontiguousarray(told.transpose(1, 0, 2))
            weight = self.weight[: self.until].reshape(-1, width).T
            weighed = told[:, :, :features] * weight[:, :, None]
            self.products += weighed.transpose(0, 2, 1) @ told
            self.counts += weight.sum(axis=1)
        for begin in range(self.until, until, width):
            rows = np.arange(begin, min(begin + width, until))
            times, told = rows % width, self.told[rows]
            weighed = told[:, :features] * self.weight[rows, None]
            self.products[times] += weighed[:, :, None] * told[:, None, :]
            self.counts[times] += self.weight[rows]
        self.until = until


def solved(products: Table, count: float, scale: float, now: Column, differences: int) -> Column:
    """The ridge regression that sums of products stand for, applied to one row.

    Args:
        products: Of features with features and targets, [features, features + targets].
        count: Of the rows in it, by weight.
        scale: Weight of a row that is new.
        now: The row, [features].
        differences: How many of the features carry the unit of the targets.
    """
    features = len(now)
    targets = products.shape[1] - features
    if count < FEWEST * scale:
        return np.zeros(targets)
    usual = np.trace(products[:differences, :differences]) / differences / count
    penalty = np.full(features, PENALTY * scale)
    penalty[:differences] *= usual + TINY
    weights = np.linalg.solve(products[:, :features] + np.diag(penalty), products[:, features:])
    return np.asarray(now @ weights)
