"""What a chip is asked to do: steps of models, boiled down to matrix products that are alike.

a product     new tokens × depth  times  depth × width
its reuse     how many rows each loaded value is multiplied with: tokens for weights, heads that
              share a key for what is kept of the text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.records import Workload
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.chips.technology import BITS, PRECISIONS
from negawatt.energy.workload import Step, Work, work_of

_HEAD = 128  # values of a key in most models; an anatomy does not tell [1]
_LEAST_CONTEXT_BITS = 8
_BYTE = 8.0  # bits


@dataclass(frozen=True, slots=True)
class Product:
    """Products of one shape within one step.

    Args:
        count: How many.
        values: Loaded for one of them, depth times width.
        reuse: Rows that every loaded value is multiplied with.
        depth: Over which it sums.
        kept: The values are of the text that is kept, not weights.
    """

    count: float
    values: float
    reuse: float
    depth: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Task:
    """One step of one model, and how often it is done.

    Args:
        anatomy: Of the model.
        step: What is done; its bits are of no matter, those of the design count.
        weight: Times, in one round of the mix.
    """

    anatomy: Anatomy
    step: Step
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.step.phase not in {"prefill", "decode", "forward"}:
            raise UsageError(
                f"designs are not explored for {self.step.phase}",
                fix="give steps of prefill, decode or forward",
            )
        if not 0 < self.weight < float("inf"):
            raise UsageError(f"a task has weight {self.weight!r}", fix="give one above nought")
        if self.step.devices != 1:
            raise UsageError(
                f"a step is shared by {self.step.devices} devices", fix="give a step of one device"
            )


@dataclass(frozen=True, slots=True)
class Chore:
    """A task as designs see it.

    Args:
        weight: Times in a round.
        products: Of one step, alike ones together.
        looked_up: Values of tables read in one step.
        weights: Values of all weights of the model.
    """

    weight: float
    products: tuple[Product, ...]
    looked_up: float
    weights: float


@dataclass(frozen=True, slots=True)
class Mix:
    """A round of work.

    Args:
        tasks: What it consists of.
        tokens: That the figures are counted by, in a round.
        held: Values of weights, and of kept text, for each model and workload; one after another.
    """

    tasks: tuple[Task, ...]
    tokens: float
    held: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UsageError("a mix without tasks", fix="give one step or more")
        if not 0 < self.tokens < float("inf"):
            raise UsageError(f"a round of {self.tokens!r} tokens", fix="give one above nought")

    @property
    def chores(self) -> tuple[Chore, ...]:
        """The tasks as designs see them."""
        return tuple(_chore(task) for task in self.tasks)

    def needed(self) -> Any:
        """Bytes of memory that the mix takes, by precision of the weights. [precisions]"""
        bits = np.array([float(BITS[name]) for name in PRECISIONS])
        kept = np.maximum(bits, _LEAST_CONTEXT_BITS)
        each = [weights * bits / _BYTE + text * kept / _BYTE for weights, text in self.held]
        return np.max(each, axis=0)


def served(anatomies: Sequence[Anatomy], workloads: Sequence[Workload]) -> Mix:
    """Requests of every workload to every model, as many of each.

    A decoder reads the prompts of a batch at once and then writes, each token at the context in the
    middle of the reply; figures are per token written. An encoder reads, and they are per token
    read.

    Args:
        anatomies: Of the models.
        workloads: What each is asked for.

    Raises:
        UsageError: no model or no workload.
    """
    asked = [(anatomy, workload) for anatomy in anatomies for workload in workloads]
    if not asked:
        raise UsageError("no work to design for", fix="name a model and a workload")
    share = 1.0 / len(asked)
    tasks: list[Task] = []
    tokens, held = 0.0, []
    for anatomy, workload in asked:
        batch, prompt, written = workload.batch, workload.prompt, workload.generate
        tasks.append(Task(anatomy, Step(phase="prefill", batch=batch, new=prompt), share))
        if anatomy.family == "encoder":
            tokens += share * batch * prompt
            held.append((anatomy.parameters, 0.0))
            continue
        middle = Step(batch=batch, context=prompt + written / 2)
        tasks.append(Task(anatomy, middle, share * written))
        tokens += share * batch * written
        held.append((anatomy.parameters, _kept(anatomy, workload)))
    return Mix(tuple(tasks), tokens, tuple(held))


def context_bits(bits: Any) -> Any:
    """Of what is kept of the text, under weights of so many bits."""
    return np.maximum(bits, _LEAST_CONTEXT_BITS)


def _kept(anatomy: Anatomy, workload: Workload) -> float:
    length = float(workload.tokens)
    each = sum(c.per_token * min(length, c.window) + c.state for c in anatomy.caches)
    return workload.batch * each


def _chore(task: Task) -> Chore:
    """Values are counted at 8 bits, where each is a byte."""
    anatomy = task.anatomy
    step = Step(
        phase=task.step.phase,
        batch=task.step.batch,
        new=task.step.new,
        context=task.step.context,
        weight_bits=8.0,
        context_bits=8.0,
    )
    work = work_of(anatomy, step)
    found: dict[tuple[float, float, float, bool], int] = {}
    looked_up = 0.0
    for at, matrix in enumerate(anatomy.matrices):
        if matrix.used:
            key = _alike(work, at, anatomy.hidden)
            found[key] = found.get(key, 0) + 1
        else:
            looked_up += float(work.weight_bytes[at])
    for key in _looks(work, min(_HEAD, anatomy.hidden)):
        found[key] = found.get(key, 0) + 1
    return Chore(
        weight=task.weight,
        products=tuple(Product(float(count), *key) for key, count in found.items()),
        looked_up=looked_up,
        weights=anatomy.parameters,
    )


def _alike(work: Work, at: int, depth: int) -> tuple[float, float, float, bool]:
    values = float(work.weight_bytes[at])
    return values, float(work.operations[at]) / (2.0 * values), float(depth), False


def _looks(work: Work, depth: int) -> list[tuple[float, float, float, bool]]:
    found = []
    pairs = zip(work.looked, work.context_bytes, strict=True)
    for operations, values in pairs:
        if operations > 0 and values > 0:
            reuse = float(operations) / (2.0 * float(values))
            found.append((float(values), reuse, float(depth), True))
    return found
