"""Which place, then which time: placement first, because it moves more grams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.when import Job, Schedule
from negawatt.decisions.when.schedule import schedule
from negawatt.decisions.where.reasons import because, would_change
from negawatt.decisions.where.records import Data, Place, Ranked, Siting
from negawatt.ledger.footprint.water import water
from negawatt.signals.series import Series


class Planner(Protocol):
    """What chooses the time at one place; `negawatt.decisions.when.schedule` is one."""

    def __call__(
        self,
        job: Job,
        outlook: Series,
        *,
        price: Series | None = None,
        price_weight: float = 0.0,
        zone: str | None = None,
    ) -> Schedule:
        """When the job would run there."""


def choose(
    job: Job,
    sites: Sequence[Place],
    *,
    home: str | None = None,
    data: Data | None = None,
    latency_most_ms: float | None = None,
    price_weight: float = 0.0,
    plan: Planner = schedule,
) -> Siting:
    """Where a job had best run, and when there.

    At every place the best time is looked for; the place with the fewest grams is chosen, data
    moved included, home when it is as good.

    Args:
        job: What is to run; its power and times are those of its own device, without the building.
        sites: Where it could; signals of one kind.
        home: Name of the place where its data lie; the first when None.
        data: What has to be moved; nothing when None.
        latency_most_ms: Places beyond, or of unknown latency, may not be chosen. [ms]
        price_weight: Grams that saving one unit of the currency is worth. [gCO2e/CUR]
        plan: What chooses the time.

    Raises:
        UsageError: no place, an unknown home, signals of several kinds, or no place that keeps
            latency and deadline; the message names it.
    """
    by_name = _named(sites)
    here = by_name.get(home) if home is not None else sites[0]
    if here is None:
        raise UsageError(
            f"the home of {job.name} is {home}, which is no place here",
            fix=f"name one of {', '.join(by_name)}",
        )
    asked = _Asked(job, here, data, latency_most_ms, price_weight, plan)
    found: list[Ranked] = []
    impossible: list[tuple[str, str]] = []
    for place in [here, *(place for place in sites if place is not here)]:
        before = found[0].now.value if found and found[0].place == here.name else None
        try:
            found.append(asked.ranked(place, before))
        except UsageError as error:
            impossible.append((place.name, error.what))
    allowed = [one for one in found if not one.excluded]
    if not allowed:
        raise _nobody(job, found, impossible)
    ordered = sorted(allowed, key=lambda one: one.objective)
    best = next(one for one in allowed if not _worse(one.objective, ordered[0].objective))
    ranking = (best, *(one for one in ordered if one is not best))
    ranking += tuple(one for one in found if one.excluded)
    told = Siting(
        job=job,
        home=here.name,
        chosen=best,
        ranking=ranking,
        impossible=tuple(impossible),
        saving=_saving(best, found, here.name),
        because="",
        would_change=(),
        data=data,
    )
    return replace(told, because=because(told), would_change=would_change(told))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of every place alike."""

    job: Job
    here: Place
    data: Data | None
    latency_most_ms: float | None
    price_weight: float
    plan: Planner

    def ranked(self, place: Place, before: float | None) -> Ranked:
        away = self.data if place is not self.here else None
        job = at_place(self.job, place, away)
        planned = self.plan(
            job, place.outlook, price=place.price, price_weight=self.price_weight, zone=place.name
        )
        moved = self._transfer(place, away)
        now = planned.now.value + moved.value
        it = Estimate.exact(
            job.work_s * job.power_w / place.pue, unit="J", source="planned", kind=Kind.MODELLED
        )
        pue = Estimate.exact(place.pue, unit="1", source="stated", kind=Kind.ASSUMED)
        return Ranked(
            place=place.name,
            schedule=planned,
            transfer=moved,
            water=water(it, pue=pue, onsite=place.wue, offsite=place.offsite),
            # At home, before is what it would be at once: nothing is saved by moving.
            place_part=0.0 if place is self.here else None if before is None else before - now,
            time_part=planned.now.value - planned.grams.value,
            excluded=self._excluded(place),
            price_weight=self.price_weight,
        )

    def _transfer(self, place: Place, away: Data | None) -> Estimate:
        """Of moving the data: half of the way is on each grid, taken at its mean. [gCO2e]"""
        if away is None:
            return Estimate.exact(0.0, unit="gCO2e", source="nothing is moved", kind=Kind.MODELLED)
        grids = [_mean(place.outlook, self.job), _mean(self.here.outlook, self.job)]
        grams = away.total * sum(grids) / len(grids) / J_PER_KWH
        return replace(away.network.scaled(grams, unit="gCO2e"), boundary="network")

    def _excluded(self, place: Place) -> str:
        most = self.latency_most_ms
        if most is None:
            return ""
        if place.latency_ms is None:
            return "its latency is not known"
        if place.latency_ms > most:
            return f"its latency is {place.latency_ms:g} ms, {most:g} ms are allowed"
        return ""


