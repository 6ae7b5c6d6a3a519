"""From what was asked of `negawatt run` and `negawatt queue` to orders, workers and figures."""

from __future__ import annotations

import select
import shlex
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from negawatt import settings as configuration
from negawatt.actions.run import asked, past
from negawatt.actions.run.book import Book, Entry
from negawatt.actions.run.ledgered import energy_of, saving_of
from negawatt.actions.run.orders import Order, Phase
from negawatt.actions.run.pace import Pace, wall
from negawatt.actions.run.saving import Saving
from negawatt.actions.run.steer import Limits
from negawatt.actions.run.stint import Means
from negawatt.actions.run.worker import Worker
from negawatt.core import registry
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.runners import Runner

if TYPE_CHECKING:
    from negawatt.decisions.when import Job, Schedule
    from negawatt.settings import Settings
    from negawatt.signals.series import Series

QUEUE = "queue"  # what the orders of `negawatt queue` belong to
_PASSED_ON = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command line says of a job, as it was written.

    Args:
        argv: The program and its arguments.
        deadline: "2026-12-01T07:00", or "+12h".
        duration: "2h"; from the ledger's past runs when None.
        longest: At most.
        power: "150W".
        idle: Drawn while it waits.
        interruptible: It may be paused.
        checkpoint: A signal or a command that makes it write down what it needs, and exit.
        restart: What goes on from there.
        restart_cost: How long going on takes.
        min_run: It is not paused sooner.
        max_wait: It waits no longer altogether.
        zone: Whose electricity.
        provider: An address, or a file of intensities.
        at: A moment to replay from.
        speed: How much faster time runs then.
        name: For people.
        runner: Its name, with its options after a `?`.
        options: Those of the task.
    """

    argv: tuple[str, ...]
    deadline: str | None = None
    duration: str | None = None
    longest: str | None = None
    power: str | None = None
    idle: str | None = None
    interruptible: bool = False
    checkpoint: str | None = None
    restart: str | None = None
    restart_cost: str | None = None
    min_run: str | None = None
    max_wait: str | None = None
    zone: str | None = None
    provider: str | None = None
    at: str | None = None
    speed: float = 1.0
    name: str | None = None
    runner: str = "process"
    options: Mapping[str, str] = field(default_factory=dict)


def order_of(said: Asked, settings: Settings) -> tuple[Order, tuple[str, ...]]:
    """The order that a command line means, and what had to be assumed for it.

    Raises:
        UsageError: something cannot be taken; the message says what to write instead.
    """
    if not said.argv:
        raise UsageError("there is no command to run", fix="put it after --: negawatt run … -- CMD")
    zone = said.zone or settings.grid.zone or ""
    pace, release = _pace(said)
    if said.deadline is None and said.max_wait is None:
        raise UsageError("no deadline is given", fix="add one, such as --deadline +12h")
    notes = []
    work_s, high_s, power_w = _size(said, settings, notes)
    wait_s = None if said.max_wait is None else asked.seconds(said.max_wait, "wait")
    if said.deadline is None:
        deadline = release + timedelta(seconds=(high_s or work_s) + (wait_s or 0.0))
    else:
        deadline, note = asked.moment(said.deadline, release)
        notes += [note] if note else []
    order = Order(
        name=said.name or Path(said.argv[0]).name,
        argv=said.argv,
        folder=Path.cwd(),
        release=release,
        deadline=deadline,
        work_s=work_s,
        work_high_s=high_s,
        power_w=power_w,
        zone=zone,
        provider=_address(said.provider or settings.grid.providers or ""),
        interruptible=said.interruptible or said.checkpoint is not None,
        restart_s=0.0 if said.restart_cost is None else asked.seconds(said.restart_cost),
        min_run_s=0.0 if said.min_run is None else asked.seconds(said.min_run),
        idle_w=0.0 if said.idle is None else asked.watts(said.idle),
        max_wait_s=wait_s,
        runner=said.runner,
        options=_options(said),
        pace=pace,
    )
    if "pause" not in (can := runner_of(order, settings.paths.queue).can) and order.interruptible:
        raise UsageError(
            f"{order.runner} cannot pause a job (it can: {', '.join(can) or 'nothing of this kind'})",
            fix="leave --interruptible out, or choose another --runner",
        )
    _check_zone(order, settings)
    return order, tuple(notes)


def _pace(said: Asked) -> tuple[Pace, datetime]:
    now = wall()
    if said.at is None:
        if said.speed != 1:
            raise UsageError(
                "a replay needs a moment to begin with", fix="add one: --at 2020-06-01T00:00Z"
            )
        return Pace(), now
    at, _ = asked.moment(said.at, now, "moment")
    return Pace(said.speed, now, at), at


def _size(
    said: Asked, settings: Settings, notes: list[str]
) -> tuple[float, float | None, float | None]:
    """How long it takes, at most, and at what power: as told, else as the ledger has it."""
    power = None if said.power is None else asked.watts(said.power)
    longest = None if said.longest is None else asked.seconds(said.longest)
    if said.duration is not None:
        work = asked.seconds(said.duration)
        if longest is not None and longest < work:
            raise UsageError(
                f"--longest {said.longest} is shorter than --duration {said.duration}",
                fix="give what it takes at most, or leave it out",
            )
        return work, longest, power
    found = _before(settings, shlex.join(said.argv))
    if found is None:
        raise UsageError(
            "nobody knows how long this command takes: the ledger holds no run of it",
            fix="say it: --duration 2h",
        )
    runs = f"{found.runs} earlier run{'s' if found.runs > 1 else ''}"
    notes.append(f"duration from {runs}: {found.usual_s:.4g} s, {found.longest_s:.4g} s at most")
    high = max(found.longest_s, longest or 0.0)
    return found.usual_s, high if high > found.usual_s else None, power or found.power_w


def _before(settings: Settings, command: str) -> past.Before | None:
    from negawatt.ledger import open_ledger

    place = settings.paths.ledger
    if isinstance(place, Path) and not place.is_file():
        return None
    with open_ledger(place, readonly=True) as ledger:
        return past.before(ledger.entries(), command)


def _options(said: Asked) -> dict[str, str]:
    made = dict(said.options)
    for name in ("checkpoint", "restart"):
        if (value := getattr(said, name)) is not None:
            made[name] = value
    return made


def _address(provider: str) -> str:
    """A path is the address of a file."""
    if provider and "://" not in provider:
        return f"file://{Path(provider).expanduser().resolve()}"
    return provider


def _check_zone(order: Order, settings: Settings) -> None:
    """Say at once that a zone is unknown: nobody would see it later."""
    from negawatt.wiring import grid

    if not order.zone:
        raise UsageError("no zone is named", fix="add --zone DE, or set NEGAWATT_ZONE")
    end = order.release + timedelta(hours=1)
    grid.outlook(
        order.zone, order.release, end, settings=settings, provider=order.provider,
        now=order.release if order.pace.replayed else None,
    )  # fmt: skip
    for source in grid.sources(settings, order.provider, _carbon(), []):
        source.past(order.zone, order.release - _DAY, order.release)


def _carbon() -> Any:
    from negawatt.core.grid import Topic

    return Topic.CARBON


def runner_of(order: Order, queue: Path) -> Runner:
    """What runs an order: `NAME`, or `NAME?option=value&…`.

    Raises:
        UsageError: nobody brings a runner of that name, or it takes other options.
        RuntimeUnavailable: its library is not installed.
    """
    name, _, options = order.runner.partition("?")
    given = dict(parse_qsl(options))
    if name == "process" and not given:
        given = {"folder": str(tasks_of(queue))}
    runner: Runner = registry.build(registry.RUNNERS, name, **given)
    return runner


def tasks_of(queue: Path) -> Path:
    """Where tasks of this machine keep their state, and what they print."""
    return queue.with_name(f"{queue.name}.tasks")


# ---------------------------------------------------------------- planning


def planned(order: Order, settings: Settings) -> Callable[[Job, datetime], Schedule]:
    """The planner of an order: decisions over the best outlook that can be had."""

    def plan(job: Job, now: datetime) -> Schedule:
        from negawatt.decisions.when import schedule
        from negawatt.wiring import grid

        ahead = grid.outlook(
            order.zone,
            now,
            job.deadline,
            settings=settings,
            provider=order.provider,
            now=now if order.pace.replayed else None,
        )
        found: Schedule = schedule(job, ahead.series)
        remarks = "; ".join((*filter(None, [found.fallback]), *ahead.remarks))
        return replace(found, fallback=remarks)

    return plan


def observed(order: Order, settings: Settings) -> Callable[[datetime, datetime], Series]:
    """What tells how the hours of an order turned out; a forecast where nobody has measured."""

    def actual(start: datetime, end: datetime) -> Series:
        from negawatt.core.errors import NegawattError
        from negawatt.wiring import grid

        until = end + timedelta(hours=1)
        try:
            found = grid.observed(
                order.zone, start - timedelta(hours=1), until, settings=settings,
                provider=order.provider,
            )  # fmt: skip
            if found.start <= start and found.end >= end:
                return found
        except NegawattError:
            pass
        now = order.release if order.pace.replayed else None
        ahead = grid.outlook(
            order.zone, start, until, settings=settings, provider=order.provider, now=now
        )
        return ahead.series

    return actual


# ---------------------------------------------------------------- running


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """An order that is shown, with what it saved."""

    entry: Entry
    energy: Estimate | None
    saving: Saving | None
    saving_unknown: str = ""
    notes: tuple[str, ...] = ()


def told(entry: Entry, settings: Settings, notes: tuple[str, ...] = ()) -> Ran:
    """An order with its figures, worked out anew from what is known by now."""
    saving, why = saving_of(entry.order, entry.progress, lambda order: observed(order, settings))
    return Ran(
        entry=entry,
        energy=energy_of(entry.progress),
        saving=saving,
        saving_unknown=why,
        notes=(*notes, *entry.progress.notes),
    )


@contextmanager
def _means(settings: Settings) -> Iterator[Means]:
    from negawatt.ledger import open_ledger

    runners: dict[str, Runner] = {}

    def runner(order: Order) -> Runner:
        if order.runner not in runners:
            runners[order.runner] = runner_of(order, settings.paths.queue)
        return runners[order.runner]

    with open_ledger(settings.paths.ledger) as ledger:

        def keep(kind: str, body: Mapping[str, Any]) -> None:
            ledger.append(kind, body)

        yield Means(
            plan=lambda order: planned(order, settings),
            actual=lambda order: observed(order, settings),
            runner=runner,
            keep=keep,
        )


def dry_run(said: Asked) -> tuple[Order, Schedule, tuple[str, ...]]:
    """What would be done, and nothing else."""
    settings = configuration.load()
    order, notes = order_of(said, settings)
    found = planned(order, settings)(order.job(order.release, order.planned_s), order.release)
    return order, found, notes


def run(said: Asked) -> Ran:
    """Wait, run, pause and go on; what came of it.

    Raises:
        NegawattError: what was asked cannot be done; nothing has run then.
    """
    settings = configuration.load()
    configuration.name_meters(settings)
    order, notes = order_of(said, settings)
    with Book(settings.paths.queue) as book:
        number = book.hold(book.add(order)).id
        return _see_through(book, number, settings, notes)


def resume(number: int | None) -> Ran:
    """Go on with a run whose `negawatt run` has died: that of this number, or the last one.

    Raises:
        UsageError: there is none.
    """
    settings = configuration.load()
    configuration.name_meters(settings)
    with Book(settings.paths.queue) as book:
        left = [entry for entry in book.entries("", live=True) if not book.lives(entry.owner)]
        found = [entry for entry in left if number in {None, entry.id}]
        if not found:
            which = "no run" if number is None else f"no run {number}"
            raise UsageError(
                f"{which} was left behind in {book.path}",
                fix="`negawatt queue list --all` shows all there are",
            )
        entry = book.hold(found[-1].id)
        note = f"went on with run {entry.id}, {entry.progress.phase} when it was left"
        return _see_through(book, entry.id, settings, (note,))


def _see_through(
    book: Book, number: int, settings: Settings, notes: tuple[str, ...]
) -> Ran:
    with _means(settings) as means, _signals() as signals:
        worker = Worker(book, means, only=number)
        while (nap := worker.turn()) is not None:
            for sent in signals.wait(nap):
                if not worker.pass_on(sent) and sent in _ENDING:
                    book.cancel(number)
                    signals.ended = 128 + sent
        entry = book.get(number)
        if signals.ended and entry.progress.exit_status is None:
            progress = replace(entry.progress, exit_status=signals.ended)
            entry = replace(entry, progress=progress)
    return told(entry, settings, notes)


_ENDING = frozenset(
    getattr(signal, name) for name in _PASSED_ON[:4] if hasattr(signal, name)
)


class _Signals:
    """Signals that came while we slept; one that comes ends the sleep."""

    def __init__(self) -> None:
        self.ended = 0
        self._ears, self._mouth = socket.socketpair()
        for end in (self._ears, self._mouth):
            end.setblocking(False)

    def wait(self, seconds: float) -> list[int]:
        """Sleep so long, or until a signal comes; which came."""
        ready, _, _ = select.select([self._ears], [], [], seconds)
        return list(self._ears.recv(64)) if ready else []

    @property
    def mouth(self) -> socket.socket:
        """Where the interpreter writes the number of a signal."""
        return self._mouth

    def close(self) -> None:
        """Let go of both ends."""
        self._ears.close()
        self._mouth.close()


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Hear signals instead of being ended by them."""
    heard = _Signals()
    numbers = [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]
    # what we were started to ignore (nohup, a background job), the command ignores too
    mine = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    try:
        before = signal.set_wakeup_fd(heard.mouth.fileno())
    except ValueError:  # not in the main thread: nobody sends us any
        try:
            yield heard
        finally:
            heard.close()
        return
    handlers = [(number, signal.signal(number, lambda *_: None)) for number in mine]
    try:
        yield heard
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        heard.close()


