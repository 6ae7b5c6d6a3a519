"""The answer to "which chip?": the front, the choice, why, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.energy.chips.cost import Costs, Limits, cost_of
from negawatt.energy.chips.design import Designs, Space, grid
from negawatt.energy.chips.explore import (
    Candidate,
    Found,
    Progress,
    candidates,
    explore,
    varied,
)
from negawatt.energy.chips.mix import Mix
from negawatt.energy.chips.overhead import Overhead, overhead
from negawatt.energy.chips.reasons import because_of
from negawatt.energy.chips.stability import Stability, spread_of, stability_of
from negawatt.energy.chips.technology import Technology, circuits

_RANKED = 250  # designs of which the ranking is tried under other constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the chosen design takes, with intervals from those of all constants.

    Args:
        joules: Of a token. [J/token]
        area: Of all dies. [mm2]
        seconds: Of a batch of requests, to the last token. [s]
        power: Mean. [W]
        peak: Of the step that draws most. [W]
        carbon: Of making it. [kgCO2e]
    """

    joules: Estimate
    area: Estimate
    seconds: Estimate
    power: Estimate
    peak: Estimate
    carbon: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """Everything that `negawatt design` tells.

    Args:
        models: As they were named.
        workloads: `PROMPT:GEN:BATCH` of each.
        limits: That were set, by name: area [mm²], power [W], seconds [s].
        tried: Designs on the grid.
        met: Of these, the ones that keep all limits.
        front: Unbeaten after refining, least joules first.
        knee: Place of the choice in it.
        chosen: What it takes.
        slopes: What one per cent more of a size does to joules, area and seconds of the choice, in
            per cent: size -> figure -> per cent.
        gained: Share by which refining made the least energy-delay-area product smaller. [1]
        overhead: κ and what it was fitted to.
        stability: What is left of the ranking under other constants.
        because: Why the choice won and what limits it, sentence by sentence.
        notes: What is not in the figures.
    """

    models: tuple[str, ...]
    workloads: tuple[str, ...]
    limits: Mapping[str, float]
    tried: int
    met: int
    front: tuple[Candidate, ...]
    knee: int
    chosen: Figures
    slopes: Mapping[str, Mapping[str, float]]
    gained: float
    overhead: Overhead
    stability: Stability
    because: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def choice(self) -> Candidate:
        """The best compromise."""
        return self.front[self.knee]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be found out.

    Args:
        models: As they were named.
        workloads: `PROMPT:GEN:BATCH` of each.
        mix: Both, as steps.
        space: What is tried.
        limits: What is allowed.
        seed: Of the draws.
    """

    models: Sequence[str]
    workloads: Sequence[str]
    mix: Mix
    space: Space
    limits: Limits
    seed: int = 0


def answer(asked: Asked, progress: Progress = lambda stage, share: None) -> Exploration:
    """Explore, and say how far to trust the result.

    Args:
        asked: What is to be found out.
        progress: Told the stage and the share of it that is done.

    Raises:
        UsageError: a limit is absurd, or no design keeps all; the message names the nearest.
    """
    plain = circuits()
    kappa = overhead(plain)
    t = plain.changed({"overhead": kappa.factor.value})
    found = explore(asked.mix, asked.space, asked.limits, t, progress)
    costs = cost_of(found.front, asked.mix, t)
    front = candidates(found.front, costs)
    progress("trying other constants", 0.0)
    stability = stability_of(_ranked(found, asked, t), asked.mix, t, asked.seed)
    one = found.front.taken(np.array([found.knee]))
    drawn = spread_of(one, asked.mix, t, kappa, asked.seed)
    progress("trying other constants", 1.0)
    slopes = {
        name: dict(zip(("joules", "area", "seconds"), map(float, column), strict=True))
        for name, column in zip(varied(), found.slopes.T, strict=True)
    }
    return Exploration(
        models=tuple(asked.models),
        workloads=tuple(asked.workloads),
        limits={
            field.name: getattr(asked.limits, field.name)
            for field in fields(asked.limits)
            if np.isfinite(getattr(asked.limits, field.name))
        },
        tried=found.search.tried,
        met=len(found.search.designs),
        front=front,
        knee=found.knee,
        chosen=_figures(front[found.knee], drawn),
        slopes=slopes,
        gained=found.gained,
        overhead=kappa,
        stability=stability,
        because=because_of(front, found.knee, slopes),
        notes=_NOTES,
    )


_NOTES = (
    "Joules are per token written, over reading and writing; for encoders per token read.",
    "Narrower multipliers cost quality that is not in these figures; --precision keeps them out.",
    "All figures are modelled from published tables of circuits: they compare designs, and sign none off.",
)


def _ranked(found: Found, asked: Asked, t: Technology) -> Designs:
    """The front, and others that keep the limits; of any kind where these are few."""
    others = found.search.designs
    if len(others) < _RANKED // 5:
        others = grid(asked.space, t)
    dice = np.random.default_rng(asked.seed)
    more = min(len(others), max(_RANKED - len(found.front), _RANKED // 5))
    picked = others.taken(np.sort(dice.choice(len(others), more, replace=False)))
    return Designs(
        **{
            field.name: np.concatenate(
                [getattr(found.front, field.name), getattr(picked, field.name)]
            )
            for field in fields(Designs)
        }
    )


def _figures(one: Candidate, drawn: Costs) -> Figures:
    def told(value: float, columns: Any, unit: str) -> Estimate:
        low, high = np.quantile(columns, [0.05, 0.95])
        return Estimate(
            value=value,
            low=min(float(low), value),
            high=max(float(high), value),
            unit=unit,
            kind=Kind.MODELLED,
            source="published tables of circuits with the overhead of whole chips; interval: 90 % of "
            "tables drawn from the published ranges",
            boundary="chip with its memory",
        )

    return Figures(
        joules=told(one.joules, drawn.joules, "J/token"),
        area=told(one.area, drawn.silicon.total, "mm2"),
        seconds=told(one.seconds, drawn.seconds, "s"),
        power=told(one.power, drawn.power, "W"),
        peak=told(one.peak, drawn.peak, "W"),
        carbon=told(one.carbon, drawn.silicon.carbon, "kgCO2e"),
    )
