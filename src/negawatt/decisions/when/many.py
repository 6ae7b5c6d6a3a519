"""Many jobs at once: each at its best time, or what limits of power and places leave of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.decisions.when.bulk import Bulk, planned
from negawatt.decisions.when.field import Runs, field
from negawatt.decisions.when.limits import Limits, placed
from negawatt.decisions.when.reasons import because
from negawatt.decisions.when.records import Job, Schedule
from negawatt.decisions.when.schedule import Choice, described, schedule
from negawatt.decisions.when.through import now
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
        refused: Those without a time, and why.
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
        """The schedule of one job; None where it was refused."""
        job = self.jobs[place]
        if np.isnan(self.start[place]):
            return None
        if self.runs is None:
            return schedule(job, self.outlook, explain=False)
        runs, ground = self.runs[place], field(job, self.outlook)
        choice = Choice("within limits", runs, ground.cost(job, runs))
        one = described(job, ground, choice, zone=self.outlook.zone, source=self.outlook.source)
        return one

    def schedules(self) -> list[Schedule]:
        """Of all jobs that have a time, in their order."""
        found = (self.schedule(place) for place in range(len(self.jobs)))
        return [each for each in found if each is not None]
