"""From the best points of a grid to better ones between its lines, along exact gradients.

What may vary smoothly is the clock (with the least voltage that carries it), the bandwidth and both
on-chip memories. Derivatives are taken by complex steps: a size is turned by a tiny imaginary
angle, and the imaginary part of the result is the derivative to the last digit, without differences.
A step goes where no objective grows, and is taken only when none has grown and every limit holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from negawatt.energy.chips.cost import Costs, Limits, cost_of, excess_of
from negawatt.energy.chips.design import Designs
from negawatt.energy.chips.mix import Mix
from negawatt.energy.chips.technology import BITS, MEMORIES, PRECISIONS, Technology

#: Names of the columns that vary, in order.
VARIED = ("frequency", "bandwidth", "shared_mb", "local_mb")

_ANGLE = 1e-30  # far below rounding, as nothing is subtracted
_ROUNDS = 40
_FIRST, _LEAST, _FARTHEST = 0.05, 1e-4, 0.3  # of a step in logarithms
_NEAR = 0.98  # of the power limit, from which its gradient counts
_SLACK = 1e-9
_FLAT = 1e-9


@dataclass(frozen=True, slots=True)
class Problem:
    """What is refined against what.

    Args:
        mix: Of work.
        technology: Constants.
        limits: That hold.
    """

    mix: Mix
    technology: Technology
    limits: Limits

    def costs(self, designs: Designs) -> Costs:
        """Of designs."""
        return cost_of(designs, self.mix, self.technology)

    def within(self, designs: Designs, costs: Costs) -> Any:
        """True for designs that keep all limits. [n]"""
        excess = excess_of(designs, self.mix, costs, self.technology, self.limits)
        return (excess <= 1.0 + _SLACK).all(axis=0)


def refined(designs: Designs, problem: Problem) -> Designs:
    """Designs that are nowhere worse, as good as gradients make them.

    Args:
        designs: That keep the limits. [n]
        problem: What they are for.
    """
    low, high = _bounds(designs, problem.technology)
    costs = problem.costs(designs)
    size = np.full(len(designs), _FIRST)
    for _ in range(_ROUNDS):
        going = size > _LEAST
        if not going.any():
            break
        slopes = gradients(designs, problem)
        way = _downhill(slopes, _at(designs), low, high)
        wanted = np.clip(_at(designs) + size[:, None] * way, low, high)
        tried = _moved(designs, wanted, problem.technology)
        new = problem.costs(tried)
        better = _better(new, costs) & problem.within(tried, new) & going
        designs = _where(better, tried, designs)
        costs = problem.costs(designs)
        size = np.where(better, np.minimum(1.6 * size, _FARTHEST), 0.4 * size)
    return designs


def gradients(designs: Designs, problem: Problem) -> Any:
    """Derivatives of logarithms by logarithms: what one per cent more of a size does, in per cent.

    Returns:
        Of joules a token, area, seconds and the greatest power. [n, 4, sizes]
    """
    t, found = problem.technology, []
    for name in VARIED:
        turned = designs.changed(**{name: getattr(designs, name) * np.exp(1j * _ANGLE)})
        if name == "frequency":
            turned = turned.changed(voltage=_carrying(turned, t))
        costs = problem.costs(turned)
        values = (costs.joules, costs.silicon.total, costs.seconds, costs.peak)
        columns = [np.imag(value) / np.real(value) / _ANGLE for value in values]
        found.append(np.stack([np.broadcast_to(c, len(designs)) for c in columns], axis=-1))
    slopes = np.stack(found, axis=-1)
    if np.isfinite(problem.limits.power):
        peak = problem.costs(designs).peak
        far = peak < _NEAR * problem.limits.power
    else:
        far = np.full(len(designs), fill_value=True)
    # Where power is no matter, its slope repeats that of joules, which changes nothing.
    slopes[far, 3] = slopes[far, 0]
    return slopes


def _carrying(designs: Designs, t: Technology) -> Any:
    """Voltages that go with clocks; those set higher than needed keep their distance."""
    least = t.voltage_for(np.real(designs.frequency))
    return t.voltage_for(designs.frequency) * (designs.voltage / least)


def _at(designs: Designs) -> Any:
    """Logarithms of what varies. [n, sizes]"""
    return np.log(np.stack([getattr(designs, name) for name in VARIED], axis=-1))


def _bounds(designs: Designs, t: Technology) -> tuple[Any, Any]:
    """Of the logarithms; a design that starts beyond one stays where it is. [n, sizes], twice"""
    full = designs.stacks * t.each("rate", MEMORIES, designs.memory)
    one = np.ones(len(designs))
    bits = np.array([float(BITS[name]) for name in PRECISIONS])[designs.precision]
    tiles = 2.0 * designs.rows * designs.cols * bits / 8e6  # one in use, one coming [MB]
    local = np.maximum(tiles, 0.0625)
    low = np.stack([0.3 * t["frequency"] * one, 0.25 * full, 1.0 * one, local], axis=-1)
    high = np.stack([1.4 * t["frequency"] * one, full, 512.0 * one, 16.0 * one], axis=-1)
    now = _at(designs)
    return np.minimum(np.log(low), now), np.maximum(np.log(high), now)


def _downhill(slopes: Any, now: Any, low: Any, high: Any) -> Any:
    """Unit directions along which no objective grows at first. [n, sizes]

    The shortest vector in the hull of the gradients, reversed, goes down on all of them (Désidéri,
    2012); it is found exactly, as the nearest of the nearest points of all faces.
    """
    # What cannot move any further plays no part; its slopes are those of a wall.
    stuck = (now <= low + 1e-12) | (now >= high - 1e-12)
    free = np.where(stuck, 0.0, 1.0)
    way = _shortest(slopes * free[:, None, :])
    # A size at its bound may go back inside when all objectives like that.
    inward = np.where(now <= low + 1e-12, 1.0, -1.0)
    liked = (slopes * inward[:, None, :] < 0.0).all(axis=1) & stuck
    length = np.linalg.norm(way, axis=-1, keepdims=True)
    unit = np.where(length > 1e-9, -way / np.maximum(length, 1e-9), 0.0)
    return np.where(liked, inward, unit)


def _shortest(slopes: Any) -> Any:
    """The point of each hull that is nearest to nought. [n, sizes]"""
    length = np.linalg.norm(slopes, axis=-1, keepdims=True)
    corners = slopes / np.maximum(length, 1e-12)
    # An objective that is flat has no say: its corner repeats that of the steepest.
    steepest = np.take_along_axis(corners, length.argmax(axis=1)[:, :, None], axis=1)
    corners = np.where(length > _FLAT, corners, steepest)
    point, least = corners[:, 0], np.full(len(corners), np.inf)
    for members in _FACES:
        some = corners[:, members]
        # Of the face's plane the nearest point; a trace of identity stands for corners that coincide.
        gram = np.einsum("nkd,njd->nkj", some, some) + _TRACE * np.eye(len(members))
        shares = np.linalg.solve(gram, np.ones((len(corners), len(members), 1)))[:, :, 0]
        shares /= shares.sum(axis=1, keepdims=True)
        near = np.einsum("nk,nkd->nd", shares, some)
        away = (near**2).sum(axis=1)
        closer = (shares >= -_TRACE).all(axis=1) & (away < least)
        point = np.where(closer[:, None], near, point)
        least = np.where(closer, away, least)
    return point


#: Corners, edges, triangles and the whole of the hull of four gradients.
_FACES = tuple(list(face) for size in range(1, 5) for face in combinations(range(4), size))
_TRACE = 1e-12


def _moved(designs: Designs, logs: Any, t: Technology) -> Designs:
    columns = {name: np.exp(logs[:, at]) for at, name in enumerate(VARIED)}
    voltage = t.voltage_for(columns["frequency"])
    above = designs.voltage / t.voltage_for(designs.frequency)
    return designs.changed(**columns, voltage=voltage * above)


def _better(new: Costs, old: Costs) -> Any:
    """Nowhere worse and somewhere better. [n]"""
    after, before = new.objectives, old.objectives
    return (after <= before).all(axis=-1) & (after < before).any(axis=-1)


def _where(which: Any, one: Designs, other: Designs) -> Designs:
    names = (*VARIED, "voltage")
    columns = {n: np.where(which, getattr(one, n), getattr(other, n)) for n in names}
    return other.changed(**columns)
