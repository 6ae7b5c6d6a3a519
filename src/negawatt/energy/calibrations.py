"""What whole models taught: calibrations, kept beside the cost table and carried over to others.

A job fits `rest` and κ to the models that it runs. A prediction for a model of
the same shape takes them as they are; for another one the rest is scaled, and
its interval says how little is known about that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.core.records import Layer, Phase, Workload
from negawatt.energy.costs import keep, kept_at
from negawatt.energy.model import PHASES, Calibration, EnergyModel

VERSION = 3  # of the file and of what its figures mean


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What decides the cost of everything but the matrix products.

    Args:
        architecture: Class name, such as `LlamaForCausalLM`.
        blocks: Decoder blocks.
        width: Channels between the blocks.
        matrices: Rows and columns of every weight matrix, in execution order.
    """

    architecture: str
    blocks: int
    width: int
    matrices: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, architecture: str, layers: Sequence[Layer]) -> Anatomy:
        """Read it off the layers.

        >>> Anatomy.of("X", [Layer("embed", "embedding", 96, 64), Layer("q", "linear", 64, 64, 0)])
        Anatomy(architecture='X', blocks=1, width=64, matrices=((96, 64), (64, 64)))
        """
        return cls(
            architecture=architecture,
            blocks=max(1, len({layer.block for layer in layers} - {None})),
            width=next((x.cols for x in layers if x.kind == "embedding"), layers[0].cols),
            matrices=tuple((layer.rows, layer.cols) for layer in layers),
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """The calibration of one model under one workload.

    Args:
        anatomy: Of the model that was run.
        workload: Under which it was run.
        threads: Of the engine when it was run.
        table_threads: Of the table that κ multiplies.
        fits: Per phase.
    """

    anatomy: Anatomy
    workload: Workload
    threads: int
    table_threads: int
    fits: Mapping[str, Calibration]

    @property
    def key(self) -> tuple[Anatomy, Workload, int, int]:
        """What a newer lesson replaces."""
        return self.anatomy, self.workload, self.threads, self.table_threads


@dataclass(frozen=True, slots=True)
class Lessons:
    """Every lesson of one engine on one machine."""

    machine: str
    runtime: str  # name and version
    lessons: tuple[Lesson, ...]
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Carried:
    """A lesson applied to a model, which need not be the one it was learnt on.

    Args:
        fits: Per phase, with the best estimate of the rest.
        rest: Ends of the rest per phase. [s/token]
        exact: True when model and workload are those of the lesson.
        lesson: Where it comes from.
    """

    fits: Mapping[Phase, Calibration]
    rest: Mapping[Phase, tuple[float, float]]
    exact: bool
    lesson: Lesson


def load_lessons(path: Path, *, machine: str, runtime: str) -> tuple[Lesson, ...]:
    """Read kept calibrations; none when there are none of this machine and engine."""
    try:
        kept = decode(Lessons, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError):
        return ()  # nothing is lost but a narrower interval: the next job writes it again
    same = (kept.machine, kept.runtime, kept.version) == (machine, runtime, VERSION)
    return kept.lessons if same else ()


def remember(cache: Path, model: EnergyModel, *, architecture: str, threads: int) -> None:
    """Keep the calibration of a model that was run, for predictions to come.

    Args:
        cache: The cache folder.
        model: Calibrated on whole-model runs.
        architecture: Class name of the model.
        threads: Of the engine in those runs.

    Raises:
        UsageError: the cache folder cannot be written.
    """
    machine, runtime = model.table.machine, model.table.runtime
    path = kept_at(cache, machine=machine, runtime=runtime, what="calibrations")
    new = Lesson(
        anatomy=Anatomy.of(architecture, model.layers),
        workload=model.workload,
        threads=threads,
        table_threads=model.threads,
        fits=dict(model.calibration),
    )
    old = load_lessons(path, machine=machine, runtime=runtime)
    kept = (*(lesson for lesson in old if lesson.key != new.key), new)
    keep(path, Lessons(machine, runtime, kept))


def carry(
    lessons: Iterable[Lesson], anatomy: Anatomy, workload: Workload, threads: int | None
) -> Carried | None:
    """The nearest lesson, scaled to a model and a workload; None when there is none.

    What is not a matrix product grows with the number of blocks at least, since
    each is a fixed number of operations, and with blocks times channels at most.
    Attention reads the whole context, other parts none of it. A batch shares
    the engine's own work and none of the rest. Each scale thus has two ends; the
    value lies at their geometric mean.

    Args:
        lessons: Of this machine and engine.
        anatomy: Of the model asked about.
        workload: Asked about.
        threads: Of the engine; None takes whatever the lesson was learnt with.
    """
    usable = [lesson for lesson in lessons if threads in (None, lesson.threads)]
    usable = [lesson for lesson in usable if set(PHASES) <= set(lesson.fits)]
    if not usable:
        return None
    nearest = min(usable, key=lambda lesson: _distance(lesson, anatomy, workload))
    fits: dict[Phase, Calibration] = {}
    rest: dict[Phase, tuple[float, float]] = {}
    for phase in PHASES:
        low, high = _ends(nearest, anatomy, workload, phase)
        fit = nearest.fits[phase]
        fits[phase] = replace(fit, rest=fit.rest * math.sqrt(low * high))
        rest[phase] = fit.rest * low, fit.rest * high
    same = (nearest.anatomy, nearest.workload) == (anatomy, workload)
    return Carried(fits, rest, same, nearest)


def _distance(lesson: Lesson, anatomy: Anatomy, workload: Workload) -> tuple[bool, float]:
    """How far a lesson is from a model: of the same shape first, then by the width of its ends."""
    widths = (_ends(lesson, anatomy, workload, phase) for phase in PHASES)
    away = sum(abs(math.log(low)) + abs(math.log(high)) for low, high in widths)
    return lesson.anatomy != anatomy, away


def _ends(
    lesson: Lesson, anatomy: Anatomy, workload: Workload, phase: Phase
) -> tuple[float, float]:
    """Least and greatest factor from the lesson's rest to the model's. [1]"""
    blocks = anatomy.blocks / lesson.anatomy.blocks
    partial = [
        anatomy.width / lesson.anatomy.width,
        _context(workload, phase) / _context(lesson.workload, phase),
    ]
    if phase == "decode":
        partial.append(lesson.workload.batch / workload.batch)
    low = math.prod(min(1.0, factor) for factor in partial)
    high = math.prod(max(1.0, factor) for factor in partial)
    return blocks * low, blocks * high


def _context(workload: Workload, phase: Phase) -> float:
    """Tokens that attention reads back on, on average over a phase."""
    if phase == "prefill":
        return (workload.prompt + 1) / 2
    return workload.prompt + (workload.generate + 1) / 2
