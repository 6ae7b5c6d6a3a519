"""What was chosen for each class, what it costs part by part, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, weakest
from negawatt.decisions.placement.options import (
    Option,
    Place,
    Refusal,
    Stage,
    options_of,
    servers_of,
)
from negawatt.decisions.placement.program import (
    Solution,
    server_cost,
    solve,
    weight,
)
from negawatt.decisions.placement.reasons import reasons
from negawatt.decisions.placement.records import Aim, Fleet, Machine

UNIT: dict[Aim, str] = {"carbon": "gCO2e/s", "energy": "W"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a share of a class goes.

    Args:
        asked: Name of the class.
        share: Of its requests. [1]
        reading: Name of the machine that reads.
        writing: Name of the machine that writes.
        batch: Replies written at once.
        joules: Of one request, the watts of its time included, building not. [J]
        sent_bytes: Of keys and values between them. [B]
        first_s: Until the first token. [s]
        token_s: Between tokens. [s]
    """

    asked: str
    share: float
    reading: str
    writing: str
    batch: int
    joules: float
    sent_bytes: float
    first_s: float
    token_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is on.

    Args:
        model: That they serve.
        machine: On which.
        count: How many servers.
        devices: Of each.
        busy: Share of their time. [1]
    """

    model: str
    machine: str
    count: int
    devices: int
    busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A placement that was restricted, for comparison.

    Args:
        name: How.
        cost: Of everything; None when it cannot serve all. [W] or [gCO2e/s]
        ratio: Over the cost of the placement. [1]
    """

    name: str
    cost: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who reads, who writes, what is on, what it costs and why.

    Args:
        aim: What was to be least.
        routes: Of all classes.
        servers: That are on.
        cost: Of everything. [W] or [gCO2e/s]
        gap: Of the cost that the best placement of all is at most below it. [1]
        parts: Of it, by cause; together the whole.
        rivals: Restricted placements.
        refusals: Machines that cannot serve a class, and why.
        because: Why, in sentences.
        notes: What to know about the figures.
    """

    aim: Aim
    routes: tuple[Route, ...]
    servers: tuple[Servers, ...]
    cost: Estimate
    gap: float
    parts: dict[str, float]
    rivals: tuple[Rival, ...]
    refusals: tuple[Refusal, ...]
    because: tuple[str, ...]
    notes: tuple[str, ...]


def place(fleet: Fleet, aim: Aim = "carbon") -> Placement:
    """The placement that costs least.

    Args:
        fleet: Machines, models and classes of requests.
        aim: "carbon" counts grids and the making of machines, "energy" joules alone.

    Raises:
        UsageError: a class cannot be served; the message names the nearest mend.
    """
    options, refusals = options_of(fleet)
    _refuse_unserved(fleet, options, refusals)
    solution = solve(fleet, options, aim)
    if solution is None:
        raise _too_few(fleet, options)
    parts = _parts(options, solution, aim)
    taken = [
        (option, share) for option, share in zip(options, solution.shares, strict=True) if share
    ]
    return Placement(
        aim=aim,
        routes=tuple(_route(option, share) for option, share in taken),
        servers=_servers(options, solution),
        cost=_told(math.fsum(parts.values()), [option for option, _ in taken], aim),
        gap=solution.gap,
        parts=parts,
        rivals=_rivals(fleet, options, solution, aim),
        refusals=refusals,
        because=reasons(fleet, options, taken, aim),
        notes=_notes(fleet, aim),
    )


def _refuse_unserved(fleet: Fleet, options: Sequence[Option], refusals: Sequence[Refusal]) -> None:
    served = {option.asked.name for option in options}
    for asked in fleet.classes:
        if asked.name not in served:
            why = "; ".join(f"{r.machine}: {r.reason}" for r in refusals if r.asked == asked.name)
            raise UsageError(
                f"no machine serves {asked.name} ({why or 'the first token comes too late'})",
                fix=f"give {asked.name} more time, or add a machine that is fast and large enough",
            )


def _too_few(fleet: Fleet, options: Sequence[Option]) -> UsageError:
    """Name the machine of which more would do, fewest more first."""
    best: tuple[int, str] | None = None
    for machine in fleet.machines:
        more = 1
        while more <= 1024 * machine.count:
            wider = tuple(
                replace(one, count=one.count + more) if one is machine else one
                for one in fleet.machines
            )
            if solve(replace(fleet, machines=wider), options, "energy") is not None:
                best = min(best or (more, machine.name), (more, machine.name))
                break
            more *= 2
    mend = f"add {best[0]} of {best[1]} or fewer" if best else "add machines, or lower the rates"
    return UsageError("the machines are too few for all requests", fix=mend)


def _parts(options: Sequence[Option], solution: Solution, aim: Aim) -> dict[str, float]:
    """What the cost consists of. [W] or [gCO2e/s]"""
    parts = dict.fromkeys(("reading", "writing", "sending", "being on", "having been made"), 0.0)
    for option, share in zip(options, solution.shares, strict=True):
        flow = option.asked.rate * share
        for name, stage in (("reading", option.reading), ("writing", option.writing)):
            busy = stage.devices * stage.machine.busy_w * stage.busy_s
            parts[name] += flow * (stage.joules + busy) * weight(stage.machine, aim)
        parts["sending"] += flow * option.sent_joules * weight(option.reading.machine, aim)
    places = servers_of(tuple(options))
    for key, count in solution.servers.items():
        machine, devices = places[key]
        whole = count * server_cost(machine, devices, aim)
        made = count * devices * machine.embodied_g_per_s if aim == "carbon" else 0.0
        parts["being on"] += whole - made
        parts["having been made"] += made
    return {name: value for name, value in parts.items() if value}


def _route(option: Option, share: float) -> Route:
    return Route(
        asked=option.asked.name,
        share=share,
        reading=option.reading.machine.name,
        writing=option.writing.machine.name,
        batch=option.writing.batch,
        joules=option.reading.joules_with_static
        + option.writing.joules_with_static
        + option.sent_joules,
        sent_bytes=option.sent_bytes,
        first_s=option.first_s,
        token_s=option.writing.wait_s,
    )


def _servers(options: Sequence[Option], solution: Solution) -> tuple[Servers, ...]:
    places = servers_of(tuple(options))
    work: dict[Place, float] = dict.fromkeys(places, 0.0)
    for option, share in zip(options, solution.shares, strict=True):
        for stage in (option.reading, option.writing):
            key = (option.asked.model, *stage.place)
            work[key] += option.asked.rate * share * stage.busy_s
    return tuple(
        Servers(
            model=model,
            machine=machine,
            count=count,
            devices=devices,
            busy=work[model, machine, devices] / count,
        )
        for (model, machine, devices), count in solution.servers.items()
    )


def _told(value: float, taken: Sequence[Option], aim: Aim) -> Estimate:
    """With the widest band among the devices that are used."""
    stages: list[Stage] = [s for option in taken for s in (option.reading, option.writing)]
    profiles = [stage.machine.profile for stage in stages]
    factor = max((one.expert_band or one.band).joules for one in profiles)
    return Estimate(
        value=value,
        low=value / factor,
        high=value * factor,
        unit=UNIT[aim],
        kind=weakest(one.kind for one in profiles),
        source="energy model of " + ", ".join(sorted({one.name for one in profiles})),
        boundary="devices with their buildings",
    )


def _rivals(
    fleet: Fleet, options: Sequence[Option], solution: Solution, aim: Aim
) -> tuple[Rival, ...]:
    """Without splitting phases, and on each machine alone."""
    found = [
        _rival("nobody reads for another", solve(fleet, options, aim, allowed=_whole), solution)
    ]
    if len(fleet.machines) > 1:
        found.extend(
            _rival(
                f"{machine.name} alone",
                solve(fleet, options, aim, allowed=_only(machine)),
                solution,
            )
            for machine in fleet.machines
        )
    return tuple(found)


def _whole(option: Option) -> bool:
    return not option.split


def _only(machine: Machine) -> Callable[[Option], bool]:
    def there(option: Option) -> bool:
        return {option.reading.machine.name, option.writing.machine.name} == {machine.name}

    return there


def _rival(name: str, found: Solution | None, solution: Solution) -> Rival:
    if found is None:
        return Rival(name=name, cost=None, ratio=None)
    return Rival(name=name, cost=found.cost, ratio=found.cost / solution.cost)


def _notes(fleet: Fleet, aim: Aim) -> tuple[str, ...]:
    notes = [
        (
            f"Servers are kept to {fleet.busy:.0%} of their time, so that requests seldom wait; waiting "
            "itself is not foretold."
        ),
        (
            "A server that is on draws its watts at rest all the time; those that are off draw nothing "
            "and carry nothing of their making."
        ),
    ]
    untold = [machine.name for machine in fleet.machines if machine.embodied_kg is None]
    if untold and aim == "carbon":
        notes.append(f"What making {', '.join(untold)} took is not known, and not counted.")
    assumed = [
        machine.name
        for machine in fleet.machines
        if machine.idle_w is None and machine.profile.sheet.idle_w is None
    ]
    if assumed:
        notes.append(
            f"Watts at rest of {', '.join(assumed)} are assumed to be half of those at work."
        )
    return tuple(notes)
