"""Hours that are clean and dirty, and a planner that knows them: small enough to check by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
from negawatt.decisions.when import Job, Schedule, Stretch
from negawatt.signals.series import Series

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def series(values: Sequence[float], start: datetime = START) -> Series:
    return Series(
        zone="DE",
        topic=Topic.CARBON,
        unit=GRAMS_PER_KWH,
        basis=Basis(),
        source="sample",
        status=Status.MEASURED,
        start=start,
        step=HOUR,
        values=np.array(values, dtype=float),
    )


class Planner:
    """Takes the cleanest whole hours, or the cleanest row of them."""

    def __init__(self, values: Sequence[float], start: datetime = START) -> None:
        self.series = series(values, start)
        self.asked: list[datetime] = []
        self.broken: Exception | None = None

    def actual(self, start: datetime, end: datetime) -> Series:
        return self.series.window(start, end)

    def __call__(self, job: Job, now: datetime) -> Schedule:
        self.asked.append(now)
        if self.broken is not None:
            raise self.broken
        edges = [job.release]
        while edges[-1] < job.deadline:
            edges.append(min(_next(edges[-1]), job.deadline))
        pieces = list(pairwise(edges))
        if job.interruptible:
            stretches = self._pieces(pieces, job.work_s)
        else:
            work = timedelta(seconds=job.work_s)
            starts = [edge for edge in edges if edge + work <= job.deadline]
            start = min(starts, key=lambda one: self._row(one, work))
            stretches = (Stretch(start, start + work),)
        nothing = Estimate.exact(0.0, unit="gCO2e", source="sample", kind=Kind.ASSUMED)
        saving = Estimate.exact(0.5, unit="1", source="sample", kind=Kind.ASSUMED)
        return Schedule(
            job=job, zone="DE", stretches=stretches, grams=nothing, now=nothing, saving=saving,
            because="these are the cleanest hours", source="sample",
        )  # fmt: skip

    def _pieces(
        self, pieces: Sequence[tuple[datetime, datetime]], work_s: float
    ) -> tuple[Stretch, ...]:
        left, taken = timedelta(seconds=work_s), []
        for start, end in sorted(pieces, key=lambda one: (self._at(one[0]), one[0])):
            take = min(left, end - start)
            if take > timedelta(0):
                taken.append((start, start + take))
            left -= take
        return _joined(sorted(taken))

    def _row(self, start: datetime, work: timedelta) -> float:
        minutes = int(work.total_seconds() // 60)
        return sum(self._at(start + timedelta(minutes=n)) for n in range(0, minutes, 10))

    def _at(self, moment: datetime) -> float:
        place = self.series.place(moment)
        known = 0 <= place < len(self.series)
        return float(self.series.values[place]) if known else 1e9


def _next(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0) + HOUR


def _joined(hours: Sequence[tuple[datetime, datetime]]) -> tuple[Stretch, ...]:
    made: list[Stretch] = []
    for start, end in hours:
        if made and made[-1].end == start:
            made[-1] = Stretch(made[-1].start, end)
        else:
            made.append(Stretch(start, end))
    return tuple(made)
