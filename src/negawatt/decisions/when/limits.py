"""Many jobs that share a supply of power, or a number of places.

Choosing the best times for all is a packing problem that nobody solves exactly at this size. Each
job gets its best time among what is left, those with least slack first; then each is taken out and
put back where it is better now, until that helps no more. Where this leaves jobs without a time,
all are first put in as early as they can be, by deadline, and improved from there; the attempt
that refuses fewer is kept. The order depends on the jobs alone, so the same jobs get the same
times.

Times are those of the signal's steps, and a step that a job uses in part is its own wholly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.when.field import Run, Runs
from negawatt.decisions.when.pieces import stops_cost
from negawatt.decisions.when.records import Job
from negawatt.decisions.when.through import now
from negawatt.decisions.when.windows import known
from negawatt.signals.series import Series

Column = NDArray[np.float64]
Places = NDArray[np.intp]

_PASSES = 3
_GAIN = 1e-6  # of what a job costs: less is no reason to move it
_NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """What all jobs together may use.

    Args:
        power_w: Power drawn by what runs. [W]
        slots: How many run at once.
    """

    power_w: float = math.inf
    slots: float = math.inf


@dataclass(frozen=True, slots=True)
class _Need:
    """A job in steps of the signal, counted from the first release.

    Args:
        release: It may not start before.
        latest: It must have started by then.
        work: How long it usually runs.
        planned: How long it may run, which is kept free for it.
        watts: That it draws while it runs.
        pieces: Whether it may be cut up at no cost.
        idle: Its power while waiting over that of running.
    """

    release: float
    latest: float
    work: float
    planned: float
    watts: float
    nodes: int
    pieces: bool
    idle: float
    made: float  # of reservation, for each step, in the unit of the costs


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """Where a job was put.

    Args:
        steps: It keeps these, in any order.
        start: Of a job that runs through; None for one that is cut up.
        lengths: How much of each step a job runs that is cut up.
        cost: What that emits, in the unit of the signal.
    """

    steps: Places
    cost: float
    start: float | None = None
    lengths: Column | None = None

    def runs(self, need: _Need) -> tuple[tuple[float, float], ...]:
        """From which step to which it runs."""
        if self.lengths is None:
            start = need.release if self.start is None else self.start
            return ((start, start + need.work),)
        order = np.argsort(self.steps)
        return _joined(self.steps[order], self.lengths[order])


class _Board:
    """What is used of the limits at every step."""

    def __init__(self, values: Column, limits: Limits) -> None:
        self.values = values
        self.total = np.concatenate([[0.0], np.cumsum(values)])
        self.rank = np.empty(len(values), dtype=np.int64)
        self.rank[np.argsort(values, kind="stable")] = np.arange(len(values))
        self._power = np.zeros(len(values))
        self._count = np.zeros(len(values))
        self._limits = limits

    def book(self, need: _Need, taken: _Taken, sign: int = 1) -> None:
        self._power[taken.steps] += sign * need.watts
        self._count[taken.steps] += sign

    def put(self, need: _Need, *, early: bool) -> _Taken | None:
        """The cheapest place that is free, or the earliest; None where there is none."""
        first, after = math.floor(need.release), math.ceil(need.latest + need.planned - _NEAR)
        room = self._limits.power_w * (1 + _NEAR) - need.watts
        free = (self._power[first:after] <= room) & (self._count[first:after] < self._limits.slots)
        through = self._through(need, first, free, early=early)
        if not need.pieces:
            return through
        cut = self._pieces(need, first, free, early=early)
        found = [each for each in (through, cut) if each is not None]
        if early:
            return min(found, key=lambda each: int(each.steps.max()), default=None)
        return min(found, key=lambda each: each.cost, default=None)

    def _through(
        self, need: _Need, first: int, free: NDArray[np.bool_], *, early: bool
    ) -> _Taken | None:
        """One window: at a step's beginning, at the release, or as late as can be."""
        begin, end = math.ceil(need.release - _NEAR), math.floor(need.latest + _NEAR)
        aligned = np.arange(begin, end + 1, dtype=np.float64)
        starts = np.concatenate([[need.release], aligned, [need.latest]])  # in order, but for ends
        starts = np.clip(starts, need.release, need.latest)
        low = np.floor(starts + _NEAR).astype(np.intp) - first
        high = np.ceil(starts + need.planned - _NEAR).astype(np.intp) - first
        taken = np.concatenate([[0], np.cumsum(~free)])
        able = taken[np.minimum(high, len(free))] == taken[low]
        if not able.any():
            return None
        cost = np.where(able, self._cost(need, starts), np.inf)
        place = int(able.argmax()) if early else int(cost.argmin())
        start = float(starts[place])
        steps = np.arange(low[place], min(int(high[place]), len(free))) + first
        return _Taken(steps, float(cost[place]), start)

    def _cost(self, need: _Need, starts: Column) -> Column:
        before = self._at(starts) - self._at(np.array([need.release]))
        waited = need.idle * before + need.made * (starts + need.work - need.release)
        cost: Column = need.watts * (self._at(starts + need.work) - self._at(starts) + waited)
        return cost

    def _at(self, step: Column) -> Column:
        whole = np.clip(np.floor(step), 0, len(self.values) - 1).astype(np.intp)
        sums: Column = self.total[whole] + (step - whole) * self.values[whole]
        return sums

    def _pieces(
        self, need: _Need, first: int, free: NDArray[np.bool_], *, early: bool
    ) -> _Taken | None:
        """Whole steps that are free, the cheapest or the earliest; a part of the last of them."""
        begin = math.ceil(need.release - _NEAR)
        end = math.floor(need.latest + need.planned + _NEAR)
        able = np.flatnonzero(free[begin - first : end - first]) + begin
        count = math.ceil(need.work - _NEAR)
        if len(able) < count:
            return None
        if not early and len(able) > count:  # the cheapest, and the dearest of them last
            able = able[np.argpartition(self.rank[able], count - 1)]
        chosen = able[:count]
        lengths = np.ones(count)
        dearest = count - 1 if early else int(self.rank[chosen].argmax())
        lengths[dearest] -= count - need.work
        cost = need.watts * float(self.values[chosen] @ lengths)
        return _Taken(chosen, cost, lengths=lengths)


