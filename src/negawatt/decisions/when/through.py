"""The best time for a job that is not interrupted, to the second.

What a window costs changes straight on between the places where its start or its end meets an
edge, so the lowest begins or ends at one. Looking at whole slots only would miss those that end at
an edge; looking at the lowest slot only, as some tools do, misses the lowest window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.when.field import Field, Run, Runs, made_g_per_s
from negawatt.decisions.when.records import Job

Column = NDArray[np.float64]

_TINY = 1e-5  # a deadline is told in microseconds, and shares of a duration are not [s]
_ROUNDING = 1e-9  # of what it costs: what is nearer is equally good, and the earlier is taken


def now(job: Job) -> Runs:
    """At once and through, on the fewest nodes that keep the deadline."""
    end = (job.deadline - job.release).total_seconds()
    for nodes, speed in enumerate(job.scaling or (1.0,), start=1):
        if job.planned_s / speed <= end + _TINY:
            return (Run(0.0, job.work_s / speed, nodes),)
    raise AssertionError(f"{job.name} cannot be done in time, which its record rules out")


def starts(job: Job, field: Field, nodes: int = 1) -> tuple[Column, Column]:
    """All starts that may be best, in order, and what each costs.

    Returns:
        Seconds after the release, and grams by the field's rate; both empty where so many nodes
        cannot keep the deadline.
    """
    speed = job.scaling[nodes - 1] if job.scaling else 1.0
    latest = field.end - job.planned_s / speed
    if latest < -_TINY:
        return np.empty(0), np.empty(0)
    latest, lasts = latest if latest > _TINY else 0.0, job.work_s / speed
    at = np.unique(np.clip([*field.edges, *(field.edges - lasts)], 0.0, latest))
    at = at[(at >= 0.0) & (at <= latest)]
    before, after = field.until(at), field.until(at + lasts)
    cost = nodes * job.power_w * (after - before) + job.idle_w * before
    return at, cost + made_g_per_s(job) * (at + lasts)


def earliest(cost: Column) -> int:
    """Place of the lowest, and of those that are as low the first."""
    return int(np.argmax(cost <= cost.min() + _ROUNDING * np.abs(cost).max()))


def through(job: Job, field: Field) -> Runs:
    """The lowest window; for a job that can be spread on the best number of nodes, kept all along.

    A job of uncertain duration is placed so that the longest keeps the deadline, where the usual
    one emits least.
    """
    best, least = now(job), np.inf
    for nodes in range(1, len(job.scaling or (1.0,)) + 1):
        at, cost = starts(job, field, nodes)
        if len(at):
            place = earliest(cost)
            if cost[place] < least - _ROUNDING * abs(least if np.isfinite(least) else 0.0):
                least = float(cost[place])
                speed = job.scaling[nodes - 1] if job.scaling else 1.0
                best = (Run(float(at[place]), float(at[place]) + job.work_s / speed, nodes),)
    return best
