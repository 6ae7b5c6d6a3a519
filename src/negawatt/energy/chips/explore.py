"""Try every design of a space for a mix of work, keep what nothing beats, and make that better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.energy.chips.cost import (
    LIMITS,
    Costs,
    Limits,
    cost_of,
    excess_of,
    silicon_of,
)
from negawatt.energy.chips.design import RETICLE_MM2, Design, Designs, Space, columns_of, grid
from negawatt.energy.chips.mix import Mix
from negawatt.energy.chips.pareto import front_of, knee_of
from negawatt.energy.chips.refine import VARIED, Problem, gradients, refined
from negawatt.energy.chips.technology import Technology

Progress = Callable[[str, float], None]

_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One design with all that it takes.

    Args:
        design: What it is.
        joules: Of a token. [J/token]
        area: Of all dies. [mm²]
        die: Of one. [mm²]
        seconds: Of a batch of requests, to the last token. [s]
        power: Mean. [W]
        peak: Of the step that draws most. [W]
        carbon: Of making it. [kgCO2e]
        busy: Share of the multipliers' cycles that did useful work while arithmetic went on.
        memory_share: Of the time of memory in that of memory and arithmetic.
        parts: Joules by where they go; they are all there is. [J/token]
    """

    design: Design
    joules: float
    area: float
    die: float
    seconds: float
    power: float
    peak: float
    carbon: float
    busy: float
    memory_share: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Search:
    """The exhaustive part.

    Args:
        designs: That keep all limits. [n]
        costs: Of them. [n]
        front: Places of those that nothing beats.
        tried: How many there were before limits.
    """

    designs: Designs
    costs: Costs
    front: Any
    tried: int


@dataclass(frozen=True, slots=True)
class Found:
    """Everything found.

    Args:
        search: The exhaustive part.
        front: Refined and still unbeaten. [k]
        knee: Place of the best compromise in it.
        slopes: What one per cent more clock, bandwidth, shared and local memory does at the knee to
            joules, area and seconds, in per cent. [3, sizes]
        gained: Share by which refining made the least energy-delay-area product smaller. [1]
    """

    search: Search
    front: Designs
    knee: int
    slopes: Any
    gained: float


def search(mix: Mix, space: Space, limits: Limits, t: Technology) -> Search:
    """Every design of the space that keeps all limits, and the exact front of them.

    Raises:
        UsageError: a limit is absurd, or no design keeps all; the message names the nearest.
    """
    _refuse(limits)
    everything = grid(space, t)
    silicon = silicon_of(everything, t)
    needed = mix.needed()[everything.precision]
    fits = (silicon.die <= RETICLE_MM2) & (needed <= everything.capacity)
    fits &= silicon.total <= limits.area
    designs = everything.taken(fits)
    if len(designs):
        costs = cost_of(designs, mix, t)
        within = (excess_of(designs, mix, costs, t, limits) <= 1.0 + _SLACK).all(axis=0)
        if within.any():
            kept = designs.taken(within)
            costs = cost_of(kept, mix, t)
            return Search(kept, costs, front_of(costs.objectives), len(everything))
    raise _nothing(everything, mix, limits, t)


def explore(
    mix: Mix,
    space: Space,
    limits: Limits,
    t: Technology,
    progress: Progress = lambda stage, share: None,
) -> Found:
    """Search, refine, and choose the best compromise.

    Args:
        mix: What is done.
        space: What is tried.
        limits: What is allowed.
        t: Constants, with the overhead.
        progress: Told the stage and the share of it that is done.

    Raises:
        UsageError: a limit is absurd, or no design keeps all.
    """
    progress(f"trying {len(space)} designs", 0.0)
    seen = search(mix, space, limits, t)
    progress(f"trying {len(space)} designs", 1.0)
    problem = Problem(mix, t, limits)
    start = seen.designs.taken(seen.front)
    progress(f"refining {len(start)} designs", 0.0)
    better = refined(start, problem)
    costs = problem.costs(better)
    least = [np.prod(c, axis=-1).min() for c in (costs.objectives, seen.costs.objectives)]
    front = better.taken(front_of(costs.objectives))
    knee = knee_of(problem.costs(front).objectives)
    slopes = gradients(front.taken(np.array([knee])), problem)[0, :3]
    progress(f"refining {len(start)} designs", 1.0)
    return Found(seen, front, knee, slopes, float(1.0 - least[0] / least[1]))


def candidates(designs: Designs, costs: Costs) -> tuple[Candidate, ...]:
    """Columns as records."""
    return tuple(_candidate(designs, costs, at) for at in range(len(designs)))


