"""`negawatt predict`: look at a configuration, measure what the table lacks, forecast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from negawatt.actions.optimize.order import Tools
from negawatt.core.errors import UsageError
from negawatt.core.records import Format, Workload
from negawatt.energy.calibrations import Anatomy, Carried, carry, load_lessons
from negawatt.energy.costs import (
    CostTable,
    Shape,
    Wanted,
    kept_at,
    load_table,
    measure_costs,
    save_table,
)
from negawatt.energy.law import LEAST_SHAPES
from negawatt.energy.predict import (
    Prediction,
    Product,
    Profile,
    Subject,
    forecast,
    has,
    products,
    refuse_unknown,
    unanswerable,
)
from negawatt.models.outline import outline

#: Told of nobody's wish: the first of these that the engine executes.
DEFAULT_FORMATS = (Format(16), Format(8), Format(4, 64, symmetric=False))

#: Timed beside a model whose own shapes are too few or too large to fit a law to.
LADDER = (Shape(512, 1024), Shape(1024, 1024), Shape(4096, 1024), Shape(2048, 4096))

_LARGEST = 2**26  # weights of a product that is still timed itself: 0.4 GB while it is built
_PATIENCE = 40.0  # after this no further shape is begun, if a law can be had [s]


@dataclass(frozen=True, slots=True)
class Question:
    """One `negawatt predict`, as the user asked it.

    Args:
        model: Folder, hub id, .gguf file, `package:NAME`, or a `config.json`.
        workload: What it is run for.
        formats: Asked about; the usual three when empty.
        threads: Of the engine; those of the calibration, or one, when None.
        measure: Time every product of the model (True), none (False), or only
            what the kept table cannot answer (None).
    """

    model: str
    workload: Workload
    formats: tuple[Format, ...] = ()
    threads: int | None = None
    measure: bool | None = None


def predict(question: Question, tools: Tools) -> Prediction:
    """Joules per token of a model that has not been run.

    Raises:
        ModelError: what was given is no configuration of a known family.
        UsageError: a format the engine does not execute, or costs that are neither
            known nor may be measured.
    """
    runtime = f"{tools.runtime.name} {tools.runtime.version}"
    formats = question.formats or tuple(f for f in DEFAULT_FORMATS if f in tools.runtime.formats)
    refuse_unknown(formats, tools.runtime.formats, runtime)
    plan = outline(question.model)
    subject = Subject(question.model, plan.architecture, plan.parameters, plan.layers)
    wanted = products(subject.layers, formats, question.workload)
    refuse_unknown({product.format for product in wanted}, tools.runtime.formats, runtime)
    carried = _carried(question, subject, tools, runtime)
    threads = carried.lesson.table_threads if carried else question.threads or 1
    table = _table(question, wanted, threads, tools, runtime)
    profile = Profile(table, threads, tools.joules_per_cpu_s, carried)
    missing = sum(not has(table, product, threads) for product in wanted)
    return Prediction(
        subject=subject,
        workload=question.workload,
        runtime=runtime,
        threads=carried.lesson.threads if carried else threads,
        forecasts=tuple(forecast(subject, f, question.workload, profile) for f in formats),
        measured=len(wanted) - missing,
        by_law=missing,
        notes=_notes(carried, missing),
    )


def _carried(question: Question, subject: Subject, tools: Tools, runtime: str) -> Carried | None:
    where = {"machine": tools.machine_id, "runtime": runtime}
    lessons = load_lessons(kept_at(tools.cache, what="calibrations", **where), **where)
    anatomy = Anatomy.of(subject.architecture, subject.layers)
    return carry(lessons, anatomy, question.workload, question.threads)


def _table(
    question: Question, wanted: Sequence[Product], threads: int, tools: Tools, runtime: str
) -> CostTable:
    """The kept table, with what it lacks measured if that is needed and allowed."""
    where = {"machine": tools.machine_id, "runtime": runtime}
    path = kept_at(tools.cache, **where)
    table = load_table(path, **where)
    stuck = unanswerable(table, wanted, threads)
    if question.measure is False and stuck:
        raise UsageError(
            f"the cost table of {runtime} on this machine, {threads} thread(s), lacks "
            f"{len(stuck)} of {len(wanted)} products of this model",
            fix="leave out --no-measure: it takes less than a minute, and is kept",
        )
    todo = [product for product in wanted if not has(table, product, threads)]
    if question.measure is False or not todo or not (stuck or question.measure):
        return table
    measured = _measure(table, wanted, threads, tools)
    if measured is not table:
        save_table(path, measured)
    return measured


def _measure(table: CostTable, wanted: Sequence[Product], threads: int, tools: Tools) -> CostTable:
    """Time shape after shape, small ones first, until all are done or patience has ended."""
    groups = _groups(table, wanted, threads)
    begun = tools.clock.monotonic()
    for done, group in enumerate(groups):
        tools.progress("measuring matrix products", done / len(groups))
        late = tools.clock.monotonic() - begun > _PATIENCE
        if late and not unanswerable(table, wanted, threads):
            break
        table = measure_costs(tools.runtime, group, table, clock=tools.clock)
    tools.progress("measuring matrix products", 1.0)
    return table


def _groups(table: CostTable, wanted: Sequence[Product], threads: int) -> list[Wanted]:
    """What to time, a shape at a time: the model's own, and a ladder where those do not do."""
    own = [product for product in wanted if product.shape.rows * product.shape.cols <= _LARGEST]
    kinds = {(product.format, product.tokens) for product in wanted}
    enough = all(
        len({p.shape for p in own if (p.format, p.tokens) == kind}) > LEAST_SHAPES for kind in kinds
    )
    extra = [
        Product(shape, *kind)
        for shape in (() if enough and len(own) == len(wanted) else LADDER)
        for kind in sorted(kinds)
        if kind[0].fits(shape.cols)
    ]
    lacking = {p for p in (*own, *extra) if not has(table, p, threads)}
    shapes = sorted({p.shape for p in lacking}, key=lambda s: (s.rows * s.cols, s))
    return [_group([p for p in lacking if p.shape == shape], threads) for shape in shapes]


def _group(products_: Iterable[Product], threads: int) -> Wanted:
    found = list(products_)
    return Wanted(
        shapes=(found[0].shape,),
        formats=tuple(sorted({p.format for p in found}, reverse=True)),
        threads=threads,
        tokens=tuple(sorted({p.tokens for p in found})),
    )


def _notes(carried: Carried | None, missing: int) -> tuple[str, ...]:
    notes = ["All figures share the joules of a CPU-second: their ratios do not depend on it."]
    if carried is None:
        notes.append(
            "Matrix products only: attention, norms and the engine's own work are missing, "
            "because no model has been run here with this engine and these threads. "
            "`negawatt optimize` learns them."
        )
    elif not carried.exact:
        lesson = carried.lesson
        notes.append(
            "What is not a matrix product was carried over from a model of "
            f"{lesson.anatomy.blocks} blocks and {lesson.anatomy.width} channels under "
            f"{lesson.workload.spec}; the intervals hold what is not known about that."
        )
    if missing:
        notes.append(
            f"{missing} products were not measured but follow from others by a fitted law; "
            "--measure times them."
        )
    return tuple(notes)
