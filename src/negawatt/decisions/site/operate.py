"""How a site is run over the time its signal tells, and what each part of it saves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.site.flows import Beside, Flows, Operation
from negawatt.decisions.site.program import solve, starts
from negawatt.decisions.site.reasons import because, gram_words, notes
from negawatt.decisions.site.records import Site

_GRAMS = "gCO2e"
_LATER = timedelta(hours=12)


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
        saving=share_saved(grams, told["no solar, no battery, run now"]),
        because=because(site, found, told["no solar, no battery, run now"].value),
        beside=tuple(
            Beside(what=name, grams=told[name], cost=cost(way, flows[name]))
            for name, way in ways.items()
        ),
        would_change=_would_change(loose, grams.value) if site.import_w is None else (),
        gap=found.gap,
        notes=notes(site),
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
    return float(flows.discharge.sum()) * site.step_h / 1e3 * each


def share_saved(grams: Estimate, bare: Estimate) -> Estimate:
    """Of what it would be, with the ends taken alike: a dirtier grid makes both dirtier. [1]"""
    pairs = [(grams.value, bare.value), (grams.low, bare.low), (grams.high, bare.high)]
    shares = [1 - one / other if other > 0 else 0.0 for one, other in pairs]
    return Estimate(
        value=shares[0], low=min(shares), high=max(shares), unit="1", kind=Kind.MODELLED,
        source=grams.source,
    )  # fmt: skip


def _would_change(site: Site, grams: float) -> tuple[str, ...]:
    """What a tenth more of each part, and half a day more for the jobs, would save."""
    ways: dict[str, Site] = {}
    if bool(site.solar_w.any()):
        ways["a tenth more solar"] = replace(site, solar_w=1.1 * site.solar_w)
    if site.battery and site.battery.capacity_j > 0:
        old = site.battery
        larger = replace(
            old, capacity_j=1.1 * old.capacity_j, charge_w=1.1 * old.charge_w,
            discharge_w=1.1 * old.discharge_w,
        )  # fmt: skip
        ways["a tenth more battery"] = replace(site, battery=larger)
    if any(job.deadline + _LATER <= site.intensity.end for job in site.jobs):
        later = (
            replace(job, deadline=min(job.deadline + _LATER, site.intensity.end))
            for job in site.jobs
        )
        ways[f"deadlines {_LATER // timedelta(hours=1)} h later"] = replace(site, jobs=tuple(later))
    return tuple(
        f"{what} would save {gram_words(grams - emitted(way, solve(way).flows).value)} more"
        for what, way in ways.items()
    )
