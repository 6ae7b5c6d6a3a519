"""One policy on every job: where and when each runs, and what that emitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from negawatt.actions.backtest.beliefs import Belief, kept, newest, usual_low
from negawatt.actions.backtest.policies import FORESEEING, REACTING, Choice, Shape
from negawatt.actions.backtest.records import HOUR_S, Column, Counts, Jobs, Matrix, Place
from negawatt.core.errors import UsageError
from negawatt.decisions.when.rows import Plan, at, rows

_CELLS = 1 << 21  # jobs times slots looked at together, so that memory stays small
_NOTHING = 1e-9  # slots: less work than that is done
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


def run(
    places: Sequence[Place],
    jobs: Jobs,
    choice: Choice,
    known: dict[tuple[int, str], Belief] | None = None,
) -> Outcome:
    """One policy on every job.

    Args:
        places: The first is where jobs are released.
        jobs: That fit, see `whole`.
        choice: The policy.
        known: Forecasts by place and name that were worked out before, for the same jobs; those
            worked out now are added.

    Raises:
        UsageError: a job covers a slot whose value is not known, or that is not there.
    """
    if len(whole(places, jobs)) < len(jobs):
        raise UsageError(
            "jobs cover slots whose values are not known", fix="leave them out: `whole` does"
        )
    tables = [np.zeros(len(jobs)) for _ in range(7)]
    seeds: list[float] = []
    kwh = energy(jobs, places[0])
    known = {} if known is None else known
    passes = list(zip(*(_passes(choice, place, jobs, known) for place in places), strict=True))
    for beliefs in passes:
        total = 0.0
        for which, width in _batches(jobs):
            done = _place(places, jobs.some(which), choice, beliefs, width)
            done[:3] *= kwh[which]
            total += float(done[0].sum())
            for table, column in zip(tables, done, strict=True):
                table[which] += column / len(passes)
        seeds.append(total)
    grams, elsewhere, waited, delay, missed, blind, moved = tables
    return Outcome(grams, elsewhere, waited, delay, missed, blind, moved, np.array(seeds))


def _passes(
    choice: Choice, place: Place, jobs: Jobs, known: dict[tuple[int, str], Belief]
) -> list[Belief | None]:
    """What is known in each pass: one for each seed, and one where there is no dice."""
    if choice.shape not in FORESEEING:
        return [None]
    if choice.seeds > 1:
        return list(choice.beliefs(place))
    key = (id(place), f"{choice.forecast} {choice.error} {choice.replanned}")
    if key not in known:
        belief = next(choice.beliefs(place))
        starts = jobs.release
        if choice.replanned:  # forecasts of every slot that a job may wait in
            starts = np.arange(int(starts.min()), int((jobs.release + jobs.room).max()))
        known[key] = kept(belief, starts, int(jobs.room.max()))
    return [known[key]]


def _place(
    places: Sequence[Place],
    jobs: Jobs,
    choice: Choice,
    beliefs: Sequence[Belief | None],
    width: int,
) -> Matrix:
    """Intensity with every change, moved only, waited only; delay, missed, blind, moved. [7, jobs]"""
    begin = at(np.zeros(len(jobs), dtype=np.intp), jobs.steps, width)
    # what lies beyond the room of a job is never used, and then need not be a number
    real = [np.nan_to_num(rows(place.actual.values, jobs.release, width)) for place in places]
    seen = [None if each is None else each.rows(jobs.release, width) for each in beliefs]
    plans = [
        _replanned(jobs, choice, belief, width)
        if choice.replanned and belief is not None
        else _plan(place, jobs, choice, told, width, begin)
        for place, belief, told in zip(places, beliefs, seen, strict=True)
    ]
    where, where_now = _where(places, jobs, choice, plans, seen)
    pick = np.arange(len(jobs))
    joint, blind = plans[0]
    score = score_now = real[0]
    if len(places) > 1:
        joint = np.stack([plan.weights for plan in plans])[where, pick]
        blind = np.stack([plan.blind for plan in plans])[where, pick]
        score, score_now = np.stack(real)[where, pick], np.stack(real)[where_now, pick]
    used = joint > 0
    last = width - np.argmax(used[:, ::-1], axis=1)
    return np.stack(
        [
            _emitted(joint, score) / jobs.steps,
            _emitted(begin, score_now) / jobs.steps,
            _emitted(plans[0].weights, real[0]) / jobs.steps,
            np.argmax(used, axis=1).astype(np.float64),
            (last > jobs.room - jobs.grace).astype(np.float64),
            blind.astype(np.float64),
            (where > 0).astype(np.float64),
        ]
    )


def _where(
    places: Sequence[Place],
    jobs: Jobs,
    choice: Choice,
    plans: Sequence[Plan],
    seen: Sequence[Matrix | None],
) -> tuple[Counts, Counts]:
    """Where each job is thought to emit least when planned, and when run at once. [jobs]"""
    home = np.zeros(len(jobs), dtype=np.intp)
    if len(places) == 1 or choice.shape is Shape.NOW:
        return home, home
    planned, at_once = [], []
    for place, plan, told in zip(places, plans, seen, strict=True):
        width = plan.weights.shape[1]
        begin = at(home, jobs.steps, width)
        thought = _last_known(place, jobs, width) if told is None else told
        planned.append(_thought(plan.weights, thought))
        at_once.append(_thought(begin, thought))
    return np.argmin(np.stack(planned), axis=0), np.argmin(np.stack(at_once), axis=0)


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


def _replanned(jobs: Jobs, choice: Choice, belief: Belief, width: int) -> Plan:
    """Jobs planned anew in every slot that they wait in, by what is known then."""
    rule = FORESEEING[choice.shape]
    weights = np.zeros((len(jobs), width))
    left = jobs.steps.astype(np.float64)
    blind = np.zeros(len(jobs), dtype=bool)
    for slot in range(width):
        open_ = np.flatnonzero((left > _NOTHING) & (slot < jobs.room))
        if not len(open_):
            break
        seen = belief.rows(jobs.release[open_] + slot, width - slot)
        plan = rule(seen, left[open_], jobs.room[open_] - slot)
        begins = plan.weights[:, 0] > 0
        if choice.shape is Shape.INTERRUPTIBLE:
            weights[open_, slot] = plan.weights[:, 0]
            left[open_] -= plan.weights[:, 0]
        else:
            weights[open_[begins], slot:] = plan.weights[begins]
            left[open_[begins]] = 0.0
        blind[open_[begins]] |= plan.blind[begins]
    return Plan(weights, blind)


def _last_known(place: Place, jobs: Jobs, width: int) -> Matrix:
    """Without a forecast, what a place was last known to be, for all that comes."""
    last = newest(place.chosen_by.values, jobs.release, 1)
    return np.repeat(last, width, axis=1)


def _emitted(weights: Matrix, values: Matrix) -> Column:
    return np.asarray(np.einsum("js,js->j", weights, values))


def _thought(weights: Matrix, values: Matrix) -> Column:
    """What a plan is thought to come to; infinite where a slot of it is not known."""
    found = np.where(weights > 0, weights * values, 0.0).sum(axis=1)
    return np.where(np.isfinite(found), found, np.inf)


def energy(jobs: Jobs, home: Place) -> Column:
    """What each job draws in all. [kWh], [jobs]"""
    return np.asarray(jobs.power_w / 1e3 * jobs.steps * home.actual.step_s / HOUR_S)
