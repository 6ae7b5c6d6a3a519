"""From what was asked of `negawatt plan` to the hours and the place that were chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from negawatt import settings as configuration
from negawatt.core.errors import UsageError
from negawatt.core.grid import Topic
from negawatt.wiring.grid import Named, outlook

if TYPE_CHECKING:
    from negawatt.actions.plan import Planned
    from negawatt.decisions.when import Job, Schedule
    from negawatt.signals.ladder import Outlook
    from negawatt.signals.series import Series


def plan(
    job: Job,
    zones: Sequence[str] = (),
    *,
    provider: Named | None = None,
    price_weight: float = 0.0,
    now: datetime | None = None,
) -> Planned:
    """Choose when a job runs in each zone, and in which it runs.

    Args:
        job: What is run.
        zones: Where it may run, the usual one first; the one of the settings when empty.
        provider: Who tells the hours; those of the settings when None.
        price_weight: Grams that a unit of money is worth; 0 leaves prices out. [gCO2e]
        now: A moment to answer as of, for replays; the clock's own when None.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.

    >>> from datetime import UTC, datetime, timedelta
    >>> from negawatt.decisions.when import Job
    >>> noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    >>> job = Job(
    ...     name="train",
    ...     work_s=4 * 3600,
    ...     power_w=300,
    ...     release=noon,
    ...     deadline=noon + timedelta(hours=24),
    ... )
    >>> found = plan(job, ["PL", "FR"], provider="", now=noon)
    >>> found.best.zone, found.best.schedule.end <= job.deadline
    ('FR', True)
    """
    from negawatt.actions.plan import plan as choose_all

    settings = configuration.load()
    named = list(zones) or ([settings.grid.zone] if settings.grid.zone else [])

    def look(zone: str) -> Outlook:
        return outlook(
            zone, job.release, job.deadline, settings=settings, provider=provider, now=now
        )

    def choose(job: Job, found: Outlook, zone: str) -> Schedule:
        price = _price(zone, job, provider, now) if price_weight else None
        return scheduler(price=price, price_weight=price_weight)(job, found, zone)

    return choose_all(job, named, look, choose)


def scheduler(
    *, price: Series | None = None, price_weight: float = 0.0
) -> Callable[[Job, Outlook, str], Schedule]:
    """Chooses the hours of a job from an outlook; without one, it runs at once."""
    from negawatt.decisions.when import schedule, schedule_without

    def choose(job: Job, found: Outlook, zone: str) -> Schedule:
        if not found.known:
            return schedule_without(job, "; ".join(found.remarks) or "nothing is known", zone=zone)
        return schedule(job, found.series, price=price, price_weight=price_weight, zone=zone)

    return choose


def _price(zone: str, job: Job, provider: Named | None, now: datetime | None) -> Series:
    found = outlook(zone, job.release, job.deadline, provider=provider, topic=Topic.PRICE, now=now)
    if not found.known:
        raise UsageError(
            f"nobody tells prices of {zone}: {'; '.join(found.remarks)}",
            fix="name a provider that does (`negawatt grid --providers`), or leave --price-weight out",
        )
    return found.series


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
