"""How a site is run over the time its signal tells, and what each part of it saves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.site.building import figure
from negawatt.decisions.site.program import Solved, solve, starts
from negawatt.decisions.site.records import Beside, Column, Flows, Operation, Site

_GRAMS = "gCO2e"


def operate(site: Site) -> Operation:
    """Run a site at the fewest grams, money weighed in where the site says so.

    What is saved is told part by part, each beside the one before it: the panels, then the
    battery, then the moving of jobs. Poorer ways keep no limit of what the grid gives.

    Args:
        site: What there is.

    Raises:
        UsageError: nothing keeps all limits.

    >>> from datetime import UTC, datetime, timedelta
    >>> from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
    >>> from negawatt.signals.series import Series
    >>> grid = Series(
    ...     zone="DE",
    ...     topic=Topic.CARBON,
    ...     unit=GRAMS_PER_KWH,
    ...     basis=Basis(),
    ...     source="file",
    ...     status=Status.MEASURED,
    ...     start=datetime(2026, 6, 1, tzinfo=UTC),
    ...     step=timedelta(hours=1),
    ...     values=np.array([400.0, 300.0]),
    ... )
    >>> run = operate(Site(name="roof", intensity=grid, load_w=1000.0, pue=1.2, solar_w=600.0))
    >>> round(run.grams.value), {part: round(grams) for part, grams in run.saved.items()}
    (420, {'solar': 420, 'battery': 0, 'shifting': 0})
    """
    found = solve(site)
    loose = replace(site, import_w=None)
    now = run_now(loose)
    bare = replace(now, battery=None)
    ways = {
        "no solar, no battery, run now": replace(bare, solar_w=np.zeros(len(site.intensity))),
        "no battery, run now": bare,
        "run now": now,
        "no battery": replace(loose, battery=None),
        "no solar": replace(loose, solar_w=np.zeros(len(site.intensity))),
    }
    flows = {name: solve(way).flows for name, way in ways.items()}
    told = {name: emitted(way, flows[name]) for name, way in ways.items()}
    grams = emitted(site, found.flows)
    ladder = [told[name].value for name in list(ways)[:3]] + [grams.value]
    saved = dict(
        zip(
            ("solar", "battery", "shifting"),
            (before - after for before, after in pairwise(ladder)),
            strict=True,
        )
    )
    return Operation(
        site=site,
        flows=found.flows,
        grams=grams,
        wear=_wear(site, found.flows),
        cost=cost(site, found.flows),
        saved=saved,
        because=_because(site, found, told["no solar, no battery, run now"]),
        beside=tuple(
            Beside(what=name, grams=told[name], cost=cost(way, flows[name]))
            for name, way in ways.items()
        ),
        gap=found.gap,
        notes=_notes(site),
    )


def run_now(site: Site) -> Site:
    """The same site with every job run through from its release: part of the load."""
    load, step = site.load_w.copy(), site.intensity.step_s
    for job in site.jobs:
        begin = (job.release - site.start).total_seconds() / step
        end = (job.deadline - site.start).total_seconds() / step
        load += starts(job, begin, end, step, len(load))[:, [0]].toarray().ravel()
    return replace(site, load_w=load, jobs=())


def emitted(site: Site, flows: Flows) -> Estimate:
    """Of what is bought, less what exports are credited with, plus wear. [gCO2e]"""
    signal = site.intensity
    kwh = (flows.grid - site.avoided * flows.export) * signal.step_s / J_PER_KWH
    wear = _wear(site, flows)
    value = float(kwh @ signal.values)
    ends = [value]
    for column in (signal.low, signal.high):
        if column is not None:
            known = np.where(np.isfinite(column), column, signal.values)
            ends.append(float(kwh @ known))
    return Estimate(
        value=value + wear,
        low=min(ends) + wear,
        high=max(ends) + wear,
        unit=_GRAMS,
        kind=Kind.MODELLED,
        source=f"{signal.source}, {signal.zone} ({signal.basis})",
        boundary="electricity bought and wear of the battery",
        period_s=len(signal) * signal.step_s,
    )


def cost(site: Site, flows: Flows) -> float | None:
    """Of what is bought, in the currency of the price; None where there is none."""
    if site.price is None:
        return None
    return float(flows.grid @ site.price.values) * site.step_h / 1e6


def _wear(site: Site, flows: Flows) -> float:
    each = site.battery.wear_g_per_kwh if site.battery else 0.0
    return kwh(flows.discharge, site) * each


def kwh(power: Column, site: Site) -> float:
    """Energy of a column of powers. [kWh]"""
    return float(power.sum()) * site.step_h / 1e3


def _because(site: Site, found: Solved, bare: Estimate) -> str:
    """What is bought and when, in figures that can be checked."""
    flows = found.flows
    bought, needed = kwh(flows.grid, site), kwh(flows.facility, site)
    parts = [f"it needs {figure(needed)} kWh and buys {figure(bought)} kWh"]
    made = kwh(flows.solar, site)
    if made > 0:
        lost = kwh(flows.export + flows.curtailed, site)
        parts.append(
            f"the panels give {figure(made)} kWh, of which {1 - lost / made:.0%} is used here"
        )
    moved = kwh(flows.discharge, site)
    if moved > 1e-6 * needed:
        parts.append(f"the battery gives {figure(moved)} kWh back when power is dirtier or dark")
    elif site.battery:
        parts.append("the battery rests: what it loses or wears is more than it could save")
    if bought > 0:
        mean = float(flows.grid @ site.intensity.values) / float(flows.grid.sum())
        whole = bare.value / max(needed, 1e-12)
        parts.append(
            f"what is bought emits {figure(mean)} g/kWh; everything bought at once would emit {figure(whole)}"
        )
    return "; ".join(parts)


def _notes(site: Site) -> tuple[str, ...]:
    notes = []
    if any(job.interruptible and job.restart_s for job in site.jobs):
        notes.append("what restarting a job costs is not planned here")
    if any(job.idle_w or job.embodied_g_per_h for job in site.jobs):
        notes.append("hardware that is reserved while a job waits is not counted here")
    if site.price is not None and bool(
        (site.intensity.values + site.price_weight * site.price.values / 1e3 < 0).any()
    ):
        notes.append("steps whose weighted price is below 0 count as 0: nothing is burnt for money")
    battery = site.battery
    if battery and battery.ends_at < battery.initial_soc:
        notes.append("the battery may end emptier than it began: that energy is not counted")
    if site.avoided:
        notes.append(
            f"exports are credited with {site.avoided:.0%} of the grid's intensity, which is"
            " avoided elsewhere and no emission of this site"
        )
    return tuple(notes)
