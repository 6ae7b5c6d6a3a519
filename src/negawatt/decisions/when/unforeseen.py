"""What to do without a forecast: run when it is cleaner than it mostly was, or at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.grid import GRAMS_PER_KWH, utc
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.when.field import Run, Runs, made_g_per_s
from negawatt.decisions.when.records import Alternative, Job, Schedule, Stretch
from negawatt.decisions.when.through import now as run_now
from negawatt.decisions.when.windows import known
from negawatt.signals.series import Series

#: Where nothing is known of a place: the world's mean, within which zones lie (factors/grid.toml).
ANYWHERE = Estimate(
    value=458.0,
    low=24.0,
    high=817.0,
    unit=GRAMS_PER_KWH,
    kind=Kind.ASSUMED,
    source="the world's mean of 2025 (Ember), and the middle 95 % of 123 grid zones",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is.

    Args:
        job: Which.
        done_s: Of its work, in seconds on one node; restarts do not count. [s]
        running: Whether it runs now.
        ran_s: How long it has run since it was last started or resumed. [s]
    """

    job: Job
    done_s: float = 0.0
    running: bool = False
    ran_s: float = 0.0

    @property
    def left_s(self) -> float:
        """What it may still have to run, at the longest. [s]"""
        return max(0.0, self.job.planned_s - self.done_s)


@dataclass(frozen=True, slots=True)
class Go:
    """Whether to run until the next decision, and why."""

    run: bool
    because: str

    def __bool__(self) -> bool:
        return self.run


def go(
    progress: Progress,
    history: Series | None,
    now: datetime,
    *,
    quantile: float = 0.3,
    every: timedelta = timedelta(minutes=5),
) -> Go:
    """Run now, or wait for the next decision: the threshold policy, one decision at a time.

    It runs while the intensity is within the lower `quantile` of what it was. It is safe: a job
    waits or pauses only where, at the next decision, it can still be done in time, with what
    stopping and going on cost; asked at least `every` so often, it misses no deadline, whatever
    the readings are. A job that may not be interrupted goes on once it has started.

    Args:
        progress: Of the job.
        history: What the intensity was, up to now; what is later is not looked at.
        now: Aware.
        quantile: Of the history: the share of the time at which it would run. [1]
        every: At most so long until the next decision.

    Raises:
        UsageError: the quantile is none, or there is no time between decisions.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> job = Job(
    ...     name="a", work_s=3600, power_w=1, release=noon, deadline=noon + timedelta(hours=1)
    ... )
    >>> go(Progress(job=job), None, noon).because
    'Runs: at the next decision it would be too late for the deadline.'
    """
    if not 0 < quantile < 1 or every <= timedelta(0):
        raise UsageError(
            f"a quantile of {quantile:g}, every {every}", fix="give one between 0 and 1, and a time"
        )
    job, moment = progress.job, utc(now)
    if moment < job.release:
        return Go(run=False, because=f"Waits: it may start at {job.release:%Y-%m-%d %H:%M} UTC.")
    if progress.running and not job.interruptible:
        return Go(run=True, because="Runs on: it may not be interrupted.")
    if progress.running and progress.ran_s < job.min_run_s:
        return Go(run=True, because="Runs on: it was started too short a time ago to be stopped.")
    speed = max(job.scaling, default=1.0)
    started = progress.running or progress.done_s > 0
    costs = job.restart_s * started + job.checkpoint_s * progress.running
    if moment + every + timedelta(seconds=progress.left_s / speed + costs) > job.deadline:
        return Go(
            run=True, because="Runs: at the next decision it would be too late for the deadline."
        )
    return _by_threshold(history, moment, quantile)


def _by_threshold(history: Series | None, moment: datetime, quantile: float) -> Go:
    if history is None:
        return Go(run=True, because="Runs: nothing is known of the grid, so waiting has no aim.")
    place = min(history.place(moment), len(history) - 1)
    past = history.values[: max(0, place + 1)]
    there = past[known(past)]
    if not len(there) or not known(past[-1:])[0] or moment >= history.end + history.step:
        return Go(
            run=True, because="Runs: the present intensity is not known, so waiting has no aim."
        )
    limit, value = float(np.quantile(there, quantile)), float(past[-1])
    told = f"{value:.0f} g/kWh, and {quantile:.0%} of the time it was {limit:.0f} or less"
    return Go(run=value <= limit, because=f"{'Runs' if value <= limit else 'Waits'}: it is {told}.")


