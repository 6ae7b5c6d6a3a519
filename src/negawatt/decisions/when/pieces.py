"""The best times for a job that may be interrupted at no cost: the cheapest there are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.when.field import Field, Run, Runs, made_g_per_s
from negawatt.decisions.when.records import Job

Column = NDArray[np.float64]

_MOST_ENDS = 600
_TINY = 1e-6  # a microsecond is no time [s]


def stops_cost(job: Job) -> bool:
    """Whether an interruption takes time, or may not come too soon."""
    return job.restart_s + job.checkpoint_s + job.min_run_s > 0


def room(job: Job, field: Field) -> Field:
    """The time in which the usual work has to end, so that the longest still keeps the deadline."""
    over = (job.planned_s - job.work_s) / max(job.scaling, default=1.0)
    return field.until_deadline(field.end - over) if over > 0 else field


def freely(job: Job, field: Field) -> Runs:
    """The cheapest cells; where waiting costs, for the end that is best.

    With a reserved machine, what is emitted until the end counts. For an end within a certain
    cell, all before it are worth what running there adds to waiting there, and that cell itself is
    worth its full cost, as nothing waits after the end; so each end is one choice of the cheapest.
    """
    watts, made = job.power_w - job.idle_w, made_g_per_s(job)
    if not job.idle_w and not made:
        return merged(field, _fill(field.rate, field.lengths, job.work_s))
    best: tuple[float, Runs] = (math.inf, ())
    whole = int(np.searchsorted(field.edges, job.work_s - _TINY, side="left"))
    ends = range(max(1, whole), len(field.edges))
    ends = ends[:: max(1, len(ends) // _MOST_ENDS)]
    for end in ends:
        worth = watts * field.rate[:end]
        worth[-1] = job.power_w * field.rate[end - 1] + made
        share = _fill(worth, field.lengths[:end], job.work_s)
        runs = merged(field, share)
        if runs and (cost := field.cost(job, runs)) < best[0]:
            best = (cost, runs)
    return best[1]


def _fill(worth: Column, room: Column, work: float) -> Column:
    """How long each cell runs: the cheapest whole, the dearest of them as long as is left. [s]"""
    order = np.argsort(worth, kind="stable")
    before = np.cumsum(room[order]) - room[order]
    used = np.zeros(len(worth))
    used[order] = np.clip(work - before, 0.0, room[order])
    return used


def merged(field: Field, used: Column) -> Runs:
    """Stretches of cells that run so long each; a part of a cell joins its neighbour."""
    full = used >= field.lengths[: len(used)] - _TINY
    found: list[Run] = []
    for cell in np.flatnonzero(used > _TINY).tolist():
        start, end = float(field.edges[cell]), float(field.edges[cell + 1])
        if not full[cell]:
            joins_next = cell + 1 < len(used) and full[cell + 1]
            joins_last = bool(found) and found[-1].end == start
            if joins_next and not joins_last:
                start = end - float(used[cell])
            else:
                end = start + float(used[cell])
        if found and found[-1].end == start:
            found[-1] = Run(found[-1].start, end)
        else:
            found.append(Run(start, end))
    return tuple(found)