# ---------------------------------------------------------------- the queue


def add(said: Asked) -> tuple[Entry, tuple[str, ...]]:
    """Put an order into the queue.

    Raises:
        UsageError: something cannot be taken.
    """
    settings = configuration.load()
    order, notes = order_of(said, settings)
    with Book(settings.paths.queue) as book:
        return book.get(book.add(order, QUEUE)), notes


def listed(*, everything: bool = False) -> list[Ran]:
    """The orders of the queue, and with `everything` those of `negawatt run` too."""
    settings = configuration.load()
    with Book(settings.paths.queue) as book:
        entries = book.entries(None if everything else QUEUE)
    return [told(entry, settings) for entry in entries]


def shown(number: int) -> tuple[Ran, list[dict[str, Any]], Path]:
    """One order, what happened to it, and where its output lies."""
    settings = configuration.load()
    with Book(settings.paths.queue) as book:
        entry = book.get(number)
        return told(entry, settings), book.events(number), book.output(entry)


def cancel(numbers: Sequence[int]) -> list[Entry]:
    """Cancel orders: at once where they wait, by their worker where they run."""
    settings = configuration.load()
    with Book(settings.paths.queue) as book:
        for number in numbers:
            book.get(number)
        return [book.cancel(number) for number in numbers]


def work(
    *,
    limits: Limits,
    forever: bool = False,
    speed: float = 1.0,
    at: str | None = None,
) -> list[Ran]:
    """Work on the queue until it is empty, or for ever; the orders that ended meanwhile.

    Args:
        limits: What may run at a time.
        forever: Wait for more when it is empty.
        speed: Replays so many times as fast; what waits begins at `at`.
        at: A moment; the earliest release of what waits when None.
    """
    settings = configuration.load()
    configuration.name_meters(settings)
    with Book(settings.paths.queue) as book:
        if speed != 1 or at is not None:
            _set_clock(book, speed, at)
        waiting = [entry.id for entry in book.entries(QUEUE, live=True)]
        with _means(settings) as means, _signals() as signals:
            worker = Worker(book, means, queue=QUEUE, limits=limits)
            while True:
                nap = worker.turn()
                if nap is None and not forever:
                    break
                if any(sent in _ENDING for sent in signals.wait(5.0 if nap is None else nap)):
                    worker.stop()
                    break
        return [told(book.get(number), settings) for number in waiting]


def _set_clock(book: Book, speed: float, at: str | None) -> None:
    """Let everything that waits live in one replayed time."""
    live = book.entries(QUEUE, live=True)
    begun = [entry for entry in live if entry.progress.phase is not Phase.WAITING]
    if begun:
        raise UsageError(
            f"order {begun[0].id} has begun: its clock cannot be set anew",
            fix="leave --speed and --at out, so that the queue goes on as it was",
        )
    if not live:
        return
    now = wall()
    first = min(entry.order.release for entry in live)
    begins = first if at is None else asked.moment(at, now, "moment")[0]
    book.pace(QUEUE, Pace(speed, now, begins))