def _joined(steps: Places, lengths: Column) -> tuple[tuple[float, float], ...]:
    """Runs of steps in time order, one of which may be used in part: beside its neighbour."""
    runs: list[tuple[float, float]] = []
    for place, (step, length) in enumerate(zip(steps.tolist(), lengths.tolist(), strict=True)):
        start, end = float(step), step + length
        touches = bool(runs) and runs[-1][1] == start
        follows = place + 1 < len(steps) and steps[place + 1] == step + 1
        if length < 1.0 and follows and not touches:
            start, end = step + 1 - length, float(step + 1)
        if touches:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return tuple(runs)


def placed(
    jobs: Sequence[Job], outlook: Series, limits: Limits
) -> tuple[dict[int, Runs], dict[int, tuple[str, bool]]]:
    """Runs of every job that has a time, and why the others have none, by their places.

    Args:
        jobs: Any. Under limits one that can be spread keeps the fewest nodes that it needs; one
            whose stops cost something, or that waits on reserved hardware, runs through.
        outlook: Intensity of the grid; where it tells nothing its mean stands in.
        limits: What all together may use.

    Returns:
        Runs in seconds after each job's release; reasons, and whether they are proofs.
    """
    if not jobs:
        return {}, {}
    origin = min(job.release for job in jobs)
    step = outlook.step_s
    offset = (outlook.start - origin).total_seconds() / step
    shift = offset - math.floor(offset)  # steps lie as the outlook's do
    needs = [_need(job, (job.release - origin).total_seconds() / step - shift + 1, step)
             for job in jobs]  # fmt: skip
    steps = math.ceil(max(need.latest + need.planned for need in needs)) + 1
    values = _laid_out(outlook, steps, -1 - math.floor(offset))
    order = sorted(range(len(jobs)), key=lambda place: _urgency(jobs[place], place))
    best = _attempt(needs, order, _Board(values, limits), early=False)
    if len(best) < len(jobs):
        by_deadline = sorted(order, key=lambda place: jobs[place].deadline)
        other = _attempt(needs, by_deadline, _Board(values, limits), early=True)
        best = max(best, other, key=len)
    runs = {
        place: tuple(
            Run((start - needs[place].release) * step, (end - needs[place].release) * step,
                needs[place].nodes)
            for start, end in taken.runs(needs[place])
        )
        for place, taken in best.items()
    }  # fmt: skip
    return runs, {
        place: _why(place, jobs, needs, limits) for place in range(len(jobs)) if place not in best
    }


