"""The placement as a mixed-integer linear program, solved by HiGHS.

    choose   y[c, p], z[c, d] in [0, 1], the shares of class c read on p and written on d
             v[c, p] in [0, 1], the share read on p and written elsewhere
             r[m, d] whole, servers of model m that are on, on machines d
    so that  shares read, and shares written, of a class add up to 1
             v[c, p] >= y[c, p] - z[c, p]
             work at (m, d) <= busy · r[m, d]
             devices of servers on d <= count of d
    at least joules or grams: of the work, of sending, of being on, and of having been made

Where some reader may not be paired with some writer of a class, because the first token would come too late, its
variables are the shares of the pairs instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.placement.options import Option, Place, Stage, servers_of
from negawatt.decisions.placement.records import Aim, Fleet, Machine, RequestClass

GAP = 1e-2  # of the cost that the optimum may be below it: far less than the model is off by
_PATIENCE_S = 30.0
_SMALL = 1e-9

Floats = NDArray[np.float64]
_Where = tuple[str, int]  # machine and devices of a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Shares and servers that cost least.

    Args:
        shares: Of a class that goes by each option, in their order. [1]
        servers: That are on, by model and machine.
        cost: Of everything. [J/s] or [gCO2e/s]
        gap: Of the cost that the optimum is at most below it. [1]
    """

    shares: tuple[float, ...]
    servers: Mapping[Place, int]
    cost: float
    gap: float


def weight(machine: Machine, aim: Aim) -> float:
    """What a joule of the IT equipment counts there: 1 with its building, or grams. [1] or [g/J]"""
    return machine.site.pue if aim == "energy" else machine.site.grams_per_joule


def stage_cost(stage: Stage, aim: Aim) -> float:
    """Of one request at a stage, servers being on anyway. [J] or [gCO2e]"""
    busy = stage.devices * stage.machine.busy_w * stage.busy_s
    return (stage.joules + busy) * weight(stage.machine, aim)


def sent_cost(option: Option, aim: Aim) -> float:
    """Of sending what one request left behind. [J] or [gCO2e]"""
    return option.sent_joules * weight(option.reading.machine, aim)


def work_cost(option: Option, aim: Aim) -> float:
    """Of one request by an option, servers being on anyway. [J] or [gCO2e]"""
    stages = stage_cost(option.reading, aim) + stage_cost(option.writing, aim)
    return stages + sent_cost(option, aim)


def server_cost(machine: Machine, devices: int, aim: Aim) -> float:
    """Of a server being on. [J/s] or [gCO2e/s]"""
    resting = devices * machine.rest_w * weight(machine, aim)
    return resting + (devices * machine.embodied_g_per_s if aim == "carbon" else 0.0)


