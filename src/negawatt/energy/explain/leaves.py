"""The smallest parts that the joules of a batch of requests fall into.

Each leaf is of one phase, layer, operation and level. Dynamic joules belong to the matrix or the look at the text that
moves bytes or does operations. The watts that a device draws whatever it does are shared by time: a part is
charged for as long as it alone would keep memory and arithmetic busy, launches for their own time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from negawatt.energy.anatomy import OUTSIDE, Anatomy
from negawatt.energy.roofline import Constants
from negawatt.energy.serving import Leg, Served

Floats = NDArray[np.float64]

Level = Literal["weights", "context", "arithmetic", "links", "static"]
Phase = Literal["reading", "writing"]

#: What the levels are, for people.
LEVELS: dict[Level, str] = {
    "weights": "weights from memory",
    "context": "context from memory",
    "arithmetic": "arithmetic",
    "links": "between devices",
    "static": "static watts",
}

#: Operations that are no matrix.
LOOKING, LAUNCHES, SAMPLING, WAITING, LINKS = (
    "looking back",
    "launches",
    "sampling",
    "waiting for the server",
    "talking to other devices",
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """Joules of one phase, layer, operation and level.

    Args:
        phase: Reading prompts or writing replies.
        layer: Number of the layer, or `OUTSIDE`.
        operation: A matrix by name, or what else takes joules.
        level: Where in the machine.
        joules: Of the whole batch of requests. [J]
    """

    phase: Phase
    layer: int
    operation: str
    level: Level
    joules: float


@dataclass(frozen=True, slots=True)
class Group:
    """Leaves that have something in common.

    Args:
        name: What.
        joules: Of all of them. [J]
        share: Of the whole. [1]
    """

    name: str
    joules: float
    share: float


def leaves_of(served: Served, device: Constants) -> tuple[Leaf, ...]:
    """All leaves of a batch of requests; their sum is all there is.

    Args:
        served: The batch.
        device: What the device takes.
    """
    steps = float(served.run.written)
    wait = float(served.writing.seconds) - float(served.writing.times.total) * steps
    found: list[Leaf] = []
    # Reading behind writing adds to the time of memory and arithmetic alone.
    alone = math.isclose(float(served.reading.seconds), float(served.reading.times.total))
    found += _leg("reading", served.reading, device, overheads=alone, wait_s=0.0)
    found += _leg("writing", served.writing, device, overheads=True, wait_s=max(0.0, wait))
    return tuple(leaf for leaf in found if leaf.joules > 0)


def grouped(
    leaves: Sequence[Leaf], by: Literal["phase", "operation", "level", "layer"]
) -> tuple[Group, ...]:
    """Leaves by what they have in common, the largest first; layers in their order.

    >>> both = (
    ...     Leaf("reading", 0, "ffn", "weights", 1.0),
    ...     Leaf("writing", 0, "ffn", "weights", 3.0),
    ... )
    >>> [(one.name, one.share) for one in grouped(both, "phase")]
    [('writing', 0.75), ('reading', 0.25)]
    """
    whole = total(leaves)
    apart: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        apart.setdefault(_name(leaf, by), []).append(leaf)
    groups = [Group(name, total(some), total(some) / whole) for name, some in apart.items()]
    if by == "layer":
        return tuple(groups)
    return tuple(sorted(groups, key=lambda group: -group.joules))


def total(leaves: Iterable[Leaf]) -> float:
    """Correctly rounded, so that it is the same in whatever order. [J]"""
    return math.fsum(leaf.joules for leaf in leaves)


def layer_name(layer: int) -> str:
    """As people call it."""
    return "outside the layers" if layer == OUTSIDE else f"layer {layer + 1}"


def _name(leaf: Leaf, by: str) -> str:
    if by == "layer":
        return layer_name(leaf.layer)
    return LEVELS[leaf.level] if by == "level" else str(getattr(leaf, by))


def _leg(
    phase: Phase, leg: Leg, device: Constants, *, overheads: bool, wait_s: float
) -> Iterator[Leaf]:
    """Dynamic joules as they are, static ones by time."""
    anatomy = leg.work.anatomy
    timed = list(_timed(leg, device, overheads=overheads, wait_s=wait_s))
    whole = math.fsum(seconds for _, _, seconds in timed)
    static = float(leg.joules.static)
    for layer, operation, seconds in timed:
        yield Leaf(phase, layer, operation, "static", static * seconds / whole if whole else 0.0)
    for i, matrix in enumerate(anatomy.matrices):
        yield Leaf(phase, matrix.layer, matrix.name, "weights", _at(leg.joules.weights, i))
        yield Leaf(phase, matrix.layer, matrix.name, "arithmetic", _at(leg.joules.operations, i))
    for i, cache in enumerate(anatomy.caches):
        yield Leaf(phase, cache.layer, LOOKING, "context", _at(leg.joules.context, i))
        yield Leaf(phase, cache.layer, LOOKING, "arithmetic", _at(leg.joules.looked, i))
    yield Leaf(phase, OUTSIDE, LINKS, "links", float(leg.joules.links))


def _timed(
    leg: Leg, device: Constants, *, overheads: bool, wait_s: float
) -> Iterator[tuple[int, str, float]]:
    """Layer, operation and seconds of what takes time, of all steps of a leg."""
    work, times, steps = leg.work, leg.times, float(leg.steps)
    spread = sum(float(one) for one in (times.layers, times.sequences, times.links, times.experts))
    busy = float(leg.seconds) - wait_s - (steps * spread if overheads else 0.0)
    alone = [
        (one.layer, one.name, _at(work.weight_bytes, i), _at(work.operations, i))
        for i, one in enumerate(work.anatomy.matrices)
    ] + [
        (one.layer, LOOKING, _at(work.context_bytes, i), _at(work.looked, i))
        for i, one in enumerate(work.anatomy.caches)
    ]
    lengths = [moved / device.bandwidth + done / device.rate for _, _, moved, done in alone]
    whole = math.fsum(lengths)
    for (layer, name, _, _), length in zip(alone, lengths, strict=True):
        yield layer, name, max(0.0, busy) * length / whole if whole else 0.0
    if overheads:
        yield from _overheads(work.anatomy, leg)
    yield OUTSIDE, WAITING, wait_s


def _overheads(anatomy: Anatomy, leg: Leg) -> Iterator[tuple[int, str, float]]:
    """Launches, sampling and waits for other devices, of all steps of a leg. [s]"""
    steps, times = float(leg.steps), leg.times
    for layer in range(anatomy.layers):
        yield layer, LAUNCHES, steps * float(times.layers) / anatomy.layers
        yield layer, LINKS, steps * float(times.links) / anatomy.layers
    routed = sorted({one.layer for one in anatomy.matrices if one.role == "expert"})
    for layer in routed:
        yield layer, "router", steps * float(times.experts) / len(routed)
    yield OUTSIDE, SAMPLING, steps * float(times.sequences)


def _at(values: Floats, i: int) -> float:
    return float(np.asarray(values).reshape(-1)[i])
