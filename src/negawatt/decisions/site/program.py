"""A site's operation as a linear program, solved by HiGHS.

    choose   at each step: bought, charge, discharge, export, curtailed and job powers, all >= 0,
             and the energy stored when it ends
    so that  bought + solar + discharge = (load + jobs) · pue + charge + export + curtailed
             stored' = stored · kept + charge · e_c · dt - discharge · dt / e_d
             each job gets its work in its window; one that cannot be interrupted starts once
    at least grams and weighted money of what is bought, and wear

Only jobs that cannot be interrupted need whole numbers; without them the program is linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.site.flows import Flows
from negawatt.decisions.site.records import Battery, Column, Site
from negawatt.decisions.when import Job

_PATIENCE_S = 30.0
_GAP = 1e-4
_IDLE = 1e-5  # of the dearest step's cost: so that a battery does not move for nothing
_NONE = Battery(capacity_j=0.0, charge_w=0.0, discharge_w=0.0, initial_soc=0.0)


@dataclass(frozen=True, slots=True)
class Solved:
    """Flows, and how far from the best they may be. [1]"""

    flows: Flows
    gap: float


def weights(site: Site) -> Column:
    """What a joule from the grid counts at each step, never below 0. [g/J]"""
    grams = site.intensity.values
    if site.price is not None:
        grams = grams + site.price_weight * site.price.values / 1e3
    return np.maximum(grams, 0.0) / J_PER_KWH


def solve(site: Site) -> Solved:
    """The flows that count least.

    Raises:
        UsageError: nothing keeps all limits; the message says which to look at.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows = _Rows(site)
    worth = np.concatenate(rows.cost)
    result = milp(
        worth / max(float(np.abs(worth).max()), 1e-30),  # or the solver takes small costs for none
        integrality=np.concatenate(rows.whole),
        bounds=Bounds(np.zeros(rows.columns), np.concatenate(rows.most)),
        constraints=[LinearConstraint(*rows.limits())],
        options={"time_limit": _PATIENCE_S, "mip_rel_gap": _GAP, "disp": False},
    )
    if result.x is None:
        raise _hopeless(site)
    return Solved(rows.flows(result.x), max(0.0, float(result.mip_gap or 0.0)))


def _hopeless(site: Site) -> UsageError:
    needs = float((site.load_w * site.pue).max())
    limit = "" if site.import_w is None else f", while the grid gives {site.import_w:g} W at most"
    return UsageError(
        f"{site.name} cannot be run within its limits: it draws up to {needs:g} W without its"
        f" jobs{limit}",
        fix="raise the import limit, move a deadline, or ask less of the battery's end",
    )


