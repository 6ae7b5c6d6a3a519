"""`negawatt plan`: when a job would run in each zone, and in which it runs cleanest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.decisions.when import Job, Schedule
from negawatt.signals.ladder import Outlook
from negawatt.signals.series import Series

#: What is known of the hours ahead in a zone.
Look = Callable[[str], Outlook]
#: Chooses the hours in one zone.
Choose = Callable[[Job, Outlook, str], Schedule]


@dataclass(frozen=True, slots=True)
class Option:
    """One zone.

    Args:
        zone: Its code.
        schedule: When the job would run there.
        outlook: What that was chosen from; None where nothing is known.
        rung: From where that came, in words.
        remarks: What failed on the way, what is old, what was filled.
    """

    zone: str
    schedule: Schedule
    outlook: Series | None
    rung: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A share of what is saved beside running here and now. [gCO2e]"""

    name: str
    grams: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """All zones, the cleanest first.

    Args:
        options: Zones whose signal is of the same kind as here.
        here: The zone that was named first: what the saving is told against.
        because: The choice of place and time, in words.
        parts: What the place saves, and then the time.
        left_out: Zones that cannot be set beside the others, with the reason.
    """

    options: tuple[Option, ...]
    here: str
    because: tuple[str, ...]
    parts: tuple[Part, ...]
    left_out: tuple[str, ...] = ()

    @property
    def best(self) -> Option:
        """The cleanest."""
        return self.options[0]


def plan(job: Job, zones: Sequence[str], look: Look, choose: Choose) -> Planned:
    """Choose hours in each zone, then the zone.

    Args:
        job: What is run; the same in every zone.
        zones: Where it may run, the one it would run in anyway first.
        look: Tells the hours ahead.
        choose: Chooses among them.

    Raises:
        UsageError: no zone is named.
    """
    if not zones:
        raise UsageError(
            "no zone is named", fix="give --zone DE, or set grid.zone (`negawatt settings`)"
        )
    told = [_option(job, zone, look, choose) for zone in dict.fromkeys(zones)]
    here = told[0]
    alike, left_out = [here], []
    for option in told[1:]:
        if why := _unlike(here, option):
            left_out.append(why)
        else:
            alike.append(option)
    alike.sort(key=lambda one: one.schedule.grams.value)  # stable: of equals the first named
    best = alike[0]
    return Planned(
        options=tuple(alike),
        here=here.zone,
        because=_because(here, best, alike),
        parts=_parts(here, best),
        left_out=tuple(left_out),
    )


def _option(job: Job, zone: str, look: Look, choose: Choose) -> Option:
    found = look(zone)
    schedule = choose(job, found, zone)
    remarks = (*found.remarks, *([schedule.fallback] if schedule.fallback else []))
    return Option(zone, schedule, found.series if found.known else None, str(found.rung), remarks)


def _unlike(here: Option, other: Option) -> str:
    """Why two zones cannot be set beside each other; empty when they can."""
    if here.outlook is None or other.outlook is None:
        dark = other if other.outlook is None else here
        return f"{other.zone} is not ranked: nothing is known of {dark.zone}"
    try:
        here.outlook.same_signal(other.outlook)
    except UsageError as error:
        return f"{other.zone} is not ranked: {error.what}"
    return ""


def _because(here: Option, best: Option, options: Sequence[Option]) -> tuple[str, ...]:
    told = []
    if len(options) > 1:
        ranked = ", ".join(f"{one.zone} {one.schedule.grams.value:.4g} g" for one in options)
        told.append(
            f"{best.zone} emits least of {len(options)} zones, each at its own best hours: {ranked}."
        )
        if best is not here and best.schedule.grams.high >= here.schedule.grams.low:
            told.append(
                f"The intervals of {best.zone} and {here.zone} overlap: that it is cleaner is"
                " likely, not sure."
            )
    told.append(best.schedule.because)
    return tuple(told)


def _parts(here: Option, best: Option) -> tuple[Part, ...]:
    """Place first, then time: the saving beside running here and now, cut in two."""
    parts = []
    if best is not here:
        moved = _difference(here.schedule.now, best.schedule.now)
        parts.append(Part(f"place ({here.zone} to {best.zone}, both at once)", moved))
    waited = _difference(best.schedule.now, best.schedule.grams)
    parts.append(Part(f"time (in {best.zone}, from at once to the chosen hours)", waited))
    whole = _difference(here.schedule.now, best.schedule.grams)
    return (*parts, Part(f"both, beside {here.schedule.now.value:.4g} g here and now", whole))


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """One less another, whose errors may point the same way or not."""
    return replace(
        one,
        value=one.value - other.value,
        low=one.low - other.high,
        high=one.high - other.low,
        kind=weakest((one.kind, other.kind, Kind.MODELLED)),
    )
