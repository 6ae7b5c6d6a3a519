"""The policies by name: how a job is placed, and what is known when it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import numpy as np

from negawatt.actions.backtest.beliefs import Belief, Foreseen, Revised, Told, noisy
from negawatt.actions.backtest.records import Place
from negawatt.core.errors import UsageError
from negawatt.decisions.when import rows
from negawatt.signals.forecast import best
from negawatt.signals.forecast.baselines import HourMean, LastWeek, Level, Persistence

if TYPE_CHECKING:
    from negawatt.signals.forecast.base import Way

_MEAN = (HourMean(), Level())  # the level where not even a day has passed: it moves nothing


class Shape(StrEnum):
    """How a job is placed."""

    NOW = "now"
    CONTIGUOUS = "contiguous"
    INTERRUPTIBLE = "interruptible"
    THRESHOLD = "threshold"  # in one piece, once it is low enough; needs no forecast
    STOP_AND_GO = "stop-and-go"  # while it is low enough; needs no forecast
    LOWEST_SLOT = "lowest-slot"  # what some tools do with a long job


#: Shapes that a forecast is chosen for.
PLANNING = (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE)
FORESEEING = {
    Shape.CONTIGUOUS: rows.contiguous,
    Shape.INTERRUPTIBLE: rows.interruptible,
    Shape.LOWEST_SLOT: rows.lowest_slot,
}
#: Shapes that go by what is known last.
REACTING = {Shape.THRESHOLD: rows.threshold, Shape.STOP_AND_GO: rows.stop_and_go}
#: Which oracle a shape is set beside.
INTERRUPTING = (Shape.INTERRUPTIBLE, Shape.STOP_AND_GO)


def _of_ways(*ways: HourMean | Persistence | LastWeek | Level) -> Callable[[Place], Belief]:
    return lambda place: Foreseen(ways, place.chosen_by)


def _own(place: Place) -> Belief:
    """The way that `foresee` takes, and plainer ones where the past was still too short for it."""
    chosen = cast("Way", best(place.chosen_by))  # each of its ways says of many moments at once
    return Foreseen((chosen, HourMean(days=3.0), Persistence(), Level()), place.chosen_by)


def _recorded(place: Place) -> Belief:
    if place.recorded is None:
        raise UsageError(
            f"no forecast is on record for {place.name}",
            fix="name its column: --forecast-column NAME",
        )
    return Told(place.recorded)


def _recorded_day(place: Place) -> Belief:
    told = _recorded(place)
    start = place.actual.start
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    return _FromMidnight(told, (start - midnight) // place.actual.step, place)


@dataclass(frozen=True, slots=True, eq=False)
class _FromMidnight:
    """A forecast on record, told for each day when that day begins, in UTC."""

    told: Belief
    lead: int  # slots of the first day that lie before the signal
    place: Place

    def rows(self, starts: rows.Counts, width: int) -> rows.Matrix:
        """That of the day of each start, then the mean of the last days."""
        day = self.place.slots_a_day
        told = self.told.rows(starts, width)
        later = ((starts + self.lead) % day)[:, None] + np.arange(width) >= day
        return np.where(later, _of_ways(*_MEAN)(self.place).rows(starts, width), told)


def _revised(place: Place) -> Belief:
    if place.revised is None:
        raise UsageError(
            f"no forecasts made anew in each slot are on record for {place.name}",
            fix="give a file with columns f1, f2, ...",
        )
    return Revised(place.revised, place.actual.values, _of_ways(*_MEAN)(place))


#: Forecast -> how it comes to its knowledge, in the order in which they are listed.
FORECASTS: dict[str, Callable[[Place], Belief]] = {
    "persistence": _of_ways(Persistence(), Level()),
    "last-week": _of_ways(LastWeek(), Persistence(), Level()),
    "mean28": _of_ways(*_MEAN),
    "own": _own,
    "recorded": _recorded,
    "recorded-day": _recorded_day,
    "revised": _revised,
}
NOISY = "noisy-oracle"
PERFECT = "perfect"  # knows the signal that is chosen by, where that is another one
ORACLE = "oracle"  # knows what is scored by


@dataclass(frozen=True, slots=True)
class Choice:
    """One policy: a shape, with what it knows.

    Args:
        shape: How a job is placed.
        forecast: What is known; empty where the shape needs nothing.
        error: Of a noisy oracle: deviation over the mean. [1]
        seeds: Of it; the saving is the mean over them.
        limit: Of a threshold: the quantile of the last 28 days. [1]
        replanned: A job that waits, or is stopped, is planned anew in every slot, by the newest
            forecast; in one piece it is not stopped once it runs.

    >>> Choice(Shape.CONTIGUOUS, "mean28").name
    'contiguous, mean28'
    >>> Choice(Shape.CONTIGUOUS, "noisy-oracle", error=0.05, seeds=10).name
    'contiguous, noisy-oracle 5 %'
    """

    shape: Shape
    forecast: str = ""
    error: float = 0.0
    seeds: int = 1
    limit: float = 0.3
    replanned: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        told = f", {self.forecast}" if self.forecast else ""
        noise = f" {100 * self.error:g} %" if self.error else ""
        return f"{self.shape}{told}{noise}{', replanned' if self.replanned else ''}"

    def beliefs(self, place: Place) -> Iterator[Belief]:
        """What it knows of a place: one for each seed, and one where there is no dice.

        Raises:
            UsageError: there is no such forecast, or it needs what the file does not have.
        """
        if self.forecast == ORACLE:
            yield Told(place.actual.values)
        elif self.forecast == PERFECT:
            yield Told(place.chosen_by.values)
        elif self.forecast == NOISY:
            for seed in range(self.seeds):
                yield Told(noisy(place.chosen_by.values, self.error, seed))
        else:
            maker = FORECASTS.get(self.forecast)
            if maker is None:
                known = ", ".join((*FORECASTS, NOISY, PERFECT))
                raise UsageError(
                    f"there is no forecast {self.forecast!r}", fix=f"choose among {known}"
                )
            yield maker(place)


def choices(
    shapes: Sequence[Shape],
    forecasts: Sequence[str],
    error: float,
    seeds: int,
    limit: float,
    *,
    replan: bool = False,
) -> list[Choice]:
    """Every shape with every forecast, where it takes one; run now and the oracles come by themselves.

    >>> [one.name for one in choices([Shape.THRESHOLD, Shape.CONTIGUOUS], ["mean28"], 0, 1, 0.3)]
    ['threshold', 'contiguous, mean28']
    """
    found: list[Choice] = []
    for shape in shapes:
        if shape is Shape.NOW:
            continue
        if shape in REACTING:
            found.append(Choice(shape, limit=limit))
            continue
        for forecast in forecasts:
            if forecast == ORACLE and shape in (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE):
                continue
            noise = forecast == NOISY
            one = Choice(shape, forecast, error if noise else 0.0, seeds if noise else 1, limit)
            found.append(one)
            if replan and shape in PLANNING and not noise:  # its noise is the same all the while
                found.append(replace(one, replanned=True))
    return found
