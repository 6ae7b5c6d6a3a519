"""A site run on what could have been foreseen, told by what came: the honest figure.

Every so often a plan is made from the outlook of that moment, and its first steps are carried out.
The battery buys what was planned to be bought and gives what was planned, as far as it can; all
surplus that comes is stored while there is room, and the grid covers the rest. Jobs are not moved
here: they run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.site.flows import Flows
from negawatt.decisions.site.operate import emitted, run_now
from negawatt.decisions.site.program import solve
from negawatt.decisions.site.records import Battery, Column, Site

#: From the number of the first step and of the one past the last: solar [W] and intensity
#: [gCO2e/kWh] as foreseen when the first begins.
Outlook = Callable[[int, int], tuple[Column, Column]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rehearsed:
    """A battery on foreseen power, beside none and beside one that knew the future.

    Args:
        flows: As they came.
        grams: Of them, and of filling the battery up to where it shall end, in the dirtiest step.
            [gCO2e]
        without: Without a battery. [gCO2e]
        oracle: With the future known. [gCO2e]
    """

    flows: Flows
    grams: Estimate
    without: Estimate
    oracle: Estimate

    @property
    def kept(self) -> float | None:
        """Share of what knowing the future would save; None where it saves nothing. [1]"""
        most = self.without.value - self.oracle.value
        return (self.without.value - self.grams.value) / most if most > 1e-9 else None


def rehearse(site: Site, outlook: Outlook, *, horizon: int, every: int = 1) -> Rehearsed:
    """Run a site's battery on what was foreseen.

    Args:
        site: What came: solar and intensity as they were.
        outlook: What was foreseen, asked for each plan; `yesterday` is the plainest.
        horizon: How many steps a plan looks ahead.
        every: After how many steps a new plan is made.

    Raises:
        UsageError: there is no battery, or a plan is no longer than the time until the next.
    """
    if site.battery is None:
        raise UsageError("there is no battery to rehearse with", fix="give the site one")
    if not 1 <= every <= horizon:
        raise UsageError(
            f"a plan of {horizon} steps cannot be followed for {every}",
            fix="look ahead at least as far as until the next plan",
        )
    now = replace(run_now(site), import_w=None)
    whole, battery = len(now.intensity), site.battery
    charge, discharge = np.zeros(whole), np.zeros(whole)
    stored = battery.initial_soc * battery.capacity_j
    levels = [stored]
    for first in range(0, whole, every):
        last = min(first + horizon, whole)
        planned = solve(_foreseen(now, battery, stored, (first, last), outlook)).flows
        surplus = np.maximum(planned.solar - planned.facility, 0.0)
        bought = np.maximum(planned.charge - surplus, 0.0)
        for step in range(first, min(first + every, whole)):
            wish = float(bought[step - first]), float(planned.discharge[step - first])
            charge[step], discharge[step] = _possible(now, battery, stored, step, wish)
            stored = _after(now, battery, stored, charge[step], discharge[step])
            levels.append(stored)
    flows = _flows(now, charge, discharge, np.array(levels))
    bare = replace(now, battery=None)
    return Rehearsed(
        flows=flows,
        grams=_with_filling(now, battery, flows),
        without=emitted(bare, solve(bare).flows),
        oracle=emitted(now, solve(now).flows),
    )


def yesterday(site: Site) -> Outlook:
    """As it was a day before, and in the first day as it is: the plainest of forecasts.

    Raises:
        UsageError: a day is no whole number of steps.
    """
    day = round(24 / site.step_h)
    if abs(day * site.step_h - 24) > 1e-6:
        raise UsageError(
            f"a day is no whole number of steps of {site.step_h:g} h", fix="give other steps"
        )

    def told(first: int, last: int) -> tuple[Column, Column]:
        places = np.arange(first, last)
        # Whole days back, until it had happened when the plan is made.
        back = np.where(places < first, 0, (places - first) // day + 1) * day
        known = np.where(places - back < 0, places % day, places - back)
        return site.solar_w[known], site.intensity.values[known]

    return told


def _foreseen(
    site: Site, battery: Battery, stored: float, span: tuple[int, int], outlook: Outlook
) -> Site:
    """The site as it looks when the first step of the span begins."""
    first, last = span
    solar, grams = outlook(first, last)
    signal = site.intensity
    cut = signal.window(signal.start + first * signal.step, signal.start + last * signal.step)
    soc = stored / battery.capacity_j if battery.capacity_j > 0 else battery.initial_soc
    ends = battery.ends_at if last == len(signal) else min(battery.min_soc, soc)
    held = np.clip(soc, battery.min_soc, 1.0)
    return replace(
        site,
        intensity=replace(cut, values=grams, low=None, high=None),
        load_w=site.load_w[first:last],
        pue=site.pue[first:last],
        solar_w=solar,
        price=None,
        price_weight=0.0,
        battery=replace(battery, initial_soc=float(held), final_soc=_reachable(battery, held, ends,
            (last - first) * site.step_h)),
    )  # fmt: skip


def _reachable(battery: Battery, held: float, ends: float, hours: float) -> float:
    """The end that is asked for, or as near to it as charging all the time would come. [1]"""
    if battery.capacity_j <= 0:
        return max(battery.min_soc, ends)
    kept = (1 - battery.loss_per_h) ** hours
    most = held * kept + battery.charge_w * battery.charge_efficiency * 3600 * hours * kept / (
        battery.capacity_j
    )
    return float(np.clip(min(ends, 0.999 * most), battery.min_soc, 1.0))


def _possible(
    site: Site, battery: Battery, stored: float, step: int, wish: tuple[float, float]
) -> tuple[float, float]:
    """What is done of the plan: its charge from the grid, all surplus, and no more than is drawn.

    Args:
        site: As it is.
        battery: Of it.
        stored: When the step begins. [J]
        step: Its number.
        wish: Planned charge from the grid, and discharge. [W]
    """
    dt = site.intensity.step_s
    kept = stored * (1 - battery.loss_per_h) ** site.step_h
    room = max(0.0, battery.capacity_j - kept) / (battery.charge_efficiency * dt)
    spare = max(0.0, kept - battery.min_soc * battery.capacity_j)
    rest = float(site.load_w[step] * site.pue[step] - site.solar_w[step])
    charge = min(wish[0] + max(0.0, -rest), battery.charge_w, room)
    discharge = min(wish[1], spare * battery.discharge_efficiency / dt, max(0.0, rest))
    return charge, discharge


def _after(site: Site, battery: Battery, stored: float, charge: float, discharge: float) -> float:
    dt = site.intensity.step_s
    kept = stored * (1 - battery.loss_per_h) ** site.step_h
    gained = charge * battery.charge_efficiency - discharge / battery.discharge_efficiency
    return float(min(battery.capacity_j, max(0.0, kept + gained * dt)))


def _with_filling(site: Site, battery: Battery, flows: Flows) -> Estimate:
    """Grams, were the battery filled up to where it shall end. [gCO2e]"""
    found = emitted(site, flows)
    lacking = max(0.0, battery.ends_at * battery.capacity_j - float(flows.soc_j[-1]))
    more = lacking / battery.charge_efficiency / J_PER_KWH * float(site.intensity.values.max())
    return replace(found, value=found.value + more, low=found.low + more, high=found.high + more)


def _flows(site: Site, charge: Column, discharge: Column, levels: Column) -> Flows:
    """The grid covers what lacks; what is over is sold as far as it may be. [W]"""
    facility = site.load_w * site.pue
    rest = facility + charge - discharge - site.solar_w
    over = np.maximum(-rest, 0.0)
    most = np.inf if site.export_w is None else site.export_w
    export = np.minimum(over, most)
    return Flows(
        grid=np.maximum(rest, 0.0), solar=site.solar_w, charge=charge, discharge=discharge,
        export=export, curtailed=over - export, it=site.load_w, facility=facility, soc_j=levels,
        jobs={},
    )  # fmt: skip
