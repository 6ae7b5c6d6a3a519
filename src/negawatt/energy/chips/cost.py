"""What designs take for a mix of work: joules, seconds, silicon and carbon, for all of them at once.

    multipliers   rows × cols of every array, as busy as its dataflow keeps them
    memories      what has to pass: beside the arrays, shared on the dies, and beside the dies
    time          the smooth roofline of arithmetic and memory, and a start for each product
    joules        κ · dynamic · (V/V0)² on the dies, κ · bytes of memory, and standing power × time

Everything is arithmetic on columns [n]. Constants may be columns of draws [draws, 1], and
what varies smoothly may carry complex steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from negawatt.energy.chips.design import DATAFLOWS, RETICLE_MM2, Designs
from negawatt.energy.chips.mix import Chore, Mix, Product, context_bits
from negawatt.energy.chips.technology import (
    BITS,
    MEMORIES,
    PRECISIONS,
    Real,
    Technology,
    greater,
    smaller,
)

_BYTE = 8.0  # bits
_SUM_BYTES = 4.0  # of a sum on its way through an array
_OUT_BYTES = 2.0  # of a result
_HALF = 0.5  # of a memory holds what is worked on, the other half is being filled
_CM2 = 100.0  # mm²


@dataclass(frozen=True, slots=True)
class Silicon:
    """Area of designs and what making them emits. [n]

    Args:
        parts: By name; they are all there is. [mm²]
        active: Of them, what holds circuits. [mm²]
        total: Of all dies. [mm²]
        die: Of one. [mm²]
        carbon: Of dies, as many as fail included, and of memory. [kgCO2e]
    """

    parts: Mapping[str, Real]
    active: Real
    total: Real
    die: Real
    carbon: Real


@dataclass(frozen=True, slots=True)
class Costs:
    """What designs take. [n], or [draws, n]

    Args:
        silicon: Area and carbon.
        parts: Joules of a token by name; they are all there is. [J/token]
        joules: Of a token. [J/token]
        seconds: Of a round: from the arrival of a batch of requests to its last token. [s]
        power: Mean over a round. [W]
        peak: Mean of the step that draws most. [W]
        busy: Share of the multipliers' cycles that did useful work while arithmetic went on.
        memory_share: Of the time of memory in that of memory and arithmetic.
    """

    silicon: Silicon
    parts: Mapping[str, Real]
    joules: Real
    seconds: Real
    power: Real
    peak: Real
    busy: Real
    memory_share: Real

    @property
    def objectives(self) -> Any:
        """Joules a token, square millimetres, seconds: less is better. [n, 3]"""
        return np.stack([self.joules, self.silicon.total, self.seconds], axis=-1)


def silicon_of(designs: Designs, t: Technology) -> Silicon:
    """Area and embodied carbon.

    Stacks of memory stand along the edges, so dies with little inside are as large as their edge asks.

    Raises:
        UsageError: a process node that nothing is known of.
    """
    logic = t.of_node("logic_area", designs.node_nm)
    memory_mb = designs.local_mb * designs.arrays + designs.shared_mb
    arrays = designs.macs * t.each("area", PRECISIONS, designs.precision) * logic
    memory = memory_mb * t["sram_area"] * t.of_node("sram_area", designs.node_nm)
    one = t.each("edge", MEMORIES, designs.memory) / t.each("rate", MEMORIES, designs.memory)
    parts = {
        "arrays": arrays,
        "memory": memory,
        "memory edge": one * designs.bandwidth,
        "rest": t["rest_area"] * (arrays + memory),
        "host": t["host_area"] + 0.0 * logic,
        "seams": t["seam_area"] * designs.chiplets * (designs.chiplets > 1),
    }
    active = sum(parts.values())
    edge = designs.stacks * t.each("width", MEMORIES, designs.memory) / t["edge_share"]
    total = greater(active, (edge / 4.0) ** 2)
    parts["padding"] = total - active
    die = total / designs.chiplets
    made = t.of_node("fab_kwh_cm2", designs.node_nm) * t["fab_intensity"]
    made = made + t.of_node("gases_kg_cm2", designs.node_nm) + t["materials"]
    good = np.exp(-t["defects"] * die / _CM2)
    carbon = total / _CM2 / good * made + designs.capacity * t["ram"]
    return Silicon(parts, active, total, die, carbon)


def cost_of(designs: Designs, mix: Mix, t: Technology) -> Costs:
    """What a mix takes on each design.

    Args:
        designs: Columns. [n]
        mix: What is done.
        t: Constants, with the overhead.
    """
    silicon = silicon_of(designs, t)
    standing = _standing(designs, silicon, t)
    watts = sum(standing.values())
    joules: dict[str, Real] = {}
    seconds, peak, arithmetic, useful, waited = 0.0, 0.0, 0.0, 0.0, 0.0
    for chore in mix.chores:
        step = _step(chore, designs, t)
        lasted = step.seconds
        seconds = seconds + chore.weight * lasted
        peak = greater(peak, sum(step.joules.values()) / lasted + watts)
        arithmetic = arithmetic + chore.weight * step.arithmetic
        waited = waited + chore.weight * step.memory
        useful = useful + chore.weight * step.useful
        parts = {**step.joules, **{name: power * lasted for name, power in standing.items()}}
        for name, value in parts.items():
            joules[name] = joules.get(name, 0.0) + value * (chore.weight / mix.tokens)
    total = sum(joules.values())
    return Costs(
        silicon=silicon,
        parts=joules,
        joules=total,
        seconds=seconds,
        power=total * mix.tokens / seconds,
        peak=peak,
        busy=useful / arithmetic,
        memory_share=waited / (waited + arithmetic),
    )


def excess_of(designs: Designs, mix: Mix, costs: Costs, t: Technology, limits: Limits) -> Any:
    """By what factor each design goes past each limit; 1 or less is within. [limits, n]"""
    needed = mix.needed()[designs.precision]
    carried = (designs.voltage - t["threshold"]) / (1.0 - t["threshold"]) * t["frequency"]
    rows = [
        costs.silicon.die / RETICLE_MM2,
        needed / designs.capacity,
        designs.frequency / carried,
        costs.silicon.total / limits.area,
        costs.peak / limits.power,
        costs.seconds / limits.seconds,
    ]
    shape = np.broadcast_shapes(*(np.shape(row) for row in rows))
    return np.stack([np.broadcast_to(row, shape) for row in rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a design may take at most.

    Args:
        area: Of all dies. [mm²]
        power: Of the step that draws most. [W]
        seconds: From the arrival of a batch of requests to its last token. [s]
    """

    area: float = float("inf")
    power: float = float("inf")
    seconds: float = float("inf")