def at_place(job: Job, place: Place, data: Data | None = None) -> Job:
    """The job as it would be there: longer on slower devices, with the power of the building.

    Args:
        job: As it was told, for its own device.
        place: Where.
        data: That has to be there first, and back by the deadline.

    Raises:
        UsageError: it would end after its deadline.
    """
    into = out = 0.0
    if data is not None and data.bandwidth is not None:
        into, out = data.bytes_in / data.bandwidth, data.bytes_out / data.bandwidth
    made = place.embodied_g_per_h
    return replace(
        job,
        work_s=job.work_s / place.speed,
        work_high_s=None if job.work_high_s is None else job.work_high_s / place.speed,
        power_w=job.power_w * place.energy * place.speed * place.pue,
        idle_w=job.idle_w * place.pue,
        release=job.release + timedelta(seconds=into),
        deadline=job.deadline - timedelta(seconds=out),
        embodied_g_per_h=job.embodied_g_per_h if made is None else made,
    )


def _named(sites: Sequence[Place]) -> dict[str, Place]:
    if not sites:
        raise UsageError("there is no place to choose from", fix="give at least one")
    by_name = {place.name: place for place in sites}
    if len(by_name) < len(sites):
        raise UsageError("two places have one name", fix="give each a name of its own")
    for place in sites:
        sites[0].outlook.same_signal(place.outlook)
    return by_name


def _mean(outlook: Series, job: Job) -> float:
    """Of the grid while the job may run, as far as it is known. [gCO2e/kWh]"""
    values = outlook.window(job.release, job.deadline).values
    if not bool(np.isfinite(values).any()):
        raise UsageError(
            f"nothing is known of {outlook.zone} while {job.name} may run", fix="give an outlook"
        )
    return float(np.nanmean(values))


def _worse(one: float, other: float) -> bool:
    return one > other + 1e-9 * abs(other)


def _saving(best: Ranked, found: Sequence[Ranked], home: str) -> Estimate | None:
    """Share of home's grams, had it run there at once; ends pair the unlike ones."""
    base = next((one.now for one in found if one.place == home), None)
    if base is None or not base.value > 0:
        return None
    least = base.low if base.low > 0 else base.value
    return Estimate(
        value=1 - best.grams.value / base.value,
        low=1 - max(best.grams.high / least, best.grams.value / base.value),
        high=1 - best.grams.low / base.high,
        unit="1",
        kind=Kind.MODELLED,
        source=f"beside {home} at once",
    )


def _nobody(job: Job, found: list[Ranked], impossible: list[tuple[str, str]]) -> UsageError:
    told = [f"{one.place}: {one.excluded}" for one in found]
    told += [f"{name}: {why}" for name, why in impossible]
    return UsageError(
        f"no place can run {job.name}: {'; '.join(told)}",
        fix="allow more latency, move the deadline, or name other places",
    )
