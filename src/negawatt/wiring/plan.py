"""From what was asked of `negawatt plan` to the hours and the place that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration
from negawatt.core.errors import UsageError
from negawatt.core.grid import Topic
from negawatt.wiring.grid import Named, outlook

if TYPE_CHECKING:
    from negawatt.actions.plan.choose import Planned
    from negawatt.decisions.when import Job
    from negawatt.signals.ladder import Outlook
    from negawatt.signals.series import Series


def plan(
    job: Job,
    zones: Sequence[str] = (),
    *,
    sites: Path | None = None,
    provider: Named | None = None,
    price_weight: float = 0.0,
    now: datetime | None = None,
) -> Planned:
    """Choose when a job runs in each place, and in which it runs.

    Args:
        job: What is run.
        zones: Where it may run, the usual one first; the one of the settings when empty.
        sites: A file of places instead, with their buildings, devices and the data to be moved.
        provider: Who tells the hours; those of the settings when None.
        price_weight: Grams that saving a unit of money is worth; 0 leaves prices out. [gCO2e]
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
    >>> found.best.place, found.best.schedule.end <= job.deadline
    ('FR', True)
    """
    from negawatt.actions.plan import sites as places
    from negawatt.actions.plan.choose import plan as choose

    settings = configuration.load()
    if sites is not None and zones:
        raise UsageError("zones and a file of sites are both given", fix="give one of them")
    named = tuple(zones) or ((settings.grid.zone,) if settings.grid.zone else ())
    asked = places.read(sites) if sites is not None else places.of_zones(named)

    def look(zone: str) -> Outlook:
        return outlook(
            zone, job.release, job.deadline, settings=settings, provider=provider, now=now
        )

    def price(zone: str) -> Series:
        found = outlook(
            zone, job.release, job.deadline, provider=provider, topic=Topic.PRICE, now=now
        )
        if not found.known:
            raise UsageError(
                f"nobody tells prices of {zone}: {'; '.join(found.remarks)}",
                fix="name a provider that does (`negawatt grid --providers`), or leave"
                " --price-weight out",
            )
        return found.series

    return choose(job, asked, look, price if price_weight else None, price_weight)


def example() -> str:
    """A file of sites to begin with."""
    from negawatt.actions.plan.sites import example as shown

    return shown()


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
