"""Whether an order should run at this moment. Pure: the same position gives the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from negawatt.actions.run.orders import Order, Phase, Progress, left_s
from negawatt.core.grid import utc


@dataclass(frozen=True, slots=True)
class Wish:
    """What an order would do if it were alone.

    Args:
        because: For people.
        run: Run now.
        forced: There is no room left to wait.
        firm: It runs and may not be paused.
    """

    because: str
    run: bool = True
    forced: bool = False
    firm: bool = False


def last_safe(order: Order, progress: Progress) -> datetime:
    """The moment from which it has to run without a pause, the guard taken off."""
    again = order.restart_s if progress.phase is Phase.PAUSED else 0.0
    need = left_s(order, progress) + again + order.guard_s
    return order.latest - timedelta(seconds=need)


def wish(order: Order, progress: Progress, now: datetime, safe: datetime | None = None) -> Wish:
    """Whether it should run now.

    Args:
        order: What was asked.
        progress: What has become of it.
        now: The moment of the signal.
        safe: When it has to run at the latest; that of the order alone when None.
    """
    now = utc(now)
    running = progress.phase in {Phase.RUNNING, Phase.STARTING}
    started = running or progress.phase is Phase.PAUSED
    if progress.forced or now >= (safe or last_safe(order, progress)):
        return Wish("it has to run from now on to keep its deadline", forced=True, firm=running)
    if running and not order.interruptible:
        return Wish("it runs, and may not be paused", firm=True)
    if running and progress.stint_s < order.min_run_s:
        return Wish("it has not run long enough to be paused", firm=True)
    if started and left_s(order, progress) <= 0:
        return Wish(
            "it takes longer than was told, and runs on to its end", forced=True, firm=running
        )
    if progress.planned_at is None:
        return Wish("it is not planned yet", run=False)
    for stretch in progress.stretches:
        if stretch.start <= now < stretch.end:
            return Wish(progress.because or "it is its time")
    coming = next((stretch for stretch in progress.stretches if stretch.start > now), None)
    if coming is not None:
        return Wish(f"it waits until {coming.start:%Y-%m-%d %H:%M} UTC", run=False)
    return Wish("nothing better is planned")


def next_change(order: Order, progress: Progress, now: datetime, safe: datetime) -> datetime:
    """When the answer may become another one; never before `now`."""
    # while it runs its last safe moment moves on with the clock, and is never reached
    edges = [] if progress.phase is Phase.RUNNING else [safe]
    for stretch in progress.stretches:
        edges += [stretch.start, stretch.end]
    if progress.phase is Phase.RUNNING and progress.stint_s < order.min_run_s:
        edges.append(now + timedelta(seconds=order.min_run_s - progress.stint_s))
    return min((edge for edge in edges if edge > now), default=order.latest)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may run at a time; None for no limit.

    >>> Limits(slots=2).holds(jobs=2, power_w=900)
    True
    """

    slots: int | None = None
    power_w: float | None = None

    def holds(self, jobs: int, power_w: float) -> bool:
        """True when so many jobs of that power together may run. [W]"""
        return (self.slots is None or jobs <= self.slots) and (
            self.power_w is None or power_w <= self.power_w + 1e-9
        )


@dataclass(frozen=True, slots=True)
class Need:
    """A job that has still to run: by when, how long, at what power."""

    id: int
    latest: datetime
    seconds: float
    power_w: float


#: From when to when something runs, at what power. [W]
Lain = tuple[datetime, datetime, float]


def latest_starts(
    needs: Sequence[Need], limits: Limits, firm: Sequence[Lain] = ()
) -> dict[int, datetime]:
    """For each job, when it has to run at the latest so that all others can too.

    Placed backwards from the deadlines, the last one first, each as late as slots and power
    allow beside those that lie already. Where even that begins in the past, somebody's deadline
    cannot be kept, and those jobs are to run as soon as anything is free.

    Args:
        needs: What has still to be placed.
        limits: What may run at a time.
        firm: What runs already and will not be paused.

    >>> from datetime import UTC
    >>> end = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> two = [Need(1, end, 3600, 100), Need(2, end, 3600, 100)]
    >>> [found.hour for found in latest_starts(two, Limits(slots=1)).values()]
    [11, 10]
    """
    lain = list(firm)
    found: dict[int, datetime] = {}
    for need in sorted(needs, key=lambda one: (one.latest, -one.id), reverse=True):
        length = timedelta(seconds=need.seconds)
        ends = sorted({need.latest, *(s for s, _, _ in lain if s < need.latest)}, reverse=True)
        end = next(
            (e for e in ends if _fits(lain, (e - length, e), need.power_w, limits)), ends[-1]
        )
        found[need.id] = end - length
        lain.append((end - length, end, need.power_w))
    return dict(sorted(found.items()))


def _fits(
    lain: Sequence[Lain],
    place: tuple[datetime, datetime],
    power_w: float,
    limits: Limits,
) -> bool:
    start, end = place
    beside = [one for one in lain if one[0] < end and one[1] > start]
    for moment in (start, *(one[0] for one in beside if one[0] > start)):
        at_once = [one for one in beside if one[0] <= moment < one[1]]
        if not limits.holds(len(at_once) + 1, sum(one[2] for one in at_once) + power_w):
            return False
    return True
