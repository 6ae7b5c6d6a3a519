"""Many jobs at once: each at its best time, or what limits of power and places leave of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.grid import Topic
from negawatt.decisions.when.bulk import planned
from negawatt.decisions.when.field import Runs, field
from negawatt.decisions.when.limits import Limits, placed
from negawatt.decisions.when.records import Job, Schedule
from negawatt.decisions.when.schedule import Choice, best, described, schedule
from negawatt.decisions.when.through import now
from negawatt.decisions.when.unforeseen import ANYWHERE
from negawatt.decisions.when.windows import known
from negawatt.signals.series import Series

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Refused:
    """A job for which no time was found.

    Args:
        job: Which.
        because: Why not.
        proven: Whether no plan at all could have kept it; otherwise none was found.
    """

    job: Job
    because: str
    proven: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Plans:
    """When many jobs run, as columns; a schedule with its reason for each that is asked for.

    Args:
        jobs: In the order they were given.
        start: Of each, after its release; NaN for one that was refused. [s]
        end: Of each, where it takes its usual time, after its release. [s]
        grams: Expected of each. [gCO2e]
        now: The same, had each started at once, without regard to limits. [gCO2e]
        outlook: What they were planned by.
        refused: Those without a time, and why.
        runs: Of each by its place, where limits decided.
    """

    jobs: tuple[Job, ...]
    outlook: Series
    start: Column
    end: Column
    grams: Column
    now: Column
    refused: tuple[Refused, ...] = ()
    runs: dict[int, Runs] | None = None

    @property
    def saving(self) -> float:
        """Of all that have a time together: `1 - grams / now`. [1]"""
        there = ~np.isnan(self.start)
        before = float(self.now[there].sum())
        return 1.0 - float(self.grams[there].sum()) / before if before > 0 else 0.0

    def schedule(self, place: int) -> Schedule | None:
        """The schedule of one job, with its reason; None where it was refused."""
        job = self.jobs[place]
        if np.isnan(self.start[place]):
            return None
        if self.runs is None:
            return schedule(job, self.outlook, explain=False)
        ground = field(job, self.outlook)
        runs = self.runs[place]
        choice, free = Choice("within limits", runs, ground.cost(job, runs)), best(job, ground)
        zone, source = self.outlook.zone, self.outlook.source
        told = described(job, ground, choice, zone=zone, source=source)
        if choice.cost <= free.cost * (1 + 1e-6):
            return told
        more = (
            f" Alone it would have run from {ground.moment(free.runs[0].start):%Y-%m-%d %H:%M} UTC,"
            f" for {free.cost:.3g} g; the limits that all jobs share kept it from that."
        )
        return replace(told, because=told.because + more)

    def schedules(self) -> list[Schedule]:
        """Of all jobs that have a time, in their order."""
        found = (self.schedule(place) for place in range(len(self.jobs)))
        return [each for each in found if each is not None]


def plan_many(
    jobs: Sequence[Job],
    outlook: Series,
    *,
    power_w: float | None = None,
    slots: int | None = None,
) -> Plans:
    """When each of many jobs had best run.

    Without limits every job gets what `schedule` would give it. With limits deadlines are kept as
    far as room is found; jobs for which none is are named, with the reason.

    Args:
        jobs: Any; their order decides nothing but ties.
        outlook: Intensity of the grid.
        power_w: That all that run may draw together. [W]
        slots: How many may run at once.

    Raises:
        UsageError: a limit is no limit, or the outlook no intensity.

    >>> from datetime import UTC, datetime, timedelta
    >>> from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status
    >>> midnight, hour = datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1)
    >>> outlook = Series(
    ...     zone="DE",
    ...     topic=Topic.CARBON,
    ...     unit=GRAMS_PER_KWH,
    ...     basis=Basis(),
    ...     source="file",
    ...     status=Status.MEASURED,
    ...     start=midnight,
    ...     step=hour,
    ...     values=np.array([400.0, 100.0, 200.0]),
    ... )
    >>> jobs = [
    ...     Job(
    ...         name=name, work_s=3600, power_w=1000, release=midnight, deadline=midnight + 3 * hour
    ...     )
    ...     for name in "abcd"
    ... ]
    >>> plans = plan_many(jobs, outlook, slots=1)
    >>> [one.start.hour for one in plans.schedules()], [one.job.name for one in plans.refused]
    ([1, 2, 0], ['d'])
    """
    if outlook.topic is not Topic.CARBON:
        raise UsageError(
            f"{outlook.source} tells {outlook.topic}, and plans are made by carbon",
            fix="give an intensity as outlook",
        )
    if (power_w is not None and not power_w > 0) or (slots is not None and slots < 1):
        raise UsageError(
            f"limits of {power_w} W and {slots} jobs leave nothing to plan",
            fix="give limits above 0, or none",
        )
    if not known(outlook.values).any():  # nothing is told: any time is as good
        flat = np.full(len(outlook), ANYWHERE.value)
        low, high = np.full_like(flat, ANYWHERE.low), np.full_like(flat, ANYWHERE.high)
        outlook = replace(outlook, values=flat, low=low, high=high, source=ANYWHERE.source)
    if power_w is None and slots is None:
        return Plans(jobs=tuple(jobs), outlook=outlook, **planned(jobs, outlook)._asdict())
    limits = Limits(math.inf if power_w is None else power_w, math.inf if slots is None else slots)
    runs, reasons = placed(jobs, outlook, limits)
    columns = np.full((4, len(jobs)), np.nan)
    for place, job in enumerate(jobs):
        ground = field(job, outlook)
        columns[3, place] = ground.cost(job, now(job))
        if place in runs:
            own = runs[place]
            columns[:3, place] = own[0].start, own[-1].end, ground.cost(job, own)
    return Plans(
        jobs=tuple(jobs),
        outlook=outlook,
        start=columns[0],
        end=columns[1],
        grams=columns[2],
        now=columns[3],
        refused=tuple(Refused(jobs[place], *reasons[place]) for place in sorted(reasons)),
        runs=runs,
    )