def assess(design: Design, mix: Mix, t: Technology) -> Candidate:
    """What one design takes.

    Args:
        design: Which.
        mix: What it does.
        t: Constants, with the overhead.

    Raises:
        UsageError: it cannot be built, clocked at that voltage, or hold the models.
    """
    one = columns_of([design])
    costs = cost_of(one, mix, t)
    die, capacity, clock = excess_of(one, mix, costs, t, Limits())[:3, 0]
    if die > 1.0 + _SLACK:
        raise UsageError(
            f"a die of {die * RETICLE_MM2:.0f} mm² is above the {RETICLE_MM2:.0f} mm² of a mask",
            fix=f"divide it among {math.ceil(die) * design.chiplets} dies or more",
        )
    if capacity > 1.0 + _SLACK:
        raise UsageError(
            f"weights and text take {capacity * design.capacity / 1e9:.1f} GB, the memory holds "
            f"{design.capacity / 1e9:.1f} GB",
            fix="give more stacks, or a narrower precision",
        )
    if clock > 1.0 + _SLACK:
        least = float(t.voltage_for(design.frequency))
        raise UsageError(
            f"{design.voltage:.2f} of the usual voltage does not carry "
            f"{design.frequency / 1e9:.2f} GHz",
            fix=f"give a voltage of {least:.2f} or more, or a slower clock",
        )
    return _candidate(one, costs, 0)


def varied() -> tuple[str, ...]:
    """What the slopes of `Found` are by, in order."""
    return VARIED


def _candidate(designs: Designs, costs: Costs, at: int) -> Candidate:
    def of(column: Any) -> float:
        return float(np.broadcast_to(column, len(designs))[at])

    return Candidate(
        design=designs[at],
        joules=of(costs.joules),
        area=of(costs.silicon.total),
        die=of(costs.silicon.die),
        seconds=of(costs.seconds),
        power=of(costs.power),
        peak=of(costs.peak),
        carbon=of(costs.silicon.carbon),
        busy=of(costs.busy),
        memory_share=of(costs.memory_share),
        parts={name: of(value) for name, value in costs.parts.items()},
    )


def _refuse(limits: Limits) -> None:
    words = {"area": "--max-area", "power": "--max-power", "seconds": "--max-latency"}
    for name, option in words.items():
        value = getattr(limits, name)
        if not value > 0:
            raise UsageError(
                f"a limit of {value:g} for {option} leaves nothing",
                fix=f"give {option} a number above nought",
            )


def _nothing(everything: Designs, mix: Mix, limits: Limits, t: Technology) -> UsageError:
    """The error that names the nearest design and what would let it in."""
    costs = cost_of(everything, mix, t)
    excess = excess_of(everything, mix, costs, t, limits)
    # Reticle, memory and clock are laws; limits that somebody set are given up first.
    possible = (excess[:3] <= 1.0 + _SLACK).all(axis=0)
    if not possible.any():
        least = int(np.argmin(excess[:3].max(axis=0)))
        return _impossible(everything, mix, least, excess[:, least])
    at = int(np.argmin(np.where(possible, excess.max(axis=0), np.inf)))
    one = _candidate(everything, costs, at)
    asked = {
        "area": (f"--max-area {_up(one.area)}", f"{one.area:.0f} mm²"),
        "power": (f"--max-power {_up(one.peak)}", f"{one.peak:.0f} W"),
        "latency": (f"--max-latency {_up(one.seconds)}", f"{one.seconds:.3g} s"),
    }
    past = [name for name, by in zip(LIMITS, excess[:, at], strict=True) if by > 1.0 + _SLACK]
    told = ", ".join(asked[name][1] for name in past)
    return UsageError(
        f"none of {len(everything)} designs keeps all limits; the nearest takes {told} "
        f"({described(one.design)})",
        fix=f"allow {' '.join(asked[name][0] for name in past)}",
    )


def _impossible(designs: Designs, mix: Mix, at: int, excess: Any) -> UsageError:
    design = designs[at]
    needed = float(mix.needed()[designs.precision[at]])
    if excess[1] > 1.0:
        return UsageError(
            f"weights and text take {needed / 1e9:.0f} GB, and no package holds more than "
            f"{float(designs.capacity.max()) / 1e9:.0f} GB",
            fix="give a smaller model or batch, a narrower --precision, or another --memory",
        )
    return UsageError(
        f"every design needs dies above the {RETICLE_MM2:.0f} mm² that a mask can expose; "
        f"the nearest is {described(design)}",
        fix="name a smaller --node",
    )


def _up(value: float) -> str:
    """A little more, with three digits."""
    return f"{float(f'{1.01 * value:.3g}'):g}"


def described(design: Design) -> str:
    """A design in one line.

    >>> one = Design(
    ...     rows=128, cols=128, arrays=8, dataflow="weight", precision="bf16", local_mb=4,
    ...     shared_mb=128, memory="hbm2", stacks=4, bandwidth=1.2e12, capacity=32e9,
    ...     frequency=1.05e9, voltage=1.0, node_nm=7,
    ... )  # fmt: skip
    >>> described(one)
    '8 × 128×128 bf16, weights stay, 128 + 8×4 MB, 4 × hbm2 1.2 TB/s, 1.05 GHz, 7 nm, 1 die'
    """
    dies = f"{design.chiplets} die{'s' if design.chiplets > 1 else ''}"
    stays = {"weight": "weights stay", "output": "sums stay"}[design.dataflow]
    return (
        f"{design.arrays} × {design.rows}×{design.cols} {design.precision}, {stays}, "
        f"{design.shared_mb:.3g} + {design.arrays}×{design.local_mb:.3g} MB, "
        f"{design.stacks} × {design.memory} {design.bandwidth / 1e12:.3g} TB/s, "
        f"{design.frequency / 1e9:.3g} GHz, {design.node_nm} nm, {dies}"
    )
