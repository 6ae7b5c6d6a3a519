"""From what was asked of `negawatt run` and `negawatt queue` to orders, workers and figures."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from negawatt import settings as configuration
from negawatt.actions.run.book import Book, Entry
from negawatt.actions.run.hearing import ENDING, heard_signals
from negawatt.actions.run.ledgered import energy_of, saving_of
from negawatt.actions.run.orders import Order, Plan
from negawatt.actions.run.stint import Means
from negawatt.actions.run.worker import Worker
from negawatt.core.errors import UsageError
from negawatt.core.runners import Runner
from negawatt.reports.ran import Ran
from negawatt.wiring.orders import Asked, order_of, runner_of

if TYPE_CHECKING:
    from negawatt.decisions.when import Job, Schedule
    from negawatt.settings import Settings
    from negawatt.signals.series import Series
    from negawatt.wiring.grid import Named


# ---------------------------------------------------------------- planning


def read_once(provider: str) -> Named:
    """The source itself where it is one file: a replay asks it many times a second."""
    from negawatt.wiring import grid

    if provider.startswith("file://") and " " not in provider.strip():
        return grid.build(provider)
    return provider


def planned(order: Order, settings: Settings) -> Callable[[Job, datetime], Schedule]:
    """The planner of an order: decisions over the best outlook that can be had."""
    known: list[Named] = []

    def plan(job: Job, now: datetime) -> Schedule:
        from negawatt.decisions.when import schedule
        from negawatt.wiring import grid

        if not known:
            known.append(read_once(order.provider))
        ahead = grid.outlook(
            order.zone,
            now,
            job.deadline,
            settings=settings,
            provider=known[0],
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


def told(entry: Entry, settings: Settings, notes: tuple[str, ...] = ()) -> Ran:
    """An order with its figures, worked out anew from what is known by now."""
    order, progress = entry.order, entry.progress
    saving, why = saving_of(order, progress, lambda one: observed(one, settings))
    return Ran(
        number=entry.id,
        name=order.name,
        command=shlex.join(order.argv),
        phase=str(progress.phase),
        zone=order.zone,
        provider=order.provider,
        runner=order.runner,
        release=order.release,
        deadline=order.deadline,
        stretches=tuple((part.start, part.end) for part in progress.parts),
        planned=tuple((one.start, one.end) for one in progress.stretches),
        because=progress.because,
        fallback=progress.fallback,
        ended=progress.ended,
        exit_status=progress.exit_status,
        work_s=progress.ran_s,
        wall_s=sum(part.seconds for part in progress.parts),
        resumes=progress.resumes,
        attempts=progress.attempt + 1,
        speed=order.pace.speed,
        energy=energy_of(progress),
        saving=saving,
        saving_unknown=why,
        expected=progress.expected,
        notes=tuple(dict.fromkeys((*notes, *progress.notes))),
    )


@contextmanager
def means_of(settings: Settings) -> Iterator[Means]:
    """What a worker of this machine works with, its ledger open meanwhile."""
    from negawatt.ledger import open_ledger

    runners: dict[str, Runner] = {}
    plans: dict[tuple[str, str, bool], Plan] = {}

    def runner(order: Order) -> Runner:
        if order.runner not in runners:
            runners[order.runner] = runner_of(order, settings.paths.queue)
        return runners[order.runner]

    with open_ledger(settings.paths.ledger) as ledger:

        def plan(order: Order) -> Plan:
            key = order.zone, order.provider, order.pace.replayed
            if key not in plans:
                plans[key] = planned(order, settings)
            return plans[key]

        def keep(kind: str, body: Mapping[str, Any]) -> None:
            ledger.append(kind, body)

        yield Means(
            plan=plan,
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


def _see_through(book: Book, number: int, settings: Settings, notes: tuple[str, ...]) -> Ran:
    with means_of(settings) as means, heard_signals() as signals:
        worker = Worker(book, means, only=number)
        while (nap := worker.turn()) is not None:
            for sent in signals.wait(nap):
                if not worker.pass_on(sent) and sent in ENDING:
                    book.cancel(number)
                    signals.ended = 128 + sent
        entry = book.get(number)
        if signals.ended and entry.progress.exit_status is None:
            progress = replace(entry.progress, exit_status=signals.ended)
            entry = replace(entry, progress=progress)
    return told(entry, settings, notes)
