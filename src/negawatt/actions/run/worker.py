"""Looks after orders until they have ended: plans, starts, pauses, watches, recovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from negawatt.actions.run import planning
from negawatt.actions.run.book import Book
from negawatt.actions.run.ledgered import ended_body, window_body
from negawatt.actions.run.orders import Phase
from negawatt.actions.run.steer import (
    Lain,
    Limits,
    Need,
    Wish,
    last_safe,
    latest_starts,
    next_change,
    wish,
)
from negawatt.actions.run.stint import Means, Stint
from negawatt.actions.run.watch import Seen, Watch, names
from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, Near, RunState

_SHORTEST_S = 0.005
_NEVER = datetime.min.replace(tzinfo=UTC)
_KEEP_S = 30.0  # progress is on disk that often, whatever happens
_TRIES = 3
_AGAIN_S = 5.0
_ACTIVE = frozenset({Phase.RUNNING, Phase.STARTING})


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How long it sleeps at most, in real time.

    Args:
        poll_s: While something runs. [s]
        idle_s: While nothing does. [s]
    """

    poll_s: float = 1.0
    idle_s: float = 5.0


class Worker:
    """Works on the orders of a queue, or on one of them.

    Args:
        book: Where they are.
        means: What it works with.
        queue: Which orders; those of `negawatt run` when empty.
        only: One order alone.
        limits: What may run at a time.
        rhythm: How often it looks.
        steady: Tells seconds that never run backwards, and stand still with the machine. [s]
    """

    def __init__(
        self,
        book: Book,
        means: Means,
        *,
        queue: str = "",
        only: int | None = None,
        limits: Limits | None = None,
        rhythm: Rhythm | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book, self._means = book, means
        self._queue, self._only = queue, only
        self._limits = limits or Limits()
        self._rhythm = rhythm or Rhythm()
        self._steady = steady
        self._stints: dict[int, Stint] = {}
        self._watch = Watch(means.instruments)
        self._ticked = self._kept = steady()
        self._until: dict[int, datetime] = {}
        self._cancelled: set[int] = set()
        self._nap_until: dict[int, float] = {}
        self._runs_since = self._ticked

    def turn(self) -> float | None:
        """One look at everything; how long to sleep until the next [s], None when all have ended.

        Raises:
            RunnerUnavailable: the only order cannot be started.
        """
        self._gather()
        if not self._stints:
            return None
        self._tick()
        self._ends()
        more = self._plan_one()
        self._arrange()
        self._watch_them()
        self._keep_now_and_then()
        return _SHORTEST_S if more else self._nap()

    def _plan_one(self) -> bool:
        """Plan the order whose plan is oldest: one at a time, so that none starts late for it."""
        due = [stint for stint in self._stints.values() if planning.due(stint, stint.now())]
        if due:
            stint = min(due, key=lambda one: (one.entry.progress.planned_at or _NEVER, one.number))
            planning.plan(stint, stint.now())
        return len(due) > 1

    def run(self, sleep: Callable[[float], object] = time.sleep, *, forever: bool = False) -> None:
        """Work until nothing is left, or for ever."""
        while True:
            nap = self.turn()
            if nap is None and not forever:
                return
            sleep(self._rhythm.idle_s if nap is None else nap)

    def stop(self) -> None:
        """Leave everything as it is, for another worker to go on with."""
        self._close_window()
        for stint in self._stints.values():
            stint.assume()
            stint.keep()

    def pass_on(self, number: int) -> bool:
        """Give a signal to what runs; False where nothing does."""
        given = False
        for stint in self._stints.values():
            if stint.entry.progress.handle and isinstance(stint.runner, Near):
                stint.runner.signal(stint.entry.progress.handle, number)
                given = True
        return given

    # ------------------------------------------------------------ what there is

    def _gather(self) -> None:
        for entry in self._book.adopt(self._queue, self._only):
            stint = self._stints[entry.id] = Stint(entry, self._book, self._means)
            self._recover(stint)
        ours = {
            number: cancel
            for number, owner, cancel in self._book.glance(self._queue)
            if self._only in {None, number} and owner in {"", self._book.owner}
        }
        for number in self._stints.keys() - ours.keys():
            del self._stints[number]
        for number, cancel in ours.items():
            if number not in self._stints:
                self._stints[number] = Stint(self._book.get(number), self._book, self._means)
            if cancel and number not in self._cancelled:
                self._cancel(self._stints[number])

    def _recover(self, stint: Stint) -> None:
        progress = stint.entry.progress
        if progress.phase is Phase.STARTING or not progress.handle:
            return
        standing = stint.look()
        if standing.state is not RunState.LOST:
            stint.recover()

    def _cancel(self, stint: Stint) -> None:
        self._cancelled.add(stint.number)
        progress = stint.entry.progress
        if not progress.handle:
            stint.keep("cancelled", phase=Phase.CANCELLED, ended=stint.now())
            del self._stints[stint.number]
            return
        with suppress(RunnerUnavailable):  # it is lost, which `_ends` finds
            stint.runner.act(progress.handle, Act.CANCEL)

    def _tick(self) -> None:
        """Count what ran since the last look; a machine that slept did not run."""
        now = self._steady()
        passed, self._ticked = now - self._ticked, now
        for stint in self._stints.values():
            running = stint.entry.progress.phase is Phase.RUNNING
            if running and stint.state is RunState.RUNNING:
                stint.ticked(passed * stint.order.pace.speed)

    def _ends(self) -> None:
        for stint in list(self._stints.values()):
            if not stint.entry.progress.handle:
                continue
            standing = stint.look()
            if not standing.state.ended:
                continue
            if stint.number in self._watch.watched:
                self._close_window()
            stint.assume()
            if standing.state is RunState.LOST:
                stint.lost()
            else:
                stint.end(standing)
            if stint.entry.progress.phase.ended:
                del self._stints[stint.number]
                self._means.keep("run", ended_body(stint.entry, self._means.actual))

    # ------------------------------------------------------------ who runs

    def _arrange(self) -> None:
        live = list(self._stints.values())
        safe = self._until = self._safe(live)
        wishes = {
            one.number: wish(one.order, one.entry.progress, one.now(), safe[one.number])
            for one in live
        }
        for stint in live:
            if wishes[stint.number].forced and not stint.entry.progress.forced:
                because = wishes[stint.number].because
                stint.keep("forced", forced=True, because=because, body={"because": because})
        chosen = self._chosen(live, wishes, safe)
        for stint in live:  # what is to stand first, so that there is room
            if stint.number not in chosen and stint.entry.progress.phase is Phase.RUNNING:
                self._pause(stint, wishes[stint.number])
        for stint in live:
            if stint.number in chosen:
                self._go(stint)

    def _safe(self, live: Sequence[Stint]) -> dict[int, datetime]:
        """Until when each can wait, beside all others that have to run too."""
        safe = {one.number: last_safe(one.order, one.entry.progress) for one in live}
        if self._limits == Limits():
            return safe
        # Replays have clocks of their own, so all are laid out in real time, from now on.
        base = self._means.wall()
        needs, firm = list[Need](), list[Lain]()
        for stint in live:
            progress = stint.entry.progress
            if progress.phase in _ACTIVE and (progress.forced or not stint.order.interruptible):
                firm.append(_lain(stint, base))
            else:  # the guard lies in each, for the time between one's end and the next's start
                needs.append(_need(stint, base, safe[stint.number]))
        found = latest_starts(needs, self._limits, firm)
        by_number = {stint.number: stint for stint in live}
        return {
            **safe,
            **{
                number: by_number[number].now()
                + (start - base) * by_number[number].order.pace.speed
                for number, start in found.items()
            },
        }

    def _chosen(
        self, live: Sequence[Stint], wishes: dict[int, Wish], safe: dict[int, datetime]
    ) -> set[int]:
        count, power = (0, 0.0) if self._only is not None else self._book.others(self._queue)
        chosen: set[int] = set()
        wanting = [stint for stint in live if wishes[stint.number].run]
        for stint in sorted(
            wanting,
            key=lambda one: (
                not wishes[one.number].firm, not wishes[one.number].forced,
                safe[one.number], one.number,
            ),
        ):  # fmt: skip
            more = stint.order.power_w or 0.0
            holds = self._limits.holds(count + 1, power + more)
            if wishes[stint.number].firm or (
                holds and not self._crowds(stint, wishes[stint.number], live)
            ):
                chosen.add(stint.number)
                count, power = count + 1, power + more
        return chosen

    def _crowds(self, stint: Stint, wished: Wish, live: Sequence[Stint]) -> bool:
        """Whether a job that cannot be stopped would, once begun, make another one late.

        It is passed over then, until that one is done or its own last safe moment has come.
        """
        begun = stint.entry.progress.phase in _ACTIVE
        if self._limits == Limits() or begun or wished.forced or stint.order.interruptible:
            return False
        base = self._means.wall()
        firm, needs = [_lain(stint, base)], list[Need]()
        for other in live:
            own = last_safe(other.order, other.entry.progress)
            if other is stint or own < other.now():
                continue  # late anyhow, and not made so by this one
            if other.entry.progress.phase in _ACTIVE and not other.order.interruptible:
                firm.append(_lain(other, base))
            else:
                needs.append(_need(other, base, own))
        found = latest_starts(needs, self._limits, firm)
        return any(start < base for start in found.values())

    def _pause(self, stint: Stint, wished: Wish) -> None:
        if stint.number in self._watch.watched:
            self._close_window()
        stint.assume()
        stint.pause("others go first" if wished.run else wished.because)

    def _go(self, stint: Stint) -> None:
        phase = stint.entry.progress.phase
        if phase is Phase.RUNNING or self._steady() < self._nap_until.get(stint.number, 0.0):
            return
        try:
            if phase is Phase.PAUSED:
                if self._book.room(stint.entry, self._limits):
                    self._close_window()
                    stint.resume()
                return
            if phase is Phase.WAITING:
                claimed = self._book.claim(stint.number, self._limits)
                if claimed is None:
                    return
                stint.entry = claimed
            self._close_window()
            stint.start()
            self._runs_since = self._steady()
        except RunnerUnavailable as error:
            self._refused(stint, error)

    def _refused(self, stint: Stint, error: RunnerUnavailable) -> None:
        """Try again in a while; not for ever."""
        stint.tries += 1
        notes = stint.entry.progress.noted(error.what)
        if self._only is not None or stint.tries >= _TRIES:
            stint.keep("refused", phase=Phase.FAILED, notes=notes, ended=stint.now())
            if self._only is not None:
                raise error
            return
        self._nap_until[stint.number] = self._steady() + _AGAIN_S
        stint.keep("refused", notes=notes)

    # ------------------------------------------------------------ what it takes

    def _watch_them(self) -> None:
        """Have one window open over all that run on this machine."""
        running = [
            stint
            for stint in self._stints.values()
            if stint.entry.progress.phase is Phase.RUNNING and isinstance(stint.runner, Near)
        ]
        same = {stint.number for stint in running} == self._watch.watched
        if same and not self._watch.due(self._means.wall()):
            return
        self._close_window()
        reads = {stint.number: (_cpu_of(stint), stint.entry.progress.cpu_s) for stint in running}
        self._watch.open(reads, names([stint.order.name for stint in running]))

    def _close_window(self) -> None:
        watched = self._watch.watched
        seen: Seen | None = self._watch.close()
        if seen is None:
            return
        shown = [self._stints[number] for number in watched if number in self._stints]
        for stint in shown:
            stint.seen(seen)
        self._means.keep("measure", window_body(seen, shown))

    def _keep_now_and_then(self) -> None:
        if self._steady() - self._kept >= _KEEP_S:
            self._kept = self._steady()
            for stint in self._stints.values():
                if stint.entry.progress.phase is Phase.RUNNING:
                    stint.keep()

    def _nap(self) -> float | None:
        """Until something can change; never so long that a clock that was set goes unseen."""
        if not self._stints:
            return _SHORTEST_S
        edges = []
        for stint in self._stints.values():
            now, progress, order = stint.now(), stint.entry.progress, stint.order
            safe = self._until.get(stint.number, last_safe(order, progress))
            change = min(next_change(order, progress, now, safe), now + planning.AGAIN)
            edges.append(order.pace.real_s((change - now).total_seconds()))
            if progress.phase is Phase.RUNNING and stint.left_s > 0:
                edges.append(order.pace.real_s(stint.left_s))
        running = any(s.entry.progress.phase is Phase.RUNNING for s in self._stints.values())
        most = self._rhythm.poll_s
        poll = min(most, max(most / 100, 0.05 * (self._steady() - self._runs_since)))
        longest = poll if running else self._rhythm.idle_s
        return min(longest, max(_SHORTEST_S, min(edges)))


def _lain(stint: Stint, base: datetime) -> Lain:
    """What is left of a job if it runs from now on, in real time."""
    left = timedelta(seconds=stint.order.pace.real_s(stint.left_s))
    return base, base + left, stint.order.power_w or 0.0


def _need(stint: Stint, base: datetime, safe: datetime) -> Need:
    """By when a job has to have run, in real time; from its last safe moment on it needs all of it."""
    real_s, latest = stint.order.pace.real_s, stint.order.latest
    end = base + timedelta(seconds=real_s((latest - stint.now()).total_seconds()))
    length = real_s((latest - safe).total_seconds())
    return Need(stint.number, end, length, stint.order.power_w or 0.0)


def _cpu_of(stint: Stint) -> Callable[[], float]:
    runner, handle = stint.runner, stint.entry.progress.handle
    if not isinstance(runner, Near):  # pragma: no cover  # only those near are watched
        return lambda: 0.0
    return lambda: runner.cpu_s(handle)
