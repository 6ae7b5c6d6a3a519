"""One site told as a whole: flows, grams and litres, and what each part of it saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.site.building import YEAR_H, Aim, Limits, Making, Sizing
from negawatt.decisions.site.cooling import Cooled, Mode
from negawatt.decisions.site.flows import Beside, Operation
from negawatt.decisions.site.operate import emitted, operate, run_now, share_saved
from negawatt.decisions.site.program import solve
from negawatt.decisions.site.reasons import kwh
from negawatt.decisions.site.records import Column, Site
from negawatt.decisions.site.rehearse import rehearse, yesterday
from negawatt.decisions.site.size import size
from negawatt.decisions.site.water import SiteWater, site_water

MODES = {
    Mode.OUTSIDE_AIR: "outside air",
    Mode.DRY_COOLER: "dry cooler",
    Mode.EVAPORATION: "evaporation",
    Mode.CHILLER: "chiller",
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ByWeather:
    """A site's cooling by weather, at the best values of its plant and at their ends.

    Args:
        usual: At the best values.
        low: With the plant that draws least.
        high: With the one that draws most.
        always: As usual, with the chiller always on: what free cooling is compared with.
        envelope: The class of air that servers may take in.
    """

    usual: Cooled
    low: Cooled
    high: Cooled
    always: Cooled
    envelope: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Described:
    """A site with all that is to be told of it.

    Args:
        site: Its PUE is that of the cooling, where there is one.
        cooling: None where the PUE is stated.
        wue: Water taken on site, where no weather tells it; a band when None. [L/kWh]
        offsite: Water of the electricity bought; a band when None. [L/kWh]
        stress: World's mean litres that a litre there counts as. [1]
        yield_per_kwp: Output of one kilowatt peak; None where no size is asked for. [kW/kWp]
        making: What panels and batteries cost to make; not told when None.
        solar_kwp: Panels that are there. [kWp]
        limits: What may be built.
        aim: What the size shall make least.
        notes: Where things came from: solar by a model, intensity of a year.
    """

    site: Site
    cooling: ByWeather | None = None
    wue: Estimate | None = None
    offsite: Estimate | None = None
    stress: float | None = None
    yield_per_kwp: Column | None = None
    making: Making | None = None
    solar_kwp: float = 0.0
    limits: Limits | None = None
    aim: Aim = "carbon"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What there is to say of a site, in plain values.

    Args:
        name: Of the site.
        source: Of the intensities.
        start: When the time told begins.
        hours: How long it is. [h]
        energy: Bought, solar, used, out of the battery and so on. [kWh]
        grams: Of what is bought and of the battery's wear. [gCO2e]
        making: On top, of making panels and battery: this time's part of their lives, less the wear
            that is counted; None where nobody told. [gCO2e]
        cost: Of what is bought; None without a price.
        saved: By part, each beside the one before: free cooling, solar, battery, shifting. [gCO2e]
        without: Grams with none of the parts. [gCO2e]
        saving: Share of them that all parts save. [1]
        pue: Mean of the time. [1]
        ways: Share of the time that each way of cooling is taken; empty where the PUE is stated.
        envelope: Class of air that servers may take in; empty likewise.
        onsite: Water taken at the site. [L]
        offsite: Water of the electricity bought. [L]
        weighted: What is taken at the site, weighted by scarcity; None where nobody told. [L]
        foreseen: Share of the battery's saving that planning each day by the day before would have
            kept; None where it is not rehearsed. [1]
        because: The reason, for people.
        would_change: What a little more of each part would save.
        beside: Poorer ways of running it.
        steps: Times and powers, column by column. [W], stored energy in [J]
        sizing: The best size; None where none was asked for.
        notes: What was left out, assumed or modelled.
    """

    name: str
    source: str
    start: datetime
    hours: float
    energy: Mapping[str, float]
    grams: Estimate
    making: Estimate | None
    cost: float | None
    saved: Mapping[str, float]
    without: Estimate
    saving: Estimate
    foreseen: float | None
    pue: Estimate
    ways: Mapping[str, float]
    envelope: str
    onsite: Estimate
    offsite: Estimate
    weighted: Estimate | None
    because: str
    would_change: tuple[str, ...]
    beside: tuple[Beside, ...]
    steps: Mapping[str, tuple[float, ...]]
    sizing: Sizing | None = None
    notes: tuple[str, ...] = ()


def account(told: Described) -> Account:
    """Run a site at the fewest grams, and tell it as a whole.

    Args:
        told: What there is.

    Raises:
        UsageError: nothing keeps all limits, or a size was asked for and cannot be found.
    """
    run = operate(told.site)
    bare = next(way.grams for way in run.beside if way.what.startswith("no solar, no"))
    without = _without(told, bare)
    used = _water(told, run)
    sizing = None
    if told.yield_per_kwp is not None and told.making is not None:
        sizing = size(told.site, told.yield_per_kwp, told.making, told.limits, aim=told.aim)
    site = told.site
    return Account(
        name=site.name,
        source=run.grams.source,
        start=site.start,
        hours=len(site.intensity) * site.step_h,
        energy=_energy(run),
        grams=_grams(told, run),
        making=_making(told, run),
        cost=run.cost,
        saved={"free cooling": without.value - bare.value, **run.saved},
        without=without,
        saving=share_saved(run.grams, without),
        foreseen=_foreseen(told.site),
        pue=_pue(told, run),
        ways=_ways(told.cooling),
        envelope=told.cooling.envelope if told.cooling else "",
        onsite=used.used.onsite,
        offsite=used.used.offsite,
        weighted=used.weighted,
        because=run.because,
        would_change=run.would_change,
        beside=run.beside,
        steps=_steps(run),
        sizing=sizing,
        notes=(*told.notes, *run.notes),
    )


