"""Measured windows: one row a task, and rows as windows of the energy model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from negawatt.actions.calibrate.plan import STRIDE, Task
from negawatt.core.estimate import Estimate
from negawatt.energy.fitting import Windows
from negawatt.energy.workload import Load, Step, Work, work_of

_BYTES = 2.0  # of a value in 16 bits
_OPERATION = 2.0  # a multiplication and an addition
_TOUCHED = 3  # matrices of a product: two read, one written
_MOVED = 2.0  # times that a copied byte passes the memory's wires: read and written


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one task took, a step of it on average.

    Args:
        task: What was done.
        seconds: Of a step. [s]
        joules: Of a step; measured by a counter or modelled by the band. [J]
        cpu_seconds: Of a step, all threads. [s]
        spread: Of the time of a step over repeats: greatest less least, over the mean. [1]
        steps: Measured in all.
        lasted: All repeats together. [s]
    """

    task: Task
    seconds: float
    joules: Estimate
    cpu_seconds: float
    spread: float
    steps: int
    lasted: float

    @property
    def power(self) -> float:
        """Mean. [W]"""
        return self.joules.value / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """That a copy moves. [B/s]"""
        return _MOVED * self.task.copied / self.seconds

    @property
    def operations_per_s(self) -> float:
        """That a product does. [1/s]"""
        return _OPERATION * self.task.edge**3 / self.seconds


def load_of(task: Task) -> Load:
    """What a step of a task asks of a device.

    >>> load_of(Task(what="product", name="a product", edge=100)).operations
    2000000.0
    """
    if task.what == "product":
        return _kernel(_OPERATION * task.edge**3, _TOUCHED * _BYTES * task.edge**2)
    if task.what == "copy":
        return _kernel(0.0, _MOVED * task.copied)
    if task.shape is None:
        return _kernel(0.0, 0.0)
    anatomy = task.shape.anatomy
    if task.what == "decode":
        middle = task.tokens + (STRIDE - 1) / 2
        return work_of(anatomy, Step(batch=task.batch, context=middle)).load
    step = Step(phase="prefill", batch=task.batch, new=task.tokens)
    return _last_logits(work_of(anatomy, step), task)


def windows_of(rows: Sequence[Row]) -> Windows:
    """Rows that the law speaks of."""
    chosen = [row for row in rows if row.task.fits]
    loads = [load_of(row.task) for row in chosen]
    columns = {
        name: np.array([float(getattr(load, name)) for load in loads]) for name in Load.__slots__
    }
    return Windows(
        load=Load(**columns),
        joules=np.array([row.joules.value for row in chosen]),
        seconds=np.array([row.seconds for row in chosen]),
        groups=tuple(row.task.group for row in chosen),
    )


def _kernel(operations: float, moved: float) -> Load:
    return Load(
        operations=operations,
        weight_bytes=moved,
        context_bytes=0.0,
        link_bytes=0.0,
        layers=0,
        expert_layers=0,
        sequences=0,
        devices=1,
    )


def _last_logits(work: Work, task: Task) -> Load:
    """Reading a prompt makes the logits of its last token alone."""
    load, anatomy = work.load, work.anatomy
    head = sum(one.used for one in anatomy.matrices if one.role == "head")
    spared = _OPERATION * head * task.batch * (task.tokens - 1)
    return Load(
        **{name: getattr(load, name) for name in Load.__slots__ if name != "operations"},
        operations=load.operations - spared,
    )