#: What the rows of `excess_of` are about.
LIMITS = ("die", "capacity", "clock", "area", "power", "latency")


@dataclass(frozen=True, slots=True)
class _Stepped:
    joules: Mapping[str, Real]  # dynamic, of one step
    seconds: Real
    arithmetic: Real  # s
    memory: Real  # s
    useful: Real  # s that arithmetic would take were every multiplier busy


@dataclass(frozen=True, slots=True)
class _Passed:
    """Bytes that pass for one product, and the cycles it takes."""

    sums: Real
    local: Real
    shared: Real
    outside: Real
    links: Real
    cycles: Real


def _standing(designs: Designs, silicon: Silicon, t: Technology) -> dict[str, Real]:
    """Power whatever is done. [W]"""
    pace = designs.frequency / t["frequency"]
    return {
        "leakage": t["leakage"] * silicon.active * designs.voltage**3,
        "clocks": t["clocks"] * silicon.active * pace * designs.voltage**2,
        "standby": t["standby"] * designs.capacity,
    }


def _step(chore: Chore, designs: Designs, t: Technology) -> _Stepped:
    values_b = np.array([float(BITS[name]) for name in PRECISIONS])[designs.precision] / _BYTE
    text_b = context_bits(values_b * _BYTE) / _BYTE
    # What fits stays on the dies from one step to the next.
    pinned = smaller(1.0, _HALF * designs.shared_mb * 1e6 / (chore.weights * values_b))
    macs, cycles, starts = 0.0, 0.0, 0.0
    sums, local, shared, links = 0.0, 0.0, 0.0, 0.0
    outside = chore.looked_up * values_b
    for one in chore.products:
        each, stays = (text_b, 0.0) if one.kept else (values_b, pinned)
        passed = _passed(one, designs, each, stays)
        macs += one.count * one.values * one.reuse
        starts += one.count
        cycles = cycles + one.count * passed.cycles
        sums = sums + one.count * passed.sums
        local = local + one.count * passed.local
        shared = shared + one.count * passed.shared
        outside = outside + one.count * passed.outside
        links = links + one.count * passed.links
    arithmetic = cycles / designs.frequency
    memory = outside / _streamed(designs, t)
    seconds = _norm(arithmetic, memory, t["sharpness"]) + starts * t["dispatch"]
    on_die = t["overhead"] * t.smaller(designs.node_nm) * designs.voltage**2
    block = designs.shared_mb / designs.chiplets
    beside = _sram(designs.local_mb, t) * local + t["sram_least"] * sums
    return _Stepped(
        joules={
            "arithmetic": on_die * t.each("mac", PRECISIONS, designs.precision) * macs,
            "local memory": on_die * beside,
            "shared memory": on_die * _sram(block, t) * shared,
            "memory": t["overhead"] * t.each("energy", MEMORIES, designs.memory) * outside,
            "links": t["overhead"] * t["link"] * links,
        },
        seconds=seconds,
        arithmetic=arithmetic,
        memory=memory,
        useful=macs / (designs.macs * designs.frequency),
    )