def _foreseen(site: Site) -> float | None:
    """Of knowing the future, what the day before is worth; None for less than three days. [1]"""
    day = 24 / site.step_h
    whole = abs(day - round(day)) < 1e-6
    if site.battery is None or site.price_weight or not whole or len(site.intensity) < 3 * day:
        return None
    return rehearse(site, yesterday(site), horizon=2 * round(day), every=round(day)).kept


def _without(told: Described, bare: Estimate) -> Estimate:
    """Grams with nothing done: jobs at once, all of it bought, the chiller always on. [gCO2e]"""
    if told.cooling is None:
        return bare
    plain = replace(
        run_now(told.site),
        pue=told.cooling.always.pue,
        solar_w=np.zeros(len(told.site.intensity)),
        battery=None,
        import_w=None,
    )
    return emitted(plain, solve(plain).flows)


def _grams(told: Described, run: Operation) -> Estimate:
    """With the ends of the cooling plant beside those of the intensity. [gCO2e]"""
    if told.cooling is None:
        return run.grams
    ends = [run.grams.low, run.grams.high]
    for plant in (told.cooling.low, told.cooling.high):
        other = replace(told.site, pue=plant.pue, import_w=None)
        found = emitted(other, solve(other).flows)
        ends += [found.low, found.high]
    return replace(run.grams, low=min(ends), high=max(ends))


def _making(told: Described, run: Operation) -> Estimate | None:
    """Of making what is there, the part of this time that wear does not count already. [gCO2e]"""
    made, site = told.making, told.site
    if made is None:
        return None
    years = len(site.intensity) * site.step_h / YEAR_H
    kwh_held = site.battery.capacity_j / J_PER_KWH if site.battery else 0.0
    ends = []
    for end, last in (("value", "value"), ("low", "high"), ("high", "low")):
        solar = told.solar_kwp * getattr(made.solar_kg_per_kwp, end)
        aged = kwh_held * getattr(made.battery_kg_per_kwh, end)
        panels = 1e3 * years * solar / getattr(made.solar_years, last)
        battery = 1e3 * years * aged / getattr(made.battery_years, last)
        ends.append(panels + max(0.0, battery - run.wear))
    return Estimate(
        value=ends[0], low=ends[1], high=ends[2], unit="gCO2e", kind=Kind.ASSUMED,
        source=f"{made.solar_kg_per_kwp.source} + {made.battery_kg_per_kwh.source}",
        boundary="making panels and battery",
    )  # fmt: skip


def _water(told: Described, run: Operation) -> SiteWater:
    dt = told.site.intensity.step_s
    it, bought = run.flows.it * dt, run.flows.grid * dt
    cooling = told.cooling
    if cooling is not None:
        return site_water(
            it, bought, wue=cooling.usual.wue, wue_ends=(cooling.low.wue, cooling.high.wue),
            offsite=told.offsite, stress=told.stress,
        )  # fmt: skip
    wue = None if told.wue is None else np.full(len(it), told.wue.value)
    return site_water(it, bought, wue=wue, offsite=told.offsite, stress=told.stress)


def _pue(told: Described, run: Operation) -> Estimate:
    """Weighted by what IT equipment draws. [1]"""
    columns = [told.site.pue]
    if told.cooling is not None:
        columns += [told.cooling.low.pue, told.cooling.high.pue]
    it = run.flows.it
    whole = float(it.sum())
    means = [
        float(column @ it) / whole if whole > 0 else float(column.mean()) for column in columns
    ]
    return Estimate(
        value=means[0], low=min(means), high=max(means), unit="1",
        kind=Kind.MODELLED if told.cooling else Kind.ASSUMED,
        source="cooling by weather" if told.cooling else "stated",
    )  # fmt: skip


def _ways(cooling: ByWeather | None) -> dict[str, float]:
    if cooling is None:
        return {}
    return {word: cooling.usual.share(mode) for mode, word in MODES.items()}


def _energy(run: Operation) -> dict[str, float]:
    flows, site = run.flows, run.site
    return {
        "IT equipment": kwh(flows.it, site),
        "facility": kwh(flows.facility, site),
        "bought": kwh(flows.grid, site),
        "solar": kwh(flows.solar, site),
        "into the battery": kwh(flows.charge, site),
        "out of the battery": kwh(flows.discharge, site),
        "exported": kwh(flows.export, site),
        "curtailed": kwh(flows.curtailed, site),
    }


def _steps(run: Operation) -> dict[str, tuple[float, ...]]:
    flows = run.flows
    columns = {
        "intensity_g_per_kwh": run.site.intensity.values,
        "grid_w": flows.grid,
        "solar_w": flows.solar,
        "charge_w": flows.charge,
        "discharge_w": flows.discharge,
        "export_w": flows.export,
        "curtailed_w": flows.curtailed,
        "it_w": flows.it,
        "facility_w": flows.facility,
        "stored_j": flows.soc_j[1:],
        **{f"job:{name}_w": power for name, power in flows.jobs.items()},
    }
    return {name: tuple(column.round(6).tolist()) for name, column in columns.items()}
