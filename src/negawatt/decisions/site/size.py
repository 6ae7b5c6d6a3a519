"""How large solar and battery should be: least grams, or least money, of a year.

    choose   kWp and kWh, and every hour what is bought, charged, discharged and stored
    so that  bought + kWp · yield + discharge = drawn + charge + left over
             stored' = stored · kept + charge · e_c - discharge / e_d, and the year ends as it began
             0 <= stored <= kWh, charge and discharge <= rate · kWh
    at least grams of what is bought, and the year's part of making panels and battery

A battery is worn by years or by cycles, whichever comes first: its part is the larger of the two.
One linear program holds all of it. Energy is counted in kilowatt-hours here, so that the numbers
of the program are of like size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.site.building import YEAR_H, Aim, Built, Limits, Making, Sizing, figure
from negawatt.decisions.site.operate import run_now
from negawatt.decisions.site.records import Column, Site

_LEAST_H = 24.0
_PATIENCE_S = 120.0
_TINY = 1e-6


def size(
    site: Site,
    yield_per_kwp: Column,
    making: Making,
    limits: Limits | None = None,
    *,
    aim: Aim = "carbon",
    ends: bool = False,
) -> Sizing:
    """Size solar and battery over the time a site's signal tells, best a whole year.

    Jobs of the site run at their release. Its own panels and battery are not looked at. Nothing
    is earned by exports.

    Args:
        site: What is drawn, and what the grid emits and costs.
        yield_per_kwp: Output of one kilowatt peak in each step. [kW/kWp]
        making: What panels and batteries cost to make.
        limits: What may be built; anything when None.
        aim: Least "carbon", or least "cost", for which prices are needed.
        ends: Tell also the sizes at the ends of what making emits: three times the work.

    Raises:
        UsageError: yields have another length, or prices are missing, or the time is below a day.
    """
    limits = limits or Limits()
    now = run_now(site)
    given = np.asarray(yield_per_kwp, dtype=np.float64)
    if given.shape != now.load_w.shape or not bool((np.isfinite(given) & (given >= 0)).all()):
        raise UsageError(
            f"{given.size} yields were given for {len(now.load_w)} steps, or some are not known",
            fix="give one number of 0 or more for each step of the intensity",
        )
    hours = len(given) * now.step_h
    if hours < _LEAST_H:
        raise UsageError(
            f"{hours:g} h are too short to size anything by", fix="give a year, or a day at least"
        )
    if aim == "cost" and now.price is None:
        raise UsageError("least cost needs the price of electricity", fix="give a price")
    year = _Year(now, given, making, limits, aim)
    best = year.built("solar and battery")
    alone = year.built("solar alone", battery=0.0)
    nothing = year.built("as it is", solar=0.0, battery=0.0)
    return Sizing(
        aim=aim,
        best=best,
        beside=(alone, nothing),
        because=_because(best, alone, nothing),
        would_change=year.would_change(ends=ends),
        notes=_notes(hours),
    )


class _Year:
    """The program of one site, solved for several limits."""

    def __init__(self, site: Site, given: Column, making: Making, limits: Limits, aim: Aim) -> None:
        self.site, self.given, self.making, self.limits, self.aim = site, given, making, limits, aim
        self.drawn = site.load_w * site.pue / 1e3
        self.years = len(given) * site.step_h / YEAR_H
        money = np.zeros(len(given)) if site.price is None else site.price.values / 1e3
        self.worth = np.maximum(site.intensity.values if aim == "carbon" else money, 0.0)

    def built(self, what: str, *, solar: float = np.inf, battery: float = np.inf) -> Built:
        """The best size within the limits and these."""
        solar = min(solar, self.limits.solar_kwp)
        battery = min(battery, self.limits.battery_kwh)
        kwp, kwh, grid, out = self.solve(solar, battery)
        step = self.site.step_h
        bought = grid * step / self.years
        signal = self.site.intensity
        known = [column for column in (signal.low, signal.high) if column is not None]
        columns = [np.where(np.isfinite(one), one, signal.values) for one in known]
        ends = [float(bought @ one) for one in (signal.values, *columns)]
        return Built(
            what=what,
            solar_kwp=kwp,
            battery_kwh=kwh,
            bought_g=Estimate(
                value=ends[0], low=min(ends), high=max(ends), unit="gCO2e", kind=Kind.MODELLED,
                source=f"{signal.source}, {signal.zone} ({signal.basis})",
                boundary="electricity bought in a year",
            ),
            making_g=self._making(kwp, kwh, float(out.sum()) * step / self.years),
            bought_kwh=float(bought.sum()),
            cost=self._cost(kwp, kwh, bought, float(out.sum()) * step / self.years),
        )  # fmt: skip

    def _making(self, kwp: float, kwh: float, out: float) -> Estimate:
        """The year's part of making panels and battery. [gCO2e]"""
        made = self.making
        ends = []
        for end in ("value", "low", "high"):
            last = {"value": "value", "low": "high", "high": "low"}[end]  # long life, low share
            solar = (
                1e3 * kwp * getattr(made.solar_kg_per_kwp, end) / getattr(made.solar_years, last)
            )
            worn = max(
                kwh / getattr(made.battery_years, last), out / getattr(made.battery_cycles, last)
            )
            ends.append(solar + 1e3 * worn * getattr(made.battery_kg_per_kwh, end))
        return Estimate(
            value=ends[0], low=ends[1], high=ends[2], unit="gCO2e", kind=Kind.ASSUMED,
            source=f"{made.solar_kg_per_kwp.source} + {made.battery_kg_per_kwh.source}",
            boundary="making panels and battery, a year's part",
        )  # fmt: skip

    def _cost(self, kwp: float, kwh: float, bought: Column, out: float) -> float | None:
        made, price = self.making, self.site.price
        if price is None or made.solar_price is None or made.battery_price is None:
            return None
        worn = max(kwh / made.battery_years.value, out / made.battery_cycles.value)
        built = kwp * made.solar_price / made.solar_years.value + worn * made.battery_price
        return float(bought @ price.values) / 1e3 + built

    def solve(self, solar: float, battery: float) -> tuple[float, float, Column, Column]:
        """kWp, kWh, bought and discharged power of each step. [kW]"""
        if battery <= 0:
            return self._without_battery(solar)
        from scipy.optimize import linprog

        program = _program(self, solar, battery)
        result = linprog(**program, method="highs-ipm", options={"time_limit": _PATIENCE_S})
        if result.x is None:
            raise UsageError(
                f"no size was found within {_PATIENCE_S:g} s: {result.message}",
                fix="give a shorter time, or longer steps",
            )
        n = len(self.given)
        kwp, kwh = (float(max(0.0, value)) for value in result.x[-3:-1])
        grid, out = (np.maximum(result.x[i * n : (i + 1) * n], 0.0) for i in (0, 1))
        small = kwh < _TINY * max(1.0, float(self.drawn.max()))
        return (kwp, 0.0, grid, 0 * out) if small else (kwp, kwh, grid, out)

    def _without_battery(self, solar: float) -> tuple[float, float, Column, Column]:
        """Panels alone: what one more watt saves falls as they grow, so the best is where it ends.

        A step stops buying once the panels cover it. Sorted by the size that covers them, the
        saving of the steps that still buy is a sum from the end.
        """
        step = self.site.step_h
        sunny = self.given > 0
        covers = np.full(len(self.given), np.inf)
        covers[sunny] = self.drawn[sunny] / self.given[sunny]
        order = np.argsort(covers)
        gain = (self.worth * self.given * step)[order]
        still = np.cumsum(gain[::-1])[::-1]  # saved by one more kWp while it is below covers[order]
        price = self.making.solar_year(self.aim) * self.years
        paying = np.flatnonzero(still > price)
        best = float(covers[order][paying[-1]]) if len(paying) else 0.0
        kwp = min(best, solar)
        if not np.isfinite(kwp):
            kwp = 0.0
        return kwp, 0.0, np.maximum(self.drawn - kwp * self.given, 0.0), np.zeros(len(self.given))

    def would_change(self, *, ends: bool) -> tuple[str, ...]:
        """What the first panel saves and costs, and sizes at the ends of what making emits."""
        first = float((self.worth * self.given).sum()) * self.site.step_h / self.years
        unit, scale = ("kg", 1e3) if self.aim == "carbon" else ("of the currency", 1.0)
        made = figure(self.making.solar_year(self.aim) / scale)
        saves = (
            f"the first kWp saves {figure(first / scale)} {unit} a year, its making costs {made}"
        )
        told = [f"{saves}: where the second is larger, no panel pays"]
        for end, word in (("low", "least"), ("high", "most")) if ends else ():
            other = replace(
                self.making,
                solar_kg_per_kwp=_at(self.making.solar_kg_per_kwp, end),
                battery_kg_per_kwh=_at(self.making.battery_kg_per_kwh, end),
            )
            year = _Year(self.site, self.given, other, self.limits, "carbon")
            kwp, kwh, _, _ = year.solve(self.limits.solar_kwp, self.limits.battery_kwh)
            told.append(
                f"if making emits the {word} that was found: {figure(kwp)} kWp and {figure(kwh)} kWh"
            )
        return tuple(told)


