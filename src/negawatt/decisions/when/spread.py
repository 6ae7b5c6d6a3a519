"""The best number of nodes from 0 to n at every time, for a job that can be spread.

What one more node adds in work, and what it emits, differ by the hour. Work is bought where a gram
buys most of it. Within a cell the useful numbers of nodes are the corners of the lower hull of
grams over work: for a concave scaling curve every number, for any other those between which a cell
had better be shared in time. Taking the steps of all hulls in order of grams for each unit of work
is then the exact optimum of the problem in continuous time, as each hull is convex.

Restarts and shortest stretches break that: then the plan is repaired, and is good, not proven best.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.when.field import Field, Run, Runs, made_g_per_s
from negawatt.decisions.when.records import Job

Column = NDArray[np.float64]
Places = NDArray[np.intp]

_TINY = 1e-6  # [s]
_MOST_ENDS = 200
_MOST_SPANS = 2000
_REPAIRS = 20


class _Hull(NamedTuple):
    """Useful numbers of nodes, from 0 on, and the work each does in a second."""

    nodes: Places
    speed: Column


def hull(scaling: tuple[float, ...]) -> _Hull:
    """The numbers of nodes worth running where a joule costs something.

    >>> hull((1.0, 1.9, 2.7)).nodes.tolist(), hull((1.0, 1.1, 2.7)).nodes.tolist()
    ([0, 1, 2, 3], [0, 1, 3])
    """
    speeds = np.concatenate([[0.0], scaling])
    corners: list[int] = []
    for nodes in range(len(speeds)):
        if nodes and speeds[nodes] <= max(speeds[:nodes]):
            continue  # more nodes that do no more
        while len(corners) > 1 and _slope(speeds, corners[-1], nodes) >= _slope(
            speeds, corners[-2], corners[-1]
        ):
            corners.pop()
        corners.append(nodes)
    return _Hull(np.array(corners), speeds[corners])


def _slope(speeds: Column, less: int, more: int) -> float:
    """Work that each node between adds."""
    return float(speeds[more] - speeds[less]) / (more - less)


def spread(job: Job, field: Field) -> Runs:
    """Nodes over time at least cost for the usual work; empty where it does not fit.

    Where waiting costs, every end is tried (of very long fields, some of them).
    """
    useful = hull(job.scaling)
    if not (job.restart_s or job.checkpoint_s or job.min_run_s):
        return _best(job, field, useful, job.work_s)
    return _repaired(job, field, useful)


def _best(job: Job, field: Field, useful: _Hull, work: float) -> Runs:
    if not job.idle_w and not job.embodied_g_per_h:
        return _laid(field, useful, _bought(job, field, useful, work, len(field.rate)))
    fastest = float(useful.speed[-1])
    first = int(np.searchsorted(field.edges, work / fastest - _TINY, side="left"))
    ends = range(max(1, first), len(field.edges))
    best: tuple[float, Runs] = (math.inf, ())
    for end in ends[:: max(1, len(ends) // _MOST_ENDS)]:
        runs = _laid(field, useful, _bought(job, field, useful, work, end))
        if runs and (cost := field.cost(job, runs)) < best[0]:
            best = (cost, runs)
    return best[1]


def _bought(job: Job, field: Field, useful: _Hull, work: float, end: int) -> Column:
    """Seconds of each step of the hull in each cell before an end. [steps, cells]"""
    rate, lengths = field.rate[:end], field.lengths[:end]
    more = np.diff(useful.speed)
    grams = np.outer(np.diff(useful.nodes) * job.power_w, rate)
    if job.idle_w or job.embodied_g_per_h:  # what runs does not idle, and nothing does at the end
        grams[0, :-1] -= job.idle_w * rate[:-1]
        grams[0, -1] += made_g_per_s(job)
    return _taken(grams, more, lengths, work)


def _taken(grams: Column, more: Column, lengths: Column, work: float) -> Column:
    """Seconds of every step that are taken, cheapest first; empty where all are too few.

    Args:
        grams: Of a second. [steps, cells]
        more: Work that a step adds in a second. [steps]
        lengths: Of the cells. [s]
        work: To be done. [s of one node]
    """
    worth = grams / more[:, None]
    falling = (np.diff(worth, axis=0) < 0).any(axis=0)  # there all steps or none: they are one
    worth = np.where(falling, grams.sum(axis=0) / more.sum(), worth)
    order = np.argsort(worth.T, axis=None, kind="stable")  # cell by cell, so that ties are early
    sizes = np.outer(lengths, more).reshape(-1)[order]
    before = np.cumsum(sizes) - sizes
    if work > before[-1] + sizes[-1] + _TINY:
        return np.zeros((0, 0))
    used = np.zeros(len(order))
    used[order] = np.clip((work - before) / sizes, 0.0, 1.0)
    share = used.reshape(worth.T.shape).T
    return np.where(falling, more @ share / more.sum(), share) * lengths


def _laid(field: Field, useful: _Hull, bought: Column) -> Runs:
    """Runs from seconds bought: in a cell that is shared, the more nodes beside the busier side."""
    found: list[Run] = []
    if not bought.size:
        return ()
    for cell in np.flatnonzero(bought[0] > _TINY).tolist():
        start, end = float(field.edges[cell]), float(field.edges[cell + 1])
        parts: list[tuple[float, int]] = []  # seconds, nodes; from most nodes to none
        longer = 0.0
        for step in range(len(bought) - 1, -1, -1):
            seconds = float(bought[step, cell])
            if seconds - longer > _TINY:
                parts.append((seconds - longer, int(useful.nodes[step + 1])))
                longer = seconds
        if end - start - longer > _TINY:
            parts.append((end - start - longer, 0))
        follows = cell + 1 < bought.shape[1] and bought[0, cell + 1] > _TINY
        if follows and not (found and found[-1].end == start):
            parts.reverse()
        for place, (seconds, nodes) in enumerate(parts):
            stop = end if place == len(parts) - 1 else start + seconds
            if nodes and found and found[-1].end == start and found[-1].nodes == nodes:
                found[-1] = Run(found[-1].start, stop, nodes)
            elif nodes:
                found.append(Run(start, stop, nodes))
            start = stop
    return tuple(found)


def pauses(runs: Runs) -> list[int]:
    """After which runs nothing runs."""
    return [
        place for place in range(len(runs) - 1) if runs[place + 1].start > runs[place].end + _TINY
    ]


def _repaired(job: Job, field: Field, useful: _Hull) -> Runs:
    """A plan that pays for its pauses, or one that makes none, whichever is less."""
    loss = job.restart_s + job.checkpoint_s
    found: list[Runs] = []
    work = job.work_s
    for _ in range(_REPAIRS):
        runs = _best(job, field, useful, work)
        if not runs:
            break
        lost = sum(_lost(job, runs, place) for place in pauses(runs))
        over = work - job.work_s - lost
        if over >= -_TINY:
            speed = job.scaling[runs[-1].nodes - 1]
            runs = (*runs[:-1], runs[-1]._replace(end=runs[-1].end - over / speed))
            if runs[-1].end > runs[-1].start and _long_enough(job, runs, loss):
                found.append(runs)
            break
        work = job.work_s + lost
    found += _without_pause(job, field, useful)
    return min(found, key=lambda runs: field.cost(job, runs), default=())


def _lost(job: Job, runs: Runs, place: int) -> float:
    """Work not done because of a pause."""
    speed = (0.0, *job.scaling)
    before, after = speed[runs[place].nodes], speed[runs[place + 1].nodes]
    return job.checkpoint_s * before + job.restart_s * after


def _long_enough(job: Job, runs: Runs, loss: float) -> bool:
    """Whether every stretch but the last runs its time, and has room for restart and checkpoint."""
    begin, stops = 0, pauses(runs)
    for place in (*stops, len(runs) - 1):
        last = place == len(runs) - 1
        length = runs[place].end - runs[begin].start
        edge = min(
            runs[begin].end - runs[begin].start - job.restart_s,
            runs[place].end - runs[place].start - job.checkpoint_s,
        )
        if stops and (length <= loss or edge < 0 or (not last and length < job.min_run_s - _TINY)):
            return False
        begin = place + 1
    return True


def _without_pause(job: Job, field: Field, useful: _Hull) -> list[Runs]:
    """Never below the fewest nodes, from one edge to another around the best plan with pauses."""
    runs = _best(job, field, useful, job.work_s)
    if not runs:
        return []
    first = int(np.searchsorted(field.edges, runs[0].start + _TINY, side="right")) - 1
    after = int(np.searchsorted(field.edges, runs[-1].end - _TINY, side="left"))
    spans = ((begin, end) for begin in range(first, after) for end in range(begin + 1, after + 1))
    found = [_within(job, field, useful, span) for span in islice(spans, _MOST_SPANS)]
    return [runs for runs in found if runs]


def _within(job: Job, field: Field, useful: _Hull, span: tuple[int, int]) -> Runs:
    """All cells of a span with the fewest nodes at least, and more where work is cheapest."""
    begin, end = span
    lengths, more = field.lengths[begin:end], np.diff(useful.speed)
    rest = job.work_s - float(lengths.sum() * useful.speed[1])
    if rest < 0 or (len(more) == 1 and rest > _TINY):
        return ()
    seconds = np.zeros((len(more), end))
    seconds[0, begin:] = lengths
    if len(more) > 1:
        grams = np.outer(np.diff(useful.nodes)[1:] * job.power_w, field.rate[begin:end])
        used = _taken(grams, more[1:], lengths, rest)
        if not used.size:
            return ()
        seconds[1:, begin:] = used
    return _laid(field, useful, seconds)
