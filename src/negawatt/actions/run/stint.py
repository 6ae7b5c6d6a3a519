"""One order in the hands of a worker: started, paused, continued, ended, each kept on disk first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from negawatt.actions.run.book import Book, Entry
from negawatt.actions.run.orders import Actual, Order, Part, Phase, Plan, left_s
from negawatt.actions.run.pace import Wall, wall
from negawatt.actions.run.watch import Seen, unwatched
from negawatt.core.errors import RunnerUnavailable
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.runners import Act, Near, Runner, RunState, Standing, Task
from negawatt.meters.instruments import Instruments

_MOST_ATTEMPTS = 5
_ENDS = {
    RunState.DONE: Phase.DONE,
    RunState.FAILED: Phase.FAILED,
    RunState.CANCELLED: Phase.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Means:
    """What a worker works with.

    Args:
        plan: For an order, what plans it.
        actual: For an order, what tells the intensities as they turned out.
        runner: For an order, what runs it.
        keep: Takes the kind and the body of what belongs into the ledger.
        instruments: What is read while something runs; everything found when None.
        wall: Tells the real time.
    """

    plan: Callable[[Order], Plan]
    actual: Callable[[Order], Actual]
    runner: Callable[[Order], Runner]
    keep: Callable[[str, Mapping[str, Any]], object] = lambda kind, body: None
    instruments: Instruments | None = None
    wall: Wall = wall


@dataclass(slots=True)
class Stint:
    """An order that a worker looks after.

    Args:
        entry: As it is on disk.
        book: Where that is.
        means: What it is done with.
    """

    entry: Entry
    book: Book
    means: Means
    runner: Runner = field(init=False)
    state: RunState = field(default=RunState.WAITING, init=False)
    tries: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.runner = self.means.runner(self.entry.order)

    @property
    def order(self) -> Order:
        """What was asked."""
        return self.entry.order

    @property
    def number(self) -> int:
        """Of the order."""
        return self.entry.id

    def now(self) -> datetime:
        """The moment of the signal."""
        return self.order.pace.moment(self.means.wall())

    def keep(self, what: str = "", **changes: Any) -> None:
        """Write progress down."""
        told = changes.pop("body", {})
        progress = replace(self.entry.progress, seen=self.now(), **changes)
        self.entry = replace(self.entry, progress=progress)
        self.book.save(self.entry, what, **told)
        if progress.phase.ended:
            self.entry = replace(self.entry, owner="")

    def start(self) -> None:
        """Hand it to the runner, once for each attempt, however often this is asked.

        Raises:
            RunnerUnavailable: it does not take it.
        """
        options = {**self.order.options, "key": f"{self.book.name}-{self.entry.key}"}
        if self.entry.queue and isinstance(self.runner, Near):
            output = self.book.output(self.entry)
            output.parent.mkdir(parents=True, exist_ok=True)
            options.setdefault("output", str(output))
        attempt = {"NEGAWATT_ATTEMPT": str(self.entry.progress.attempt)}
        task = Task(self.order.name, self.order.argv, self.order.folder, attempt, options=options)
        since = self.now()
        handle = self.runner.submit(task)
        if isinstance(self.runner, Near):  # elsewhere it may lie in a queue first
            self.state = RunState.RUNNING
        progress = self.entry.progress
        self.keep(
            "started",
            phase=Phase.RUNNING,
            handle=handle,
            since=since,
            started=progress.started or since,
            stint_s=0.0,
            body={"handle": handle, "attempt": progress.attempt, "because": progress.because},
        )

    def pause(self, because: str) -> None:
        """Stop it for now; one that cannot be stopped runs on, and that is told."""
        try:
            self.runner.act(self.entry.progress.handle, Act.PAUSE)
        except RunnerUnavailable as error:
            notes = self.entry.progress.noted(f"could not be paused: {error.what}")
            self.keep("not paused", notes=notes, forced=True)
            return
        self.keep("paused", phase=Phase.PAUSED, because=because, body={"because": because})

    def resume(self) -> None:
        """Let it go on.

        Raises:
            RunnerUnavailable: the runner does not take it.
        """
        since, progress = self.now(), self.entry.progress
        self.runner.act(progress.handle, Act.RESUME)
        self.state = RunState.RUNNING  # or the time until the next look would count as paused
        again = progress.resumes + 1
        self.keep("resumed", phase=Phase.RUNNING, since=since, resumes=again, stint_s=0.0)

    def look(self) -> Standing:
        """Ask the runner; what has ended or got lost is dealt with."""
        standing = self.runner.standing(self.entry.progress.handle)
        self.state = standing.state
        if standing.state is RunState.RUNNING and self.entry.progress.phase is Phase.PAUSED:
            # somebody else let it go on
            self.keep("went on", phase=Phase.RUNNING, since=self.now(), stint_s=0.0)
        return standing

    def recover(self) -> None:
        """Account for the time of which a worker that died has kept nothing."""
        progress = self.entry.progress
        if progress.phase is not Phase.RUNNING or progress.seen is None:
            return
        near, end = isinstance(self.runner, Near), self._end()
        start = min(progress.since or progress.seen, end)
        away = max(0.0, (end - progress.seen).total_seconds())
        wall_s = self.order.pace.real_s((end - start).total_seconds())
        cpu = 0.0
        if isinstance(self.runner, Near):
            cpu = max(0.0, self.runner.cpu_s(progress.handle) - progress.cpu_s)
        energy = unwatched(self.order.name, cpu, wall_s) if near else self._assumed(wall_s)
        self.keep(
            "recovered",
            ran_s=progress.ran_s + away,
            stint_s=progress.stint_s + away,
            since=end,
            cpu_s=progress.cpu_s + cpu,
            parts=(*progress.parts, Part(start, end, wall_s, energy, watched=False)),
            notes=progress.noted(f"{wall_s:.3g} s of it no worker watched to the end"),
        )

    def lost(self) -> None:
        """Begin anew what has vanished with its machine."""
        progress = self.entry.progress
        parts = tuple(replace(part, lost=True) for part in progress.parts)
        attempt = progress.attempt + 1
        what = f"its process had vanished: begun anew, attempt {attempt + 1}"
        if attempt >= _MOST_ATTEMPTS:
            gone = f"it vanished {attempt} times"
            self.keep("given up", phase=Phase.FAILED, notes=progress.noted(gone), ended=self.now())
            return
        self.keep(
            "lost",
            phase=Phase.STARTING,
            attempt=attempt,
            handle="",
            parts=parts,
            ran_s=0.0,
            stint_s=0.0,
            cpu_s=0.0,
            since=None,
            notes=progress.noted(what),
        )

    def seen(self, seen: Seen) -> None:
        """Keep what a window saw of it."""
        progress, end = self.entry.progress, self._end()
        if progress.since is None:
            return
        start = min(progress.since, end)
        part = Part(start, end, seen.span.wall_s, seen.energy(self.number))
        cpu = progress.cpu_s + seen.cpu_s[self.number]
        self.keep(parts=(*progress.parts, part), cpu_s=cpu, since=end)

    def _end(self) -> datetime:
        """The moment of the signal until which it ran: now, or when it ended."""
        if isinstance(self.runner, Near):
            ended = self.runner.ended_at(self.entry.progress.handle)
            if ended is not None:
                return self.order.pace.moment(ended)
        return self.now()

    def assume(self) -> None:
        """Keep a stretch that ran where nothing can be read: its power, as told, times its time."""
        progress, end = self.entry.progress, self.now()
        if progress.since is None or isinstance(self.runner, Near):
            return
        start = min(progress.since, end)
        seconds = self.order.pace.real_s((end - start).total_seconds())
        part = Part(start, end, seconds, self._assumed(seconds))
        self.keep(parts=(*progress.parts, part), since=None)

    def _assumed(self, seconds: float) -> Estimate | None:
        if self.order.power_w is None:
            return None
        joules = self.order.power_w * seconds
        return Estimate.exact(joules, unit="J", source="--power", kind=Kind.ASSUMED)

    def end(self, standing: Standing) -> None:
        """Note how it ended."""
        progress, now = self.entry.progress, self._end()
        notes = progress.notes
        if now > self.order.deadline:
            late = now - self.order.deadline
            notes = progress.noted(f"it ended {late} after its deadline")
        if standing.detail and standing.state is RunState.FAILED:
            notes = tuple(dict.fromkeys((*notes, standing.detail)))
        self.keep(
            "ended",
            phase=_ENDS[standing.state],
            ended=now,
            exit_status=standing.exit_status,
            notes=notes,
            body={"state": standing.state, "exit_status": standing.exit_status},
        )

    def ticked(self, seconds: float) -> None:
        """Count running time, in that of the signal; kept with the next change. [s]"""
        progress = self.entry.progress
        self.entry = replace(
            self.entry,
            progress=replace(
                progress, ran_s=progress.ran_s + seconds, stint_s=progress.stint_s + seconds
            ),
        )

    @property
    def left_s(self) -> float:
        """What it has still to run. [s]"""
        return left_s(self.order, self.entry.progress)
