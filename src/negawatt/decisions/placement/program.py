"""The placement as a mixed-integer linear program, solved by HiGHS.

choose   x[o] in [0, 1], the share of a class that goes by option o
r[m, d] whole, servers of model m that are on, on machines d
so that  shares of a class add up to 1
work at (m, d) <= busy · r[m, d]
devices of servers on d <= count of d
at least joules or grams: of the work, of sending, of being on, and of having been made
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.placement.options import Option, servers_of
from negawatt.decisions.placement.records import Aim, Fleet, Machine

GAP = 1e-3  # of the optimum that a solution may be above it
_PATIENCE_S = 30.0
_SMALL = 1e-9

Floats = NDArray[np.float64]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Shares and servers that cost least.

    Args:
        shares: Of a class that goes by each option, in their order. [1]
        servers: That are on, by model and machine.
        cost: Of everything. [J/s] or [gCO2e/s]
    """

    shares: tuple[float, ...]
    servers: Mapping[Key, int]
    cost: float


@dataclass(frozen=True, slots=True)
class _Tables:
    cost: Floats  # [options + servers]
    sums: Any  # sparse: options of each class. [classes, options + servers]
    work: Any  # sparse: server seconds of options at each place, less those of servers
    held: Any  # sparse: devices of servers on each machine
    counts: Floats


def weight(machine: Machine, aim: Aim) -> float:
    """What a joule of the IT equipment counts there: 1 with its building, or grams. [1] or [g/J]"""
    return machine.site.pue if aim == "energy" else machine.site.grams_per_joule


def work_cost(option: Option, aim: Aim) -> float:
    """Of one request by an option, servers being on anyway. [J] or [gCO2e]"""
    stages = sum(
        (stage.joules + stage.devices * stage.machine.busy_w * stage.busy_s)
        * weight(stage.machine, aim)
        for stage in (option.reading, option.writing)
    )
    return stages + option.sent_joules * weight(option.reading.machine, aim)


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
) -> Solution | None:
    """The cheapest shares and servers; None when nothing serves all classes.

    Args:
        fleet: What there is.
        options: Of `options_of`.
        aim: What is to be least.
        allowed: Which options may be taken.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    chosen = [i for i, option in enumerate(options) if allowed(option)]
    some = [options[i] for i in chosen]
    if {option.asked.name for option in some} != {one.name for one in fleet.classes}:
        return None
    places = servers_of(tuple(some))
    tables = _tables(fleet, some, places, aim)
    most = _most(fleet, some, places)
    result = milp(
        tables.cost,
        integrality=np.r_[np.zeros(len(some)), np.ones(len(places))],
        bounds=Bounds(np.zeros(len(tables.cost)), np.r_[np.ones(len(some)), most]),
        constraints=[
            LinearConstraint(tables.sums, 1.0, 1.0),
            LinearConstraint(tables.work, -np.inf, 0.0),
            LinearConstraint(tables.held, -np.inf, tables.counts),
        ],
        options={"mip_rel_gap": GAP, "time_limit": _PATIENCE_S},
    )
    if result.x is None:
        return None
    shares = np.zeros(len(options))
    shares[chosen] = np.where(result.x[: len(some)] < _SMALL, 0.0, result.x[: len(some)])
    servers = {key: round(count) for key, count in zip(places, result.x[len(some) :], strict=True)}
    return Solution(
        shares=tuple(shares.tolist()),
        servers={key: count for key, count in servers.items() if count},
        cost=float(result.fun),
    )


def _tables(
    fleet: Fleet, options: Sequence[Option], places: Mapping[Key, tuple[Machine, int]], aim: Aim
) -> _Tables:
    from scipy.sparse import csr_array

    count, names = len(options), [one.name for one in fleet.classes]
    row = {key: i for i, key in enumerate(places)}
    sums = csr_array(
        (
            np.ones(count),
            ([names.index(option.asked.name) for option in options], range(count)),
        ),
        shape=(len(names), count + len(places)),
    )
    entries = [
        (row[option.asked.model, stage.machine.name], i, option.asked.rate * stage.busy_s)
        for i, option in enumerate(options)
        for stage in (option.reading, option.writing)
    ] + [(i, count + i, -fleet.busy) for i in row.values()]
    machines = {machine.name: i for i, machine in enumerate(fleet.machines)}
    held = [(machines[key[1]], count + row[key], float(n)) for key, (_, n) in places.items()]
    work = [option.asked.rate * work_cost(option, aim) for option in options]
    on = [server_cost(machine, devices, aim) for machine, devices in places.values()]
    return _Tables(
        cost=np.array([*work, *on]),
        sums=sums,
        work=_sparse(entries, (len(row), count + len(row))),
        held=_sparse(held, (len(machines), count + len(row))),
        counts=np.array([float(machine.count) for machine in fleet.machines]),
    )


def _sparse(entries: Sequence[tuple[int, int, float]], shape: tuple[int, int]) -> Any:
    from scipy.sparse import coo_array

    rows, columns, values = zip(*entries, strict=True)
    return coo_array((values, (rows, columns)), shape=shape).tocsr()


def _most(
    fleet: Fleet, options: Sequence[Option], places: Mapping[Key, tuple[Machine, int]]
) -> Floats:
    """Servers of each place that could ever be of use."""
    wanted = dict.fromkeys(places, 0.0)
    seen: dict[tuple[Key, str], tuple[float, float]] = {}
    for option in options:
        for kind, stage in enumerate((option.reading, option.writing)):
            key = (option.asked.model, stage.machine.name)
            reading, writing = seen.get((key, option.asked.name), (0.0, 0.0))
            busy = option.asked.rate * stage.busy_s
            seen[key, option.asked.name] = (busy, writing) if kind == 0 else (reading, busy)
    for (key, _), both in seen.items():
        wanted[key] += sum(both)
    return np.array(
        [
            min(np.ceil(wanted[key] / fleet.busy), machine.count // devices)
            for key, (machine, devices) in places.items()
        ]
    )