def _need(job: Job, release: float, step: float) -> _Need:
    ((_, end, nodes),) = now(job)
    watts, work = nodes * job.power_w, end / step
    planned = work * job.planned_s / job.work_s
    length = (job.deadline - job.release).total_seconds() / step
    waits = job.idle_w > 0 or job.embodied_g_per_h > 0
    scale = step / 3.6e6 * watts  # grams of a step at a value of 1
    return _Need(
        release=release,
        latest=max(release, release + length - planned),
        work=work,
        planned=planned,
        watts=watts,
        nodes=nodes,
        pieces=job.interruptible and not stops_cost(job) and not waits and planned == work,
        idle=job.idle_w / watts if watts else 0.0,
        made=job.embodied_g_per_h / 3600 * step / scale if scale else 0.0,
    )


def _laid_out(outlook: Series, steps: int, first: int) -> Column:
    """The outlook over so many steps, the first of which is its step `first`."""
    places = np.arange(steps) + first
    there = (places >= 0) & (places < len(outlook))
    values = np.where(there, outlook.values[np.clip(places, 0, len(outlook) - 1)], np.nan)
    good = known(values)
    every = outlook.values[known(outlook.values)]
    mean = float(values[good].mean()) if good.any() else float(every.mean())
    return np.where(good, values, mean)


def _urgency(job: Job, place: int) -> tuple[float, float, int]:
    length = (job.deadline - job.release).total_seconds()
    return length - job.longest_s, job.deadline.timestamp(), place


def _attempt(
    needs: Sequence[_Need], order: Sequence[int], board: _Board, *, early: bool
) -> dict[int, _Taken]:
    """Put all in, one by one, then move each that is better elsewhere; try again who had no room."""
    found: dict[int, _Taken] = {}
    for place in order:
        if (taken := board.put(needs[place], early=early)) is not None:
            board.book(needs[place], taken)
            found[place] = taken
    for _ in range(_PASSES):
        moved = False
        for place in order:
            old = found.get(place)
            if old is not None:
                board.book(needs[place], old, -1)
            new = board.put(needs[place], early=False)
            better = new is not None and (
                old is None or new.cost < old.cost - _GAIN * abs(old.cost)
            )
            kept = new if better else old
            if kept is not None:
                board.book(needs[place], kept)
                found[place] = kept
            moved |= better
        if not moved:
            break
    return found


def _why(
    place: int, jobs: Sequence[Job], needs: Sequence[_Need], limits: Limits
) -> tuple[str, bool]:
    """Why a job has no time, and whether that is a proof."""
    job, need = jobs[place], needs[place]
    if need.watts > limits.power_w * (1 + _NEAR):
        return (
            f"{job.name} alone draws {need.watts:g} W, and {limits.power_w:g} W is the limit", True
        )  # fmt: skip
    if limits.slots < 1:
        return f"{limits.slots:g} jobs may run at once", True
    end = need.latest + need.planned
    inside = [
        other
        for other in needs
        if other.release >= need.release - _NEAR and other.latest + other.planned <= end + _NEAR
    ]
    hours = sum(other.planned for other in inside) / (end - need.release)
    watts = sum(other.planned * other.watts for other in inside) / (end - need.release)
    told = f"from the release of {job.name} to its deadline, {len(inside)} jobs"
    if hours > limits.slots * (1 + _NEAR) and not any(job.scaling for job in jobs):
        return f"{told} need {hours:.3g} places all the time, and there are {limits.slots:g}", True
    if watts > limits.power_w * (1 + _NEAR) and not any(job.scaling for job in jobs):
        return (
            f"{told} need {watts:.4g} W all the time, and {limits.power_w:g} W is the limit",
            True,
        )
    return (
        f"beside the others no room was found for {job.name} in time; there may be some", False
    )  # fmt: skip
