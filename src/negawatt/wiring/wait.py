"""Whether it is a clean hour, for whoever has a scheduler of their own: sensors, tasks, callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from negawatt import settings as configuration
from negawatt.actions.run import asked
from negawatt.actions.run.orders import Order, Plan
from negawatt.actions.run.pace import wall
from negawatt.core.errors import UsageError
from negawatt.settings import Settings
from negawatt.wiring.orders import address
from negawatt.wiring.run import planned


@dataclass(frozen=True, slots=True)
class Clean:
    """A question that can be asked again and again: should this work run now?

    It remembers nothing, so it may be asked by another process each time. True from the planned
    start on; once there is no more room before the deadline it stays true, whatever happens to
    forecasts.

    Args:
        order: The work, and by when it is done.
        plan: Makes the plan.
        now: Tells the time; aware.
        since: How much of the work is done already, where it is paused and goes on. [s]
    """

    order: Order
    plan: Plan
    now: Callable[[], datetime] = wall
    since: Callable[[], float] = lambda: 0.0

    def __call__(self) -> bool:
        """True when it should run now."""
        return self.wait_s() <= 0.0

    def wait_s(self) -> float:
        """How long it should wait still; 0 when it should run. [s]"""
        now = self.now()
        left = max(1.0, self.order.planned_s - self.since())
        safe = self.order.latest - timedelta(seconds=left + self.order.guard_s)
        room = (safe - now).total_seconds()
        if room <= 0:
            return 0.0
        try:
            start = self.plan(self.order.job(now, left), now).start
        except Exception:  # noqa: BLE001  # whatever a provider does, no work waits for it
            return 0.0
        return max(0.0, min(room, (start - now).total_seconds()))


def clean(
    zone: str,
    *,
    duration: str,
    deadline: str,
    provider: str | None = None,
    interruptible: bool = True,
    now: Callable[[], datetime] = wall,
) -> Clean:
    """Something to ask whether it is a clean hour: for sensors, and for training callbacks.

    Args:
        zone: Such as "DE".
        duration: How long the work takes: "2h".
        deadline: By when it is done: "2026-12-01T07:00Z", or "+12h" from now.
        provider: An address, or a file of intensities; those of the settings when None.
        interruptible: It may be paused, so that single clean hours are enough.
        now: Tells the time.

    Raises:
        UsageError: a time cannot be read, or the work does not fit before the deadline.

    >>> clean("DE", duration="1h", deadline="+1h")()  # no room to wait
    True
    """
    settings = configuration.load()
    order = _order(zone, duration, deadline, (provider, interruptible), (settings, now()))
    return Clean(order, planned(order, settings), now)


def _order(
    zone: str,
    duration: str,
    deadline: str,
    how: tuple[str | None, bool],
    where: tuple[Settings, datetime],
) -> Order:
    (provider, interruptible), (settings, now) = how, where
    return Order(
        name="work",
        argv=("work",),
        folder=Path(),
        release=now,
        deadline=asked.moment(deadline, now)[0],
        work_s=asked.seconds(duration),
        zone=zone,
        provider=address(provider or settings.grid.providers or ""),
        interruptible=interruptible,
    )


def wait_for_clean(
    zone: str,
    *,
    duration: str,
    deadline: str,
    provider: str | None = None,
    poll_s: float = 300.0,
    sleep: Callable[[float], object] = time.sleep,
    now: Callable[[], datetime] = wall,
) -> datetime:
    """Return when the work had best start; the moment it is then.

    It plans anew each time it wakes, and returns in time for the deadline even where every
    forecast fails.

    Args:
        zone: Such as "DE".
        duration: How long the work takes: "2h".
        deadline: By when it is done: "2026-12-01T07:00Z", or "+12h" from now.
        provider: An address, or a file of intensities; those of the settings when None.
        poll_s: It sleeps no longer at a time, so that clocks that are set are seen. [s]
        sleep: Sleeps so many seconds.
        now: Tells the time.

    Raises:
        UsageError: a time cannot be read, or the work does not fit before the deadline.

    >>> wait_for_clean("DE", duration="1h", deadline="+1h").tzinfo is not None
    True
    """
    if poll_s <= 0:
        raise UsageError(f"it cannot look every {poll_s:g} s", fix="give a number above 0")
    question = clean(
        zone, duration=duration, deadline=deadline, provider=provider, interruptible=False, now=now
    )
    while (left := question.wait_s()) > 0:
        sleep(min(left, poll_s))
    return now()
