"""A world with its own clocks, and a machine in it that runs tasks for exactly so long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hours_sample import HOUR, START, Planner

from negawatt.actions.run.book import Book, Entry
from negawatt.actions.run.orders import Order, Phase
from negawatt.actions.run.steer import Limits
from negawatt.actions.run.stint import Means
from negawatt.actions.run.worker import Rhythm, Worker
from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, RunState, Standing, Task


@dataclass
class Clocks:
    """Wall and steady time; a test may set one, or let the machine sleep."""

    wall: datetime = START
    steady: float = 0.0
    on_sleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self.wall

    def passed(self) -> float:
        return self.steady

    def sleep(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds
        self.on_sleep()


@dataclass
class Made:
    """A task of the fake machine."""

    task: Task
    need_s: float
    began: float
    done_s: float = 0.0
    state: RunState = RunState.RUNNING
    status: int | None = None


@dataclass
class Machine:
    """Runs tasks in the time of `Clocks`: a task takes the seconds that its command names."""

    clocks: Clocks
    name: str = "process"
    can: tuple[str, ...] = ("pause",)
    made: dict[str, Made] = field(default_factory=dict)
    broken: RunnerUnavailable | None = None
    most_at_once: int = 0

    def submit(self, task: Task) -> str:
        if self.broken is not None:
            raise self.broken
        key = task.options["key"]
        if key not in self.made:
            self.made[key] = Made(task, float(task.argv[1]), self.clocks.steady)
        return key

    def standing(self, handle: str) -> Standing:
        self.move()
        made = self.made.get(handle)
        return Standing(made.state, made.status) if made else Standing(RunState.LOST)

    def act(self, handle: str, act: Act) -> None:
        self.move()
        made = self.made[handle]
        if act is Act.CANCEL and not made.state.ended:
            made.state = RunState.CANCELLED
        elif act is Act.PAUSE and made.state is RunState.RUNNING:
            made.state = RunState.PAUSED
        elif act is Act.RESUME and made.state is RunState.PAUSED:
            made.state, made.began = RunState.RUNNING, self.clocks.steady
        self.move()

    def move(self) -> None:
        running = [one for one in self.made.values() if one.state is RunState.RUNNING]
        self.most_at_once = max(self.most_at_once, len(running))
        for one in running:
            one.done_s += self.clocks.steady - one.began
            one.began = self.clocks.steady
            if one.done_s >= one.need_s:
                one.state, one.status = RunState.DONE, 0


class Scene:
    """Orders, clocks, a machine and a planner, put together."""

    def __init__(self, folder: Path, hours: list[float]) -> None:
        self.clocks = Clocks()
        self.machine = Machine(self.clocks)
        self.planner = Planner(hours)
        self.kept: list[tuple[str, Any]] = []
        self.path = folder / "queue.db"
        self.book = self.opened()

    def opened(self) -> Book:
        """The queue, once more; not written through, because nobody pulls the plug here."""
        book = Book(self.path)
        book._connection.execute("PRAGMA synchronous = OFF")
        return book

    def means(self) -> Means:
        return Means(
            plan=lambda order: self.planner,
            actual=lambda order: self.planner.actual,
            runner=lambda order: self.machine,
            keep=lambda kind, body: self.kept.append((kind, body)),
            wall=self.clocks.now,
        )

    def order(self, name: str = "job", *, hours: float = 1, by: float = 10, **other: Any) -> Order:
        real_s = other.pop("real_s", hours * 3600)
        return Order(
            name=name,
            argv=("work", str(real_s)),
            folder=Path(),
            release=other.pop("release", START),
            deadline=START + by * HOUR,
            work_s=hours * 3600,
            **{"power_w": 100.0, **other},
        )

    def worker(self, book: Book | None = None, **other: Any) -> Worker:
        rhythm = Rhythm(poll_s=60.0, idle_s=300.0)
        return Worker(
            book or self.book, self.means(), steady=self.clocks.passed, rhythm=rhythm, **other
        )

    def go(self, *orders: Order, limits: Limits | None = None) -> list[Entry]:
        numbers = [self.book.add(order, "queue") for order in orders]
        self.worker(queue="queue", limits=limits).run(self.clocks.sleep)
        return [self.book.get(number) for number in numbers]

    def one(self, order: Order) -> Entry:
        (entry,) = self.go(order)
        return entry


def hours_of(entry: Entry) -> list[tuple[float, float]]:
    """When an order ran, in hours from the beginning."""
    return [
        (round((part.start - START) / HOUR, 1), round((part.end - START) / HOUR, 1))
        for part in entry.progress.parts
    ]


def kept_deadline(entry: Entry) -> bool:
    progress = entry.progress
    ended = progress.ended
    seen = timedelta(seconds=1)  # its end is seen a moment later
    return (
        progress.phase is Phase.DONE and ended is not None and ended <= entry.order.deadline + seen
    )
