"""`negawatt plan`: when a job would run in each place, and in which it runs cleanest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from negawatt.actions.plan.sites import Spot, Spots
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind, weakest
from negawatt.decisions.when import Job, Schedule, schedule_without
from negawatt.decisions.where import Place, Ranked, Siting
from negawatt.decisions.where import choose as choose_place
from negawatt.ledger.footprint.water import Water
from negawatt.signals.ladder import Outlook
from negawatt.signals.series import Series

#: What is known of the hours ahead in a zone.
Look = Callable[[str], Outlook]
#: What electricity costs there; None leaves prices out.
Price = Callable[[str], Series | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One place.

    Args:
        place: Its name; that of the zone where places are zones.
        zone: Of its grid.
        schedule: When the job would run there.
        grams: Of running and of moving data there. [gCO2e]
        now: The same, started as soon as the data are there. [gCO2e]
        outlook: What that was chosen from; None where nothing is known.
        rung: From where that came, in words.
        remarks: What failed on the way, what is old, what was filled.
        transfer: Of moving the data. [gCO2e]
        water: Litres, on site and off site; None where nothing is said of the place's water.
        excluded: Why it may not be chosen; empty where it may.
    """

    place: str
    zone: str
    schedule: Schedule
    grams: Estimate
    now: Estimate
    outlook: Series | None
    rung: str
    remarks: tuple[str, ...] = ()
    transfer: Estimate | None = None
    water: Water | None = None
    excluded: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A share of what is saved beside running here and now. [gCO2e]"""

    name: str
    grams: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """All places, the cleanest that may be chosen first.

    Args:
        options: Places whose signal is of the same kind as here.
        here: The place that was named first: what the saving is told against.
        because: The choice of place and time, in words.
        would_change: What would make it another one.
        parts: What the place saves, and then the time.
        left_out: Places that cannot be set beside the others, with the reason.
    """

    options: tuple[Option, ...]
    here: str
    because: tuple[str, ...]
    would_change: tuple[str, ...]
    parts: tuple[Part, ...]
    left_out: tuple[str, ...] = ()

    @property
    def best(self) -> Option:
        """The cleanest."""
        return self.options[0]


def plan(
    job: Job, asked: Spots, look: Look, price: Price | None = None, price_weight: float = 0.0
) -> Planned:
    """Choose hours in each place, then the place.

    Args:
        job: What is run, told for the device and the building of the first place.
        asked: Where it may run, the place it would run at anyway first.
        look: Tells the hours ahead in a zone.
        price: Tells its prices.
        price_weight: Grams that saving a unit of money is worth. [gCO2e]

    Raises:
        UsageError: no place can run it in time.
    """
    seen = {spot.name: look(spot.zone) for spot in asked.spots}
    home = asked.spots[0]
    if not seen[home.name].known:
        return _blind(job, home, seen[home.name], [spot.name for spot in asked.spots[1:]])
    places, left_out = [], []
    for spot in asked.spots:
        if why := _unlike(home.name, spot.name, seen):
            left_out.append(why)
            continue
        options = {**spot.options, "price": price(spot.zone) if price else None}
        places.append(Place(name=spot.name, outlook=seen[spot.name].series, **options))
    found = choose_place(
        job,
        places,
        data=asked.data,
        latency_most_ms=asked.latency_most_ms,
        price_weight=price_weight,
    )
    spots = {spot.name: spot for spot in asked.spots}
    left_out += [f"{name} cannot run it: {why}" for name, why in found.impossible]
    options_ = tuple(_option(one, spots[one.place], seen[one.place]) for one in found.ranking)
    return Planned(
        options=options_,
        here=home.name,
        because=_because(found),
        would_change=(*found.would_change, *found.chosen.schedule.would_change),
        parts=_parts(found),
        left_out=tuple(left_out),
    )


def _blind(job: Job, home: Spot, found: Outlook, others: Sequence[str]) -> Planned:
    """Nothing is known here, so nothing can be set beside it: it runs at once."""
    why = "; ".join(found.remarks) or f"nothing is known of {home.zone}"
    schedule = schedule_without(job, why, zone=home.zone)
    return Planned(
        options=(
            Option(
                place=home.name,
                zone=home.zone,
                schedule=schedule,
                grams=schedule.grams,
                now=schedule.now,
                outlook=None,
                rung=str(found.rung),
                remarks=(schedule.fallback,),
            ),
        ),
        here=home.name,
        because=(schedule.because,),
        would_change=schedule.would_change,
        parts=(),
        left_out=tuple(f"{name} is not ranked: nothing is known of {home.name}" for name in others),
    )


def _unlike(home: str, name: str, seen: dict[str, Outlook]) -> str:
    """Why a place cannot be set beside home; empty when it can."""
    if not seen[name].known:
        return f"{name} is not ranked: nothing is known of it"
    try:
        seen[home].series.same_signal(seen[name].series)
    except UsageError as error:
        return f"{name} is not ranked: {error.what}"
    return ""


def _option(one: Ranked, spot: Spot, found: Outlook) -> Option:
    fallback = one.schedule.fallback
    return Option(
        place=one.place,
        zone=spot.zone,
        schedule=one.schedule,
        grams=one.grams,
        now=one.now,
        outlook=found.series,
        rung=str(found.rung),
        remarks=(*found.remarks, *([fallback] if fallback else [])),
        transfer=one.transfer if one.transfer.value else None,
        water=one.water if {"wue", "offsite"} & spot.options.keys() else None,
        excluded=one.excluded,
    )


def _because(found: Siting) -> tuple[str, ...]:
    told = [found.chosen.schedule.because]
    if len(found.ranking) > 1 or found.impossible:
        told.insert(0, f"{found.because}.")  # it begins with a place's own name
    home = found.at(found.home)
    best = found.chosen
    if home is not None and best is not home and best.grams.high >= home.grams.low:
        told.append(
            f"The intervals of {best.place} and {home.place} overlap: that {best.place} is cleaner"
            " is likely, not sure."
        )
    return tuple(told)


def _parts(found: Siting) -> tuple[Part, ...]:
    """Place first, then time: the saving beside running here and now, cut in two."""
    home, best = found.at(found.home), found.chosen
    waited = _difference(best.now, best.grams)
    time = Part(f"time (at {best.place}, from at once to the chosen hours)", waited)
    if home is None:
        return (time,)
    parts = [time, Part("all, beside here and now", _difference(home.now, best.grams))]
    if best is not home:
        moved = _difference(home.now, best.now)
        parts.insert(0, Part(f"place (from {home.place} to {best.place}, both at once)", moved))
    return tuple(parts)


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """One less another, whose errors may point the same way or not."""
    return replace(
        one,
        value=one.value - other.value,
        low=one.low - other.high,
        high=one.high - other.low,
        kind=weakest((one.kind, other.kind, Kind.MODELLED)),
    )
