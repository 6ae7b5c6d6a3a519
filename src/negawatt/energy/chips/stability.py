"""How much of a ranking survives when every constant may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.energy.chips.cost import Costs, cost_of
from negawatt.energy.chips.design import Designs
from negawatt.energy.chips.mix import Mix
from negawatt.energy.chips.overhead import Overhead
from negawatt.energy.chips.technology import UNITS, Technology, factors

_DRAWS = 200
_WORST = 2.0  # factor by which every constant may be wrong
_TOP = 10


@dataclass(frozen=True, slots=True)
class Stability:
    """What is left of a ranking under other constants.

    Args:
        tau: Kendall's rank correlation of joules a token with the ranking as published; its value
            is the mean, its interval holds 90 % of the draws. [1]
        stays: Share of draws in which the best compromise stays among the best ten. [1]
        draws: Tables of constants tried.
        designs: That were ranked.
        factor: By which every constant was wrong at most, up or down. [1]
    """

    tau: Estimate
    stays: float
    draws: int
    designs: int
    factor: float = _WORST


def stability_of(designs: Designs, mix: Mix, t: Technology, seed: int = 0) -> Stability:
    """Rank designs anew under constants that are all wrong by random factors up to two.

    Args:
        designs: To rank, two or more. [n]
        mix: What they do.
        t: Constants as published.
        seed: Of the factors.
    """
    from scipy.stats import kendalltau

    usual = cost_of(designs, mix, t)
    shaken = cost_of(designs, mix, _shaken(t, np.random.default_rng(seed)))
    joules = np.broadcast_to(shaken.joules, (_DRAWS, len(designs)))
    taus = np.array([kendalltau(usual.joules, row).statistic for row in joules])
    best = int(np.argmin(_scores(usual)))
    scores = np.broadcast_to(_scores(shaken), (_DRAWS, len(designs)))
    ranks = (scores < scores[:, best : best + 1]).sum(axis=1)
    low, high = np.quantile(taus, [0.05, 0.95])
    mean = float(taus.mean())
    return Stability(
        tau=Estimate(
            value=mean,
            low=min(float(low), mean),
            high=max(float(high), mean),
            unit="1",
            kind=Kind.MODELLED,
            source=f"{_DRAWS} tables whose constants are each wrong by up to {_WORST:g} times",
        ),
        stays=float((ranks < _TOP).mean()),
        draws=_DRAWS,
        designs=len(designs),
    )


def spread_of(designs: Designs, mix: Mix, t: Technology, found: Overhead, seed: int = 0) -> Costs:
    """Costs under tables drawn from the published intervals, κ among them. [draws, n]"""
    dice = np.random.default_rng(seed)
    drawn = {}
    for name, factor in factors().items():
        if name in t.prices:
            drawn[name] = _between(dice, factor.low, factor.high) * UNITS.get(factor.unit, 1.0)
    drawn["overhead"] = _between(dice, found.factor.low, found.factor.high)
    return cost_of(designs, mix, t.changed(drawn))


def _between(dice: np.random.Generator, low: float, high: float) -> Any:
    """Evenly in logarithms. [draws, 1]"""
    return np.exp(dice.uniform(math.log(low), math.log(high), (_DRAWS, 1)))


def _shaken(t: Technology, dice: np.random.Generator) -> Technology:
    drawn = {name: t[name] * _between(dice, 1.0 / _WORST, _WORST) for name in t.prices}
    drawn["reached"] = np.minimum(drawn["reached"], 1.0)  # more than all is no bandwidth
    nodes = {
        name: row if name == "nm" else row * _WORST ** dice.uniform(-1, 1, (_DRAWS, len(row)))
        for name, row in t.nodes.items()
    }
    return Technology(t.changed(drawn).constants, MappingProxyType(nodes))


def _scores(costs: Costs) -> Any:
    """Logarithm of the energy-delay-area product."""
    return np.log(costs.joules) + np.log(costs.silicon.total) + np.log(costs.seconds)
