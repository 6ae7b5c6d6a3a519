"""What is asked of a run, what has become of it, and the job that is left to plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from negawatt.actions.run.pace import Pace
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.grid import utc
from negawatt.decisions.when import Job, Schedule, Stretch
from negawatt.signals.series import Series

#: From a job and the present moment to when it should run.
Plan = Callable[[Job, datetime], Schedule]
#: Intensities from one moment to another, as they turned out. [gCO2e/kWh]
Actual = Callable[[datetime, datetime], Series]

_GUARD_S = 60.0
_GUARD_SHARE = 0.02  # of the work
_LOOK_S = 2.0  # a start, and an end seen, take no longer in real time, even on a busy machine


class Phase(StrEnum):
    """Where an order is."""

    WAITING = "waiting"
    STARTING = "starting"  # taken by a worker; the runner may or may not have been told
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True when nothing more happens."""
        return self in {self.DONE, self.FAILED, self.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A command, and by when it has to be done.

    Args:
        name: For people.
        argv: The program and its arguments.
        folder: Where it runs.
        release: From when on it may run, in the time of the signal; aware.
        deadline: When it has ended at the latest; aware.
        work_s: How long it runs. [s]
        work_high_s: At most; None when `work_s` is certain.
        power_w: What it draws; None when nobody knows. [W]
        zone: Whose electricity.
        provider: Where the signal comes from.
        interruptible: It may be paused.
        restart_s: What going on again costs. [s]
        min_run_s: It is not paused sooner. [s]
        idle_w: Drawn while it waits, by what is reserved for it. [W]
        max_wait_s: How long it may wait altogether, before and between; None for the deadline
            alone to say. [s]
        runner: What runs it.
        options: The runner's own.
        pace: How the time of the signal runs.

    Raises:
        UsageError: there is no command, or the times leave no room for the work.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path
    release: datetime
    deadline: datetime
    work_s: float
    work_high_s: float | None = None
    power_w: float | None = None
    zone: str = ""
    provider: str = ""
    interruptible: bool = False
    restart_s: float = 0.0
    min_run_s: float = 0.0
    idle_w: float = 0.0
    max_wait_s: float | None = None
    runner: str = "process"
    options: Mapping[str, str] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise UsageError(
                "there is no command to run", fix="put it after --: negawatt run … -- CMD"
            )
        if self.power_w is not None and not self.power_w > 0:
            raise UsageError(
                f"{self.name} cannot run on {self.power_w:g} W",
                fix="give its mean power, for example 150W, or leave it out where it is unknown",
            )
        if utc(self.deadline) <= utc(self.release):
            raise UsageError(
                f"the deadline {_shown(self.deadline)} of {self.name} is past: it is"
                f" {_shown(self.release)}",
                fix="give one that is to come, for example +12h",
            )
        self.job(self.release, self.planned_s)  # which checks the rest

    @property
    def planned_s(self) -> float:
        """What it may take. [s]"""
        return self.work_s if self.work_high_s is None else self.work_high_s

    @property
    def latest(self) -> datetime:
        """When it has ended at the latest, by the deadline and by how long it may wait."""
        if self.max_wait_s is None:
            return utc(self.deadline)
        return min(
            utc(self.deadline),
            utc(self.release) + timedelta(seconds=self.planned_s + self.max_wait_s),
        )

    @property
    def guard_s(self) -> float:
        """How long before the last safe moment it is started, whatever the plan says. [s]

        At most half of the room that there is.
        """
        wish = max(_GUARD_S, _GUARD_SHARE * self.planned_s, _LOOK_S * self.pace.speed)
        room = (self.latest - utc(self.release)).total_seconds() - self.planned_s
        return max(0.0, min(wish, room / 2))

    def job(self, now: datetime, left_s: float, *, power_w: float = 1.0) -> Job:
        """What is left, as the planner takes it.

        Args:
            now: The present moment of the signal.
            left_s: What is still to be run. [s]
            power_w: Stands in where nobody knows; a single job's hours do not depend on it.

        Raises:
            UsageError: it no longer fits before the deadline.
        """
        guarded = self.latest - timedelta(seconds=self.guard_s)
        fits = utc(now) + timedelta(seconds=left_s) <= guarded
        return Job(
            name=self.name,
            work_s=left_s,
            power_w=self.power_w or power_w,
            release=now,
            deadline=guarded if fits else self.latest,
            interruptible=self.interruptible,
            restart_s=self.restart_s,
            min_run_s=self.min_run_s,
            idle_w=self.idle_w,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of running, and what it took.

    Args:
        start: In the time of the signal.
        end: In the time of the signal.
        seconds: Real ones. [s]
        energy: Of this order alone; None where nobody saw it and no power was given. [J]
        watched: False where it ran while no worker was there.
        lost: True where what was done in it was lost, and had to be done again.
    """

    start: datetime
    end: datetime
    seconds: float
    energy: Estimate | None = None
    watched: bool = True
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What has become of an order so far; kept on disk after every change.

    Args:
        phase: Where it is.
        seen: The moment of the signal when this was written.
        attempt: How often it was begun anew.
        handle: The runner's name of it.
        stretches: When it is to run.
        planned_at: When that was decided.
        because: Why it stands as it does.
        fallback: Which weaker knowledge had to do.
        expected: The saving that was hoped for when it was first planned.
        forced: True once there was no more room to wait.
        started: When it first ran.
        ended: When it ended.
        ran_s: How long it has run, in the time of the signal. [s]
        since: From when on it runs without that being in `parts`, in the time of the signal.
        stint_s: How long of that since it was last started or resumed. [s]
        resumes: How often it went on after a pause, or began again after it was lost.
        cpu_s: CPU time of it that is in `parts`. [s]
        parts: What it took.
        exit_status: Once it has ended.
        notes: What a reader should know.
    """

    phase: Phase = Phase.WAITING
    seen: datetime | None = None
    attempt: int = 0
    handle: str = ""
    stretches: tuple[Stretch, ...] = ()
    planned_at: datetime | None = None
    because: str = ""
    fallback: str = ""
    expected: Estimate | None = None
    forced: bool = False
    started: datetime | None = None
    ended: datetime | None = None
    ran_s: float = 0.0
    since: datetime | None = None
    stint_s: float = 0.0
    resumes: int = 0
    cpu_s: float = 0.0
    parts: tuple[Part, ...] = ()
    exit_status: int | None = None
    notes: tuple[str, ...] = ()

    def noted(self, text: str) -> tuple[str, ...]:
        """The notes with one more, each once."""
        return tuple(dict.fromkeys((*self.notes, text)))


def left_s(order: Order, progress: Progress) -> float:
    """What an order has still to run, as far as anybody knows. [s]"""
    return max(0.0, order.planned_s + progress.resumes * order.restart_s - progress.ran_s)


def _shown(moment: datetime) -> str:
    return f"{utc(moment):%Y-%m-%d %H:%M} UTC"
