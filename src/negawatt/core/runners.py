"""The seam to whatever runs jobs: this machine, a cluster, an orchestrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable


class RunState(StrEnum):
    """Where a task is."""

    WAITING = "waiting"  # handed over, not started
    RUNNING = "running"
    PAUSED = "paused"  # started, and stopped for now
    DONE = "done"  # ended with status 0
    FAILED = "failed"  # ended otherwise
    CANCELLED = "cancelled"
    LOST = "lost"  # the runner knows nothing of it

    @property
    def ended(self) -> bool:
        """True when it will not run again."""
        return self in {self.DONE, self.FAILED, self.CANCELLED, self.LOST}


class Act(StrEnum):
    """What can be asked of a task that was handed over."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Task:
    """A command to be run.

    Args:
        name: For people.
        argv: The program and its arguments; no shell is involved.
        folder: Where it runs.
        environment: Added to the runner's own.
        begin: Not before; at once when None. A runner whose `can` lacks "begin" refuses one.
        nodes: How many at first.
        options: The runner's own: partition, namespace, image.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    begin: datetime | None = None
    nodes: int = 1
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a runner says of a task."""

    state: RunState
    exit_status: int | None = None  # once it has ended, where the runner tells
    detail: str = ""  # in the runner's own words


class Runner(Protocol):
    """Runs tasks (entry point `negawatt.runners`)."""

    @property
    def name(self) -> str:
        """`process`, `slurm`, `kubernetes`, `ray`."""

    @property
    def can(self) -> Sequence[str]:
        """What it does of "pause", "begin" (a start in the future) and "scale"."""

    def submit(self, task: Task) -> str:
        """Hand a task over; returns the runner's name of it, which outlives this process.

        Raises:
            RunnerUnavailable: the runner cannot be reached, or refuses; the message says why.
        """

    def standing(self, handle: str) -> Standing:
        """Where a task is now; `LOST` for one that the runner does not know."""

    def act(self, handle: str, act: Act) -> None:
        """Pause, resume or cancel; asking for what is so already changes nothing.

        Raises:
            RunnerUnavailable: it cannot be reached, cannot do that, or does not know the task.
        """


@runtime_checkable
class Scales(Protocol):
    """A `Runner` that can change how many nodes a task has while it runs."""

    def scale(self, handle: str, nodes: int) -> None:
        """Ask for so many nodes from now on; 0 pauses it."""


@runtime_checkable
class Near(Protocol):
    """A `Runner` whose tasks run on this machine, so that what they take can be seen here."""

    def cpu_s(self, handle: str) -> float:
        """CPU time so far of a task and everything it started. [s]"""

    def ended_at(self, handle: str) -> datetime | None:
        """When it ended; None while it has not, and where nobody noted it."""

    def signal(self, handle: str, number: int) -> None:
        """Pass a signal on to what runs."""