def _streamed(designs: Designs, t: Technology) -> Real:
    """What the memory delivers: no more than half of the memory on the dies has room for. [B/s]"""
    room = _HALF * 1e6 * (designs.local_mb * designs.arrays + designs.shared_mb)
    return smaller(designs.bandwidth * t["reached"], room / t["latency"])


def _passed(one: Product, designs: Designs, each: Real, stays: Real) -> _Passed:
    """Tile one product over the arrays.

    Args:
        one: The product.
        designs: On which.
        each: Bytes of a value. [n]
        stays: Share of the values that is on the dies already.
    """
    rows, cols, arrays, dies = designs.rows, designs.cols, designs.arrays, designs.chiplets
    depth, reuse = one.depth, one.reuse
    width = one.values / depth
    down, across = np.ceil(depth / rows), np.ceil(width / cols)
    steady = designs.dataflow == DATAFLOWS.index("weight")
    # Weights stay: a tile takes as long as its rows stream, or as the next tile loads. Outputs
    # stay: as long as its sums are deep, and every tile of rows asks for the weights anew.
    turns = np.ceil(np.where(steady, down, np.ceil(reuse / rows)) * across / arrays)
    cycles = turns * np.maximum(np.where(steady, reuse, depth), rows) + rows + cols
    loads = np.where(steady, 1.0, np.ceil(reuse / rows))
    weights, taken = one.values * each, reuse * depth * each
    results = reuse * width
    local = designs.local_mb * 1e6 * _HALF
    held = smaller(1.0, local / taken)  # share of the inputs that an array keeps for all its tiles
    panel = smaller(1.0, local / (depth * cols * each))  # of a tile's weights
    again = weights * (1.0 - panel) * (loads - 1.0)
    inputs = taken * (held * np.minimum(arrays, across) + (1.0 - held) * across)
    rounds = greater(1.0, taken / (designs.shared_mb * 1e6 * _HALF))
    come = weights * (1.0 - stays)
    spilt = (taken + results * _OUT_BYTES) * (1.0 - 1.0 / rounds)
    more = smaller(come * (rounds - 1.0), 2.0 * spilt)
    return _Passed(
        sums=2.0 * results * _SUM_BYTES * np.where(steady, down, 1.0),
        local=weights * (1.0 + loads) + 2.0 * taken * across,
        shared=weights * stays + again + inputs + 2.0 * results * _OUT_BYTES,
        outside=come + more,
        links=(dies - 1.0) * taken + (1.0 - 1.0 / dies) * results * _OUT_BYTES,
        cycles=cycles,
    )


def _sram(block_mb: Real, t: Technology) -> Real:
    """Of a byte in or out of a block, at 7 nm. [J/B]"""
    return t["sram_least"] + t["sram_wire"] * np.sqrt(block_mb)


def _norm(one: Real, other: Real, q: Real) -> Real:
    """(one^q + other^q)^(1/q), safe for numbers far from 1."""
    largest = one + other
    return largest * ((one / largest) ** q + (other / largest) ** q) ** (1.0 / q)
