"""What is to be run, when it is run, and why then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.grid import utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work with a deadline.

    Args:
        name: For people.
        work_s: Seconds it runs when nothing interrupts it, on one node. [s]
        power_w: That one node draws for it. [W]
        release: It cannot start before; aware.
        deadline: It has ended by then; aware.
        interruptible: It may be stopped and go on later.
        restart_s: Seconds of running that each going-on costs on top. [s]
        min_run_s: It is not stopped before it has run so long at a stretch. [s]
        scaling: Work done per second on 1, 2, ... n nodes, as multiples of that on one; empty
            for a job that cannot be spread. The first is 1.
        work_high_s: What it takes at most, where the duration is not certain. [s]
        idle_w: Drawn for it while it waits, by hardware that is reserved all the while. [W]
        embodied_g_per_h: Of making that hardware, for each hour it is reserved. [gCO2e/h]
        checkpoint_s: Seconds of running that each stop costs, before it. [s]

    Raises:
        UsageError: it has no length, ends before it can, or a number is absurd.
    """

    name: str
    work_s: float
    power_w: float
    release: datetime
    deadline: datetime
    interruptible: bool = False
    restart_s: float = 0.0
    min_run_s: float = 0.0
    scaling: tuple[float, ...] = ()
    work_high_s: float | None = None
    idle_w: float = 0.0
    embodied_g_per_h: float = 0.0
    checkpoint_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "release", utc(self.release))
        object.__setattr__(self, "deadline", utc(self.deadline))
        if not self.work_s > 0 or self.power_w < 0:
            raise UsageError(
                f"{self.name} runs {self.work_s:g} s at {self.power_w:g} W",
                fix="give a duration above 0 and a power of 0 or more",
            )
        costs = (self.restart_s, self.checkpoint_s, self.min_run_s, self.idle_w)
        if not min(*costs, self.embodied_g_per_h) >= 0:
            raise UsageError(
                f"{self.name} has a cost below 0", fix="give 0 where waiting costs nothing"
            )
        if self.scaling and (self.scaling[0] != 1.0 or min(self.scaling) <= 0):
            raise UsageError(
                f"the scaling of {self.name} is {self.scaling}",
                fix="give the speed on 1, 2, ... nodes beside that on one: 1,1.9,2.7",
            )
        if self.work_high_s is not None and self.work_high_s < self.work_s:
            raise UsageError(
                f"{self.name} takes {self.work_s:g} s, and {self.work_high_s:g} s at most",
                fix="give a longest duration that is not below the usual one",
            )
        if self.release + timedelta(seconds=self.longest_s) > self.deadline:
            raise UsageError(
                f"{self.name} needs {timedelta(seconds=self.longest_s)}, and from"
                f" {self.release:%Y-%m-%d %H:%M} to its deadline {self.deadline:%Y-%m-%d %H:%M} UTC"
                f" there are {self.deadline - self.release}",
                fix="move the deadline, or start earlier",
            )

    @property
    def planned_s(self) -> float:
        """What has to be planned for, so that the deadline is kept. [s]"""
        return self.work_s if self.work_high_s is None else self.work_high_s

    @property
    def longest_s(self) -> float:
        """The same at full spread, which is the least time it can be done in. [s]"""
        return self.planned_s / max(self.scaling, default=1.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """From when to when a job runs, on how many nodes."""

    start: datetime
    end: datetime
    nodes: int = 1

    @property
    def seconds(self) -> float:
        """How long that is. [s]"""
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way of running the same job, and what it would emit."""

    what: str  # "run now", "not interrupted", "until 20:00"
    start: datetime
    grams: Estimate  # [gCO2e]
    cost: float | None = None  # in the currency of the price


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a job runs, with the reason and what it was chosen from.

    Args:
        job: What is run.
        zone: Where.
        stretches: When; in time order, all between release and deadline.
        grams: Expected emissions, those of waiting and restarting included. [gCO2e]
        now: The same, had it started at once and run through.
        saving: `1 - grams / now`, with its interval. [1]
        because: The reason, for people.
        alternatives: What else was looked at, run now first.
        would_change: What would make the answer another one.
        source: Of the signal.
        fallback: Which weaker knowledge had to do, and why; empty where none had to.
        cost: What the electricity costs, where a price was given.
    """

    job: Job
    zone: str
    stretches: tuple[Stretch, ...]
    grams: Estimate
    now: Estimate
    saving: Estimate
    because: str
    alternatives: tuple[Alternative, ...] = ()
    would_change: tuple[str, ...] = ()
    source: str = ""
    fallback: str = ""
    cost: float | None = None

    @property
    def start(self) -> datetime:
        """When it first starts."""
        return self.stretches[0].start

    @property
    def end(self) -> datetime:
        """When it has ended."""
        return self.stretches[-1].end

    @property
    def shift(self) -> timedelta:
        """How long it waits before it starts."""
        return self.start - self.job.release