def _at(factor: Estimate, end: str) -> Estimate:
    value = getattr(factor, end)
    return replace(factor, value=value, low=value, high=value)


def _program(year: _Year, solar: float, battery: float) -> dict[str, Any]:
    """Columns: bought, out, in, stored of each step, then kWp, kWh, and the battery worn."""
    from scipy.sparse import block_array, coo_array, csr_array, eye_array

    limits, n, step = year.limits, len(year.given), year.site.step_h
    one, none = eye_array(n, format="csr"), csr_array((n, 1))
    kept = (1 - limits.loss_per_h) ** step
    shift = coo_array(
        (np.full(n, kept), (np.arange(n), (np.arange(n) - 1) % n)), shape=(n, n)
    ).tocsr()  # the first step follows the last: the year ends as it began
    made = csr_array(year.given.reshape(-1, 1))
    full = csr_array(np.ones((n, 1)))
    rate = csr_array(np.full((n, 1), limits.rate_per_h))
    into, outof = step * limits.charge_efficiency, step / limits.discharge_efficiency
    life = year.making
    less = block_array(
        [
            [-one, -one, one, None, -made, none, none],  # drawn is served
            [None, one, None, None, none, -rate, none],
            [None, None, one, None, none, -rate, none],
            [None, None, None, one, none, -full, none],
        ]
    ).tocsr()
    worn = csr_array(
        np.concatenate(
            [
                np.zeros(n), np.full(n, step / (life.battery_cycles.value * year.years)),
                np.zeros(2 * n), [0.0, 0.0, -1.0],
            ]
        ).reshape(1, -1)
    )  # fmt: skip
    aged = csr_array(
        ([1 / life.battery_years.value, -1.0], ([0, 0], [4 * n + 1, 4 * n + 2])),
        shape=(1, 4 * n + 3),
    )
    equal = block_array(
        [[csr_array((n, n)), outof * one, -into * one, one - shift, none, none, none]]
    ).tocsr()
    cost = np.concatenate(
        [
            year.worth * step, np.zeros(3 * n),
            [life.solar_year(year.aim) * year.years, 0.0, life.battery_whole(year.aim) * year.years],
        ]
    )  # fmt: skip
    bounds = [(0, None)] * (4 * n) + [(0, _limit(solar)), (0, _limit(battery)), (0, None)]
    return {
        "c": cost / max(float(cost.max()), 1e-30),
        "A_ub": block_array([[less], [worn], [aged]]).tocsr(),
        "b_ub": np.concatenate([-year.drawn, np.zeros(3 * n + 2)]),
        "A_eq": equal,
        "b_eq": np.zeros(n),
        "bounds": bounds,
    }


def _limit(most: float) -> float | None:
    return None if np.isinf(most) else most


def _because(best: Built, alone: Built, nothing: Built) -> str:
    told = (
        f"{figure(best.solar_kwp)} kWp and {figure(best.battery_kwh)} kWh:"
        f" {figure(best.grams.value / 1e3)} kg a year, of which"
        f" {figure(best.making_g.value / 1e3)} kg for making them, beside"
        f" {figure(nothing.grams.value / 1e3)} kg as it is"
    )
    if best.battery_kwh > 0:
        gained = (alone.grams.value - best.grams.value) / 1e3
        return f"{told}; {figure(gained)} kg less than with solar alone"
    return f"{told}; no battery saves what its making counts"


def _notes(hours: float) -> tuple[str, ...]:
    if abs(hours / YEAR_H - 1) < 0.01:
        return ()
    return (f"sized by {hours / 24:.3g} days, as if the whole year were like them",)