class _Rows:
    """The program as it is written down: blocks of columns, rows as triplets."""

    def __init__(self, site: Site) -> None:
        self.site, self.steps = site, len(site.intensity)
        self.battery = site.battery or _NONE
        self.columns = 0
        self.cost: list[Column] = []
        self.most: list[Column] = []
        self.whole: list[Column] = []
        self._entries: list[tuple[Column, Column, Column]] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._each = np.arange(self.steps)
        self._flows()
        self._balance = self._equal(site.load_w * site.pue - site.solar_w)
        for block, sign in zip(self._signed, (1.0, 1.0, -1.0, -1.0, -1.0), strict=True):
            self._put(self._balance, block + self._each, np.full(self.steps, sign))
        self._storage()
        self._blocks = {job.name: self._job(job) for job in site.jobs}

    def _flows(self) -> None:
        """Bought, discharge, charge, export, curtailed, stored: one block of columns each."""
        site, dt = self.site, self.site.intensity.step_s
        worth = weights(site) * dt
        idle = np.full(self.steps, _IDLE * max(float(worth.max()), 1e-12))
        wear = self.battery.wear_g_per_kwh / J_PER_KWH * dt
        endless = np.full(self.steps, np.inf)
        credit = site.avoided * np.maximum(site.intensity.values, 0.0) / J_PER_KWH * dt
        export = endless if site.export_w is None else np.full(self.steps, site.export_w)
        stored = np.full(self.steps, self.battery.capacity_j)
        limit = endless if site.import_w is None else np.full(self.steps, site.import_w)
        self.grid = self._columns(worth, limit)
        self.discharge = self._columns(wear + idle, np.full(self.steps, self.battery.discharge_w))
        self.charge = self._columns(idle, np.full(self.steps, self.battery.charge_w))
        # What may be sold is solar power, so that nobody earns by turning grid power round.
        self.export = self._columns(-credit - idle, np.minimum(export, site.solar_w))
        self.curtailed = self._columns(0 * worth, site.solar_w.copy())
        self.stored = self._columns(0 * worth, stored)
        self._signed = (self.grid, self.discharge, self.charge, self.export, self.curtailed)

    def _storage(self) -> None:
        battery, dt = self.battery, self.site.intensity.step_s
        kept = (1 - battery.loss_per_h) ** self.site.step_h
        first = np.zeros(self.steps)
        first[0] = kept * battery.initial_soc * battery.capacity_j
        rows = self._equal(first)
        ones = np.ones(self.steps)
        self._put(rows, self.stored + self._each, ones)
        self._put(rows[1:], self.stored + self._each[:-1], -kept * ones[1:])
        self._put(rows, self.charge + self._each, -dt * battery.charge_efficiency * ones)
        self._put(rows, self.discharge + self._each, dt / battery.discharge_efficiency * ones)
        least = np.full(self.steps, battery.min_soc * battery.capacity_j)
        least[-1] = battery.ends_at * battery.capacity_j
        low = self._row(least, np.full(self.steps, np.inf))
        self._put(low, self.stored + self._each, ones)

    def _job(self, job: Job) -> tuple[int, Any]:
        """Columns of a job, and the matrix that turns them into power. [W]"""
        from scipy.sparse import eye_array

        start = self.site.intensity.start
        step = self.site.intensity.step_s
        begin = (job.release - start).total_seconds() / step
        end = (job.deadline - start).total_seconds() / step
        if job.interruptible:
            share = np.clip(np.minimum(self._each + 1, end) - np.maximum(self._each, begin), 0, 1)
            block = self._columns(np.zeros(self.steps), job.power_w * share)
            done = self._equal(np.array([job.planned_s * job.power_w]))
            self._put(np.repeat(done, self.steps), block + self._each, np.full(self.steps, step))
            table = eye_array(self.steps, format="csr")
        else:
            table = starts(job, begin, end, step, self.steps)
            count = table.shape[1]
            block = self._columns(np.zeros(count), np.ones(count), whole=1.0)
            once = self._equal(np.array([1.0]))
            self._put(np.repeat(once, count), block + np.arange(count), np.ones(count))
        found = table.tocoo()
        self._put(
            self._balance[found.row], block + found.col, -found.data * self.site.pue[found.row]
        )
        return block, table

    def flows(self, x: Column) -> Flows:
        """Powers by name, cleared of rounding below 0."""
        site = self.site
        got = {
            name: np.maximum(x[block : block + self.steps], 0.0)
            for name, block in (
                ("grid", self.grid),
                ("charge", self.charge),
                ("discharge", self.discharge),
                ("export", self.export),
                ("curtailed", self.curtailed),
            )
        }
        jobs = {
            name: np.maximum(table @ x[block : block + table.shape[1]], 0.0)
            for name, (block, table) in self._blocks.items()
        }
        it = site.load_w + sum(jobs.values(), np.zeros(self.steps))
        begins = self.battery.initial_soc * self.battery.capacity_j
        stored = np.concatenate(
            [[begins], np.maximum(x[self.stored : self.stored + self.steps], 0)]
        )
        return Flows(
            solar=site.solar_w, it=it, facility=it * site.pue, soc_j=stored, jobs=jobs, **got
        )

    def limits(self) -> tuple[Any, Column, Column]:
        """Matrix, lower and upper ends of its rows."""
        from scipy.sparse import coo_array

        rows, columns, values = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        table = coo_array((values, (rows, columns)), shape=(len(self._low), self.columns)).tocsr()
        return table, np.array(self._low), np.array(self._high)

    def _columns(self, cost: Column, most: Column, whole: float = 0.0) -> int:
        first = self.columns
        self.cost.append(cost)
        self.most.append(most)
        self.whole.append(np.full(len(cost), whole))
        self.columns += len(cost)
        return first

    def _row(self, low: Column, high: Column) -> Any:
        first = len(self._low)
        self._low.extend(low.tolist())
        self._high.extend(high.tolist())
        return np.arange(first, len(self._low))

    def _equal(self, to: Column) -> Any:
        return self._row(to, to)

    def _put(self, rows: Any, columns: Any, values: Column) -> None:
        self._entries.append((rows, columns, values))


def starts(job: Job, begin: float, end: float, step: float, steps: int) -> Any:
    """A column for each start: the power of each step, had it started there. [W]

    It may start at its release and wherever a step begins.
    """
    from scipy.sparse import coo_array

    length = job.planned_s / step
    first = [begin, *range(int(np.floor(begin)) + 1, steps + 1)]
    starts = [at for at in first if at + length <= end + 1e-9]
    rows, columns, values = [], [], []
    for column, at in enumerate(starts):
        inside = np.arange(int(np.floor(at)), min(steps, int(np.ceil(at + length - 1e-9))))
        share = np.minimum(inside + 1, at + length) - np.maximum(inside, at)
        rows.append(inside)
        columns.append(np.full(len(inside), column))
        values.append(job.power_w * share)
    shape = (steps, len(starts))
    return coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape
    ).tocsr()