def solve(
    fleet: Fleet,
    options: Sequence[Option],
    aim: Aim,
    *,
    allowed: Callable[[Option], bool] = lambda option: True,
    gap: float = GAP,
) -> Solution | None:
    """The cheapest shares and servers; None when nothing serves all classes.

    Args:
        fleet: What there is.
        options: Of `options_of`.
        aim: What is to be least.
        allowed: Which options may be taken.
        gap: Of the cost that the optimum may be below it. [1]
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    chosen = [i for i, option in enumerate(options) if allowed(option)]
    some = [options[i] for i in chosen]
    if {option.asked.name for option in some} != {one.name for one in fleet.classes}:
        return None
    places = servers_of(tuple(some))
    rows = _Rows(fleet, some, places, aim)
    result = milp(
        np.array(rows.cost),
        integrality=np.array(rows.whole),
        bounds=Bounds(np.zeros(len(rows.cost)), np.array(rows.most)),
        constraints=[LinearConstraint(*rows.limits())],
        options={"mip_rel_gap": gap, "time_limit": _PATIENCE_S},
    )
    if result.x is None:
        return None
    shares = np.zeros(len(options))
    shares[chosen] = rows.shares(result.x)
    servers = {key: round(result.x[column]) for key, column in rows.servers.items()}
    return Solution(
        shares=tuple(shares.tolist()),
        servers={key: count for key, count in servers.items() if count},
        cost=float(result.fun),
        gap=float(result.mip_gap or 0.0),
    )


class _Rows:
    """The program as it is written down: columns one by one, rows as triplets."""

    def __init__(
        self,
        fleet: Fleet,
        options: Sequence[Option],
        places: Mapping[Place, tuple[Machine, int]],
        aim: Aim,
    ) -> None:
        self.options, self.aim = options, aim
        self.cost: list[float] = []
        self.whole: list[int] = []
        self.most: list[float] = []
        self._entries: list[tuple[int, int, float]] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self.servers: dict[Place, int] = {}
        self._work: dict[Place, int] = {}
        self._place(fleet, places)
        self._pairs: dict[int, int] = {}  # option -> column
        self._apart: dict[str, tuple[dict[_Where, int], dict[_Where, int]]] = {}  # class -> y, z
        apart: dict[str, list[int]] = {}
        for i, option in enumerate(options):
            apart.setdefault(option.asked.name, []).append(i)
        for name, own in apart.items():
            some = [options[i] for i in own]
            readers = {option.reading.place: option for option in some}
            writers = {option.writing.place: option for option in some}
            if len(some) == len(readers) * len(writers):
                self._class_apart(name, readers, writers, some)
            else:
                self._class_in_pairs(own)

    def limits(self) -> tuple[Any, Floats, Floats]:
        """Matrix, lower and upper ends of its rows."""
        from scipy.sparse import coo_array

        rows, columns, values = zip(*self._entries, strict=True)
        shape = (len(self._low), len(self.cost))
        table = coo_array((values, (rows, columns)), shape=shape).tocsr()
        return table, np.array(self._low), np.array(self._high)

    def shares(self, x: Floats) -> Floats:
        """Of each option; what is read somewhere stays there as far as it can."""
        found = np.zeros(len(self.options))
        for i, column in self._pairs.items():
            found[i] = x[column]
        ways = {
            (o.asked.name, o.reading.place, o.writing.place): i for i, o in enumerate(self.options)
        }
        for name, (reading, writing) in self._apart.items():
            read = {machine: float(x[column]) for machine, column in reading.items()}
            written = {machine: float(x[column]) for machine, column in writing.items()}
            staying = [(machine, machine) for machine in read if machine in written]
            for one, other in [*staying, *((p, d) for p in read for d in written)]:
                share = min(read[one], written[other])
                if share > _SMALL:
                    found[ways[name, one, other]] += share
                    read[one] -= share
                    written[other] -= share
        found[found < _SMALL] = 0.0
        return found

    def _place(self, fleet: Fleet, places: Mapping[Place, tuple[Machine, int]]) -> None:
        most = _most(fleet, self.options, places)
        held = {
            machine.name: self._row(-np.inf, float(machine.count)) for machine in fleet.machines
        }
        for (key, (machine, devices)), limit in zip(places.items(), most, strict=True):
            column = self._column(server_cost(machine, devices, self.aim), limit, whole=1)
            self.servers[key] = column
            self._entries.append((held[machine.name], column, float(devices)))
            self._work[key] = self._row(-np.inf, 0.0)
            self._entries.append((self._work[key], column, -fleet.busy))

    def _class_apart(
        self,
        name: str,
        readers: Mapping[_Where, Option],
        writers: Mapping[_Where, Option],
        some: Sequence[Option],
    ) -> None:
        """Shares read, shares written, and what moves between."""
        sent = {o.reading.place: sent_cost(o, self.aim) for o in some if o.split}
        all_read, all_written = self._row(1.0, 1.0), self._row(1.0, 1.0)
        writing = {}
        for machine, option in writers.items():
            writing[machine] = self._stage(option.asked, option.writing)
            self._entries.append((all_written, writing[machine], 1.0))
        reading = {}
        for machine, option in readers.items():
            reading[machine] = self._stage(option.asked, option.reading)
            self._entries.append((all_read, reading[machine], 1.0))
            if machine in sent:
                moved = self._column(option.asked.rate * sent[machine], 1.0)
                row = self._row(-np.inf, 0.0)
                self._entries += [(row, reading[machine], 1.0), (row, moved, -1.0)]
                if machine in writing:
                    self._entries.append((row, writing[machine], -1.0))
        self._apart[name] = (reading, writing)

    def _class_in_pairs(self, own: Sequence[int]) -> None:
        """Shares of the pairs themselves."""
        all_of_it = self._row(1.0, 1.0)
        for i in own:
            option = self.options[i]
            column = self._column(option.asked.rate * work_cost(option, self.aim), 1.0)
            self._pairs[i] = column
            self._entries.append((all_of_it, column, 1.0))
            for stage in (option.reading, option.writing):
                self._busy(option.asked, stage, column)

    def _stage(self, asked: RequestClass, stage: Stage) -> int:
        column = self._column(asked.rate * stage_cost(stage, self.aim), 1.0)
        self._busy(asked, stage, column)
        return column

    def _busy(self, asked: RequestClass, stage: Stage, column: int) -> None:
        row = self._work[(asked.model, *stage.place)]
        self._entries.append((row, column, asked.rate * stage.busy_s))

    def _column(self, cost: float, most: float, whole: int = 0) -> int:
        self.cost.append(cost)
        self.most.append(float(most))
        self.whole.append(whole)
        return len(self.cost) - 1

    def _row(self, low: float, high: float) -> int:
        self._low.append(low)
        self._high.append(high)
        return len(self._low) - 1


def _most(
    fleet: Fleet, options: Sequence[Option], places: Mapping[Place, tuple[Machine, int]]
) -> Floats:
    """Servers of each place that could ever be of use."""
    wanted = dict.fromkeys(places, 0.0)
    seen: dict[tuple[Place, str], tuple[float, float]] = {}
    for option in options:
        for kind, stage in enumerate((option.reading, option.writing)):
            key = (option.asked.model, *stage.place)
            reading, writing = seen.get((key, option.asked.name), (0.0, 0.0))
            busy = option.asked.rate * stage.busy_s
            seen[key, option.asked.name] = (busy, writing) if kind == 0 else (reading, busy)
    for (key, _), both in seen.items():
        wanted[key] += sum(both)
    counts = {machine.name: machine.count for machine in fleet.machines}
    return np.array(
        [
            min(np.ceil(wanted[key] / fleet.busy), counts[key[1]] // devices)
            for key, (_, devices) in places.items()
        ]
    )
