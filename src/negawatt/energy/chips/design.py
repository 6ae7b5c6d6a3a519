"""An accelerator as a record, and many of them as columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.energy.chips.technology import MEMORIES, PRECISIONS, Technology

#: What stays in place while the rest streams past: weights, or sums of outputs.
Dataflow = Literal["weight", "output"]
DATAFLOWS: tuple[Dataflow, ...] = ("weight", "output")

#: Largest die that a mask can expose. [mm²]
RETICLE_MM2 = 858.0

_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"dataflow": DATAFLOWS, "precision": PRECISIONS, "memory": MEMORIES}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One accelerator: a package of dies with memory beside them.

    Args:
        rows: Of one array of multipliers.
        cols: Of one array.
        arrays: In the whole package.
        dataflow: What stays in place.
        precision: Of the multipliers; weights are kept in as many bits.
        local_mb: Memory beside each array. [MB]
        shared_mb: Memory of all dies that every array reaches. [MB]
        memory: Kind of the memory beside the dies.
        stacks: Of HBM; chips of GDDR6; packages of 64 bits of LPDDR5.
        bandwidth: Of all of them, on the datasheet. [B/s]
        capacity: Of all of them. [B]
        frequency: Of the clock. [Hz]
        voltage: Over the usual one of the node. [1]
        node_nm: Process. [nm]
        chiplets: Dies that share everything alike.
    """

    rows: int
    cols: int
    arrays: int
    dataflow: Dataflow
    precision: str
    local_mb: float
    shared_mb: float
    memory: str
    stacks: int
    bandwidth: float
    capacity: float
    frequency: float
    voltage: float
    node_nm: int
    chiplets: int = 1

    def __post_init__(self) -> None:
        for name, known in _NAMES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}", fix=f"name one of: {', '.join(known)}"
                )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _NAMES and not (value > 0 and math.isfinite(value)):
                raise UsageError(
                    f"{field.name} is {value!r}", fix=f"give a {field.name} above nought"
                )
        if self.arrays % self.chiplets:
            raise UsageError(
                f"{self.arrays} arrays do not divide among {self.chiplets} dies",
                fix="give a multiple of the dies",
            )

    @property
    def macs(self) -> int:
        """Multipliers."""
        return self.rows * self.cols * self.arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Designs:
    """Many accelerators, one an element of every column; names as places in their lists. [n]"""

    rows: Any
    cols: Any
    arrays: Any
    dataflow: Any
    precision: Any
    local_mb: Any
    shared_mb: Any
    memory: Any
    stacks: Any
    bandwidth: Any
    capacity: Any
    frequency: Any
    voltage: Any
    node_nm: Any
    chiplets: Any

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Design:
        """One of them as a record."""
        found: dict[str, Any] = {}
        for field in fields(Design):
            value = getattr(self, field.name)[place].item()
            found[field.name] = _NAMES[field.name][value] if field.name in _NAMES else value
        return Design(**found)

    @property
    def macs(self) -> Any:
        """Multipliers of each. [n]"""
        return self.rows * self.cols * self.arrays

    def taken(self, which: Any) -> Designs:
        """Those at some places, or where a mask is true."""
        return Designs(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def changed(self, **columns: Any) -> Designs:
        """With some columns replaced."""
        return replace(self, **columns)


def columns_of(designs: Iterable[Design]) -> Designs:
    """Records as columns; what may vary smoothly is kept in double precision.

    >>> len(columns_of([]))
    0
    """
    many = list(designs)
    found = {}
    for field in fields(Design):
        values = [getattr(one, field.name) for one in many]
        if field.name in _NAMES:
            values = [_NAMES[field.name].index(value) for value in values]
        kind = np.float64 if field.name in _SMOOTH else np.int64
        found[field.name] = np.array(values, dtype=kind)
    return Designs(**found)


_SMOOTH = frozenset(["local_mb", "shared_mb", "bandwidth", "capacity", "frequency", "voltage"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is tried: every combination of these.

    Args:
        sides: Rows and columns of an array.
        arrays: In the package.
        dataflows: What stays in place.
        precisions: Of the multipliers.
        local_mb: Beside each array. [MB]
        shared_mb: In the package. [MB]
        memories: Kinds of memory.
        groups: Stacks of HBM; four chips or packages of other kinds count as one.
        clocks: Over the usual one. [1]
        nodes: Processes. [nm]
        chiplets: Dies.
    """

    sides: tuple[tuple[int, int], ...] = ((64, 64), (128, 128), (256, 256))
    arrays: tuple[int, ...] = (4, 8, 16, 32, 64)
    dataflows: tuple[Dataflow, ...] = DATAFLOWS
    precisions: tuple[str, ...] = ("bf16", "int8")
    local_mb: tuple[float, ...] = (0.25, 1.0)
    shared_mb: tuple[float, ...] = (8.0, 32.0, 128.0)
    memories: tuple[str, ...] = ("hbm2e", "hbm3", "hbm3e", "lpddr5")
    groups: tuple[int, ...] = (1, 2, 4, 8)
    clocks: tuple[float, ...] = (0.7, 1.0, 1.3)
    nodes: tuple[int, ...] = (7, 5, 3)
    chiplets: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        for name, known in (("precisions", PRECISIONS), ("memories", MEMORIES)):
            for value in getattr(self, name):
                if value not in known:
                    raise UsageError(
                        f"{value!r} is not among the {name}",
                        fix=f"name some of: {', '.join(known)}",
                    )
        for field in fields(self):
            values = getattr(self, field.name)
            if not values:
                raise UsageError(f"no {field.name} to try", fix=f"give one or more {field.name}")
            flat = np.ravel(values)
            if flat.dtype.kind in "if" and not (flat > 0).all():
                raise UsageError(
                    f"{field.name} hold {flat.min():g}", fix=f"give {field.name} above nought"
                )

    def __len__(self) -> int:
        return math.prod(len(getattr(self, field.name)) for field in fields(self))


def grid(space: Space, technology: Technology) -> Designs:
    """Every design of a space, each at the least voltage that carries its clock. [n]"""
    order = [field.name for field in fields(space)]
    places = np.indices([len(getattr(space, name)) for name in order]).reshape(len(order), -1)
    pick = {
        name: np.array(_numbers(name, getattr(space, name)))[place]
        for name, place in zip(order, places, strict=True)
    }
    memory = pick["memories"]
    stacks = pick["groups"] * np.where(memory < MEMORIES.index("gddr6"), 1, 4)
    frequency = pick["clocks"] * technology["frequency"]
    return Designs(
        rows=pick["sides"][:, 0],
        cols=pick["sides"][:, 1],
        arrays=pick["arrays"],
        dataflow=pick["dataflows"],
        precision=pick["precisions"],
        local_mb=pick["local_mb"].astype(np.float64),
        shared_mb=pick["shared_mb"].astype(np.float64),
        memory=memory,
        stacks=stacks,
        bandwidth=stacks * technology.each("rate", MEMORIES, memory),
        capacity=stacks * technology.each("holds", MEMORIES, memory),
        frequency=frequency,
        voltage=technology.voltage_for(frequency),
        node_nm=pick["nodes"],
        chiplets=pick["chiplets"],
    )


def _numbers(name: str, values: tuple[Any, ...]) -> list[Any]:
    known = {"dataflows": DATAFLOWS, "precisions": PRECISIONS, "memories": MEMORIES}.get(name)
    return [known.index(value) for value in values] if known else list(values)