def follow(
    job: Job,
    signal: Series,
    *,
    quantile: float = 0.3,
    every: timedelta = timedelta(minutes=5),
) -> tuple[Stretch, ...]:
    """When a job would run that is decided by `go`, reading by reading: for looking back.

    Args:
        job: What is run.
        signal: What happened, with the history before the release.
        quantile: As in `go`.
        every: As in `go`.
    """
    found: list[Run] = []
    progress, moment, seconds = Progress(job=job), job.release, every.total_seconds()
    speed = max(job.scaling, default=1.0)
    nodes = int(np.argmax(job.scaling)) + 1 if job.scaling else 1
    debt = 0.0  # of a restart, still to be run
    while progress.left_s > 0:
        at = (moment - job.release).total_seconds()
        run = bool(go(progress, signal, moment, quantile=quantile, every=every))
        took, stop = seconds, 0.0
        if run:
            if not progress.running:
                debt = job.restart_s if progress.done_s > 0 else 0.0
                found.append(Run(at, at, nodes))
            took = min(seconds, debt + progress.left_s / speed)
            worked = max(0.0, took - debt)
            debt = max(0.0, debt - took)
            found[-1] = found[-1]._replace(end=at + took)
            done = progress.done_s + worked * speed
            done = job.planned_s if job.planned_s - done < 1e-6 else done
            progress = Progress(
                job=job, done_s=done, running=True, ran_s=at + took - found[-1].start
            )
        elif progress.running:
            stop = job.checkpoint_s
            found[-1] = found[-1]._replace(end=at + stop)
            progress = Progress(job=job, done_s=progress.done_s)
        moment += timedelta(seconds=max(took, stop))
    return tuple(
        Stretch(job.release + timedelta(seconds=s), job.release + timedelta(seconds=e), n)
        for s, e, n in found
    )


def schedule_without(
    job: Job,
    why: str,
    *,
    zone: str = "",
    history: Series | None = None,
    typical: Estimate = ANYWHERE,
) -> Schedule:
    """Run now, as no forecast tells of a better time.

    Args:
        job: What is run.
        why: There is no forecast; told as the fallback.
        zone: Where.
        history: What the intensity was, for an estimate of the emissions.
        typical: The intensity, where no history tells it. [gCO2e/kWh]

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> job = Job(
    ...     name="a", work_s=3600, power_w=1000, release=noon, deadline=noon + timedelta(hours=9)
    ... )
    >>> str(schedule_without(job, "the provider does not answer").grams)
    '458 gCO2e (24 to 817, assumed)'
    """
    intensity = _usual(history) or typical
    runs = run_now(job)
    ((_, end, nodes),) = runs
    kwh = nodes * job.power_w * end / J_PER_KWH
    made = made_g_per_s(job) * end
    grams = Estimate(
        value=kwh * intensity.value + made,
        low=kwh * intensity.low + made,
        high=kwh * (job.planned_s / job.work_s) * intensity.high + made,
        unit="gCO2e",
        kind=Kind.ASSUMED,
        source=intensity.source,
    )
    return Schedule(
        job=job,
        zone=zone,
        stretches=_whole(job, runs),
        grams=grams,
        now=grams,
        saving=Estimate.exact(0.0, unit="1", source=intensity.source, kind=Kind.ASSUMED),
        because="Runs at once: nothing tells of a better time.",
        alternatives=(Alternative("run now", job.release, grams),),
        would_change=("A forecast, or readings while it waits for the grid to be cleaner.",),
        source=intensity.source,
        fallback=f"{why}: no forecast, so it runs now",
    )


def _whole(job: Job, runs: Runs) -> tuple[Stretch, ...]:
    seconds = runs[0].end * job.planned_s / job.work_s
    return (Stretch(job.release, job.release + timedelta(seconds=seconds), runs[0].nodes),)


def _usual(history: Series | None) -> Estimate | None:
    """Mean and middle 90 % of what the intensity was."""
    there: NDArray[np.float64] = np.empty(0) if history is None else history.values
    there = there[known(there)]
    if history is None or not len(there):
        return None
    low, high = np.quantile(there, [0.05, 0.95])
    mean = float(there.mean())
    return Estimate(
        value=mean,
        low=min(mean, float(low)),
        high=max(mean, float(high)),
        unit=GRAMS_PER_KWH,
        kind=Kind.ASSUMED,
        source=f"what {history.source} told of {history.zone} before",
    )
