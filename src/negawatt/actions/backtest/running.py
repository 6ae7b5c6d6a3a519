"""One policy on every job: where and when each runs, and what that emitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from negawatt.actions.backtest.beliefs import Belief, newest, usual_low
from negawatt.actions.backtest.policies import FORESEEING, REACTING, Choice, Shape
from negawatt.actions.backtest.records import HOUR_S, Column, Counts, Jobs, Matrix, Place
from negawatt.decisions.when.rows import Plan, at, rows

_CELLS = 1 << 21  # jobs times slots looked at together, so that memory stays small
_TOGETHER = 512  # jobs of unlike room in one batch


class Outcome(NamedTuple):
    """One policy, job by job. [jobs] each

    Args:
        grams: Emitted, mean over seeds. [gCO2e]
        elsewhere: Emitted had the job moved and run at once there. [gCO2e]
        waited: Emitted had it stayed and waited. [gCO2e]
        delay: Slots before the first that it ran in.
        missed: Ended after its deadline, part of the seeds.
        blind: Ran at once because nothing was known.
        moved: Ran elsewhere, part of the seeds.
        seeds: Sum of grams for each seed. [gCO2e], [seeds]
    """

    grams: Column
    elsewhere: Column
    waited: Column
    delay: Column
    missed: Column
    blind: Column
    moved: Column
    seeds: Column


def whole(places: Sequence[Place], jobs: Jobs) -> Jobs:
    """The jobs whose every slot, from release to deadline, has a value in every place.

    Raises:
        UsageError: there is none.
    """
    count = len(places[0].actual)
    fits = (jobs.release >= 0) & (jobs.deadline + jobs.grace <= count)
    for place in places:
        for series in {id(s): s for s in (place.actual, place.chosen_by)}.values():
            holes = np.concatenate([[0], np.cumsum(~np.isfinite(series.values))])
            ends = np.clip(jobs.deadline + jobs.grace, 0, count)
            fits &= holes[ends] == holes[np.clip(jobs.release, 0, count)]
    return jobs if fits.all() else jobs.some(fits)


def _batches(jobs: Jobs) -> Iterator[tuple[Counts, int]]:
    """Jobs of like room together, so that rows are no wider than they have to be."""
    order = np.argsort(jobs.room, kind="stable")
    at_ = 0
    while at_ < len(order):
        # the widest of a batch decides; looking ahead by halves keeps this simple
        size = max(1, _CELLS // int(jobs.room[order[at_]]))
        while size > 1 and size * int(jobs.room[order[min(at_ + size, len(order)) - 1]]) > _CELLS:
            size //= 2
        size = min(size, _TOGETHER) if jobs.room[order[-1]] > jobs.room[order[0]] else size
        some = order[at_ : at_ + size]
        yield some, int(jobs.room[some].max())
        at_ += len(some)


def run(places: Sequence[Place], jobs: Jobs, choice: Choice) -> Outcome:
    """One policy on every job.

    Args:
        places: The first is where jobs are released.
        jobs: That fit, see `whole`.
        choice: The policy.
    """
    tables = [np.zeros(len(jobs)) for _ in range(7)]
    seeds: list[float] = []
    kwh = energy(jobs, places[0])
    passes = list(zip(*(_passes(choice, place) for place in places), strict=True))
    for beliefs in passes:
        total = 0.0
        for which, width in _batches(jobs):
            done = _place(places, jobs.some(which), choice, beliefs, width)
            done[:3] *= kwh[which]
            total += float(done[0].sum())
            for table, column in zip(tables, done, strict=True):
                table[which] += column / len(passes)
        seeds.append(total)
    return Outcome(*tables, np.array(seeds))


def _passes(choice: Choice, place: Place) -> list[Belief | None]:
    if choice.shape in FORESEEING:
        return list(choice.beliefs(place))
    return [None]


def _place(
    places: Sequence[Place],
    jobs: Jobs,
    choice: Choice,
    beliefs: Sequence[Belief | None],
    width: int,
) -> Matrix:
    """Intensity with every change, moved only, waited only; delay, missed, blind, moved. [7, jobs]"""
    real = [rows(place.actual.values, jobs.release, width) for place in places]
    begin = at(np.zeros(len(jobs), dtype=np.intp), jobs.steps, width)
    plans: list[Plan] = []
    cost, cost_now = [], []
    for place, belief in zip(places, beliefs, strict=True):
        seen = None if belief is None else belief.rows(jobs.release, width)
        plan = _plan(place, jobs, choice, seen, width, begin)
        plans.append(plan)
        told = _last_known(place, jobs, width) if seen is None else seen
        cost.append(_sum(plan.weights, told))
        cost_now.append(_sum(begin, told))
    where, where_now = (_lowest(each, still=choice.shape is Shape.NOW) for each in (cost, cost_now))
    pick = np.arange(len(jobs))
    joint = np.stack([plan.weights for plan in plans])[where, pick]
    score = np.stack(real)
    first = np.argmax(joint > 0, axis=1)
    last = width - np.argmax(joint[:, ::-1] > 0, axis=1)
    return np.stack(
        [
            _sum(joint, score[where, pick]) / jobs.steps,
            _sum(begin, score[where_now, pick]) / jobs.steps,
            _sum(plans[0].weights, real[0]) / jobs.steps,
            first.astype(np.float64),
            (last > jobs.room - jobs.grace).astype(np.float64),
            np.stack([plan.blind for plan in plans])[where, pick].astype(np.float64),
            (where > 0).astype(np.float64),
        ]
    )


def _plan(
    place: Place, jobs: Jobs, choice: Choice, seen: Matrix | None, width: int, begin: Matrix
) -> Plan:
    if choice.shape is Shape.NOW:
        return Plan(begin, np.zeros(len(jobs), dtype=bool))
    if seen is not None:
        return FORESEEING[choice.shape](seen, jobs.steps, jobs.room)
    values = place.chosen_by.values
    limits = usual_low(values, jobs.release, place.slots_a_day, choice.limit)
    last = newest(values, jobs.release, width)
    return REACTING[choice.shape](last, limits, jobs.steps, jobs.room)


def _last_known(place: Place, jobs: Jobs, width: int) -> Matrix:
    """Without a forecast, what a place was last known to be, for all that comes."""
    last = newest(place.chosen_by.values, jobs.release, 1)
    return np.repeat(last, width, axis=1)


def _sum(weights: Matrix, values: Matrix) -> Column:
    """Sum of weights times values; a slot that is not used need not be known."""
    return np.asarray(np.where(weights > 0, weights * values, 0.0).sum(axis=1))


def _lowest(costs: Sequence[Column], *, still: bool) -> Counts:
    """Which place is thought lowest for each job; home where nothing better is known."""
    if still or len(costs) == 1:
        return np.zeros(len(costs[0]), dtype=np.intp)
    told = np.stack(costs)
    return np.argmin(np.where(np.isfinite(told), told, np.inf), axis=0)


def energy(jobs: Jobs, home: Place) -> Column:
    """What each job draws in all. [kWh], [jobs]"""
    return np.asarray(jobs.power_w / 1e3 * jobs.steps * home.actual.step_s / HOUR_S)
