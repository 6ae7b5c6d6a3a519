"""The queue: orders put in, looked at, worked on, and what all of them saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from negawatt import settings as configuration
from negawatt.actions.run import asked
from negawatt.actions.run.book import Book
from negawatt.actions.run.hearing import ENDING, heard_signals
from negawatt.actions.run.orders import Phase
from negawatt.actions.run.pace import Pace, wall
from negawatt.actions.run.steer import Limits
from negawatt.actions.run.worker import Worker
from negawatt.core.errors import UsageError
from negawatt.reports.ran import Ran
from negawatt.wiring.orders import Asked, order_of
from negawatt.wiring.run import means_of, told

QUEUE = "queue"  # what the orders of `negawatt queue` belong to


def add(said: Asked) -> Ran:
    """Put an order into the queue.

    Raises:
        UsageError: something cannot be taken.
    """
    settings = configuration.load()
    order, notes = order_of(said, settings)
    with Book(settings.paths.queue) as book:
        return told(book.get(book.add(order, QUEUE)), settings, notes)


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


def cancel(numbers: Sequence[int]) -> list[Ran]:
    """Cancel orders: at once where they wait, by their worker where they run."""
    settings = configuration.load()
    with Book(settings.paths.queue) as book:
        for number in numbers:
            book.get(number)
        return [told(book.cancel(number), settings) for number in numbers]


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
        with means_of(settings) as means, heard_signals() as signals:
            worker = Worker(book, means, queue=QUEUE, limits=limits)
            while True:
                nap = worker.turn()
                if nap is None and not forever:
                    break
                if any(sent in ENDING for sent in signals.wait(5.0 if nap is None else nap)):
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
