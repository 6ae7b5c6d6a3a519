"""`negawatt optimize` from order to outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from negawatt.actions.optimize import finish, memory, needs, second_look, stages
from negawatt.actions.optimize.caches import refuse_missing, served_with
from negawatt.actions.optimize.conclude import Evidence
from negawatt.actions.optimize.engines import Comparison, compare, state_race
from negawatt.actions.optimize.folder import claimed, need_space
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.optimize.rivals import rival_notes
from negawatt.core.errors import UsageError
from negawatt.core.outcome import Facts, Outcome
from negawatt.meters import Window, measure

_WIDE = 16  # bits
_DISK = 7  # times the bf16 weights: the prepared model, two engines' forms, candidates, variants


def optimize(
    order: Order, tools: Tools, *, then: Callable[[Window], object] | None = None
) -> Outcome:
    """Do the job; the artifacts are in `order.out` when this returns.

    Args:
        order: What was asked for.
        tools: What there is to work with.
        then: Called with the window over the whole job when it closes.

    Raises:
        ModelError, TextError, RuntimeUnavailable: what was given cannot be used.
        BudgetUnreachable: no variant stays inside the loss budget.
        UsageError: the runtime executes no compressed weights.
        OutputError: the folder is in use, full or not writable.
    """
    if all(fmt.bits >= _WIDE for fmt in tools.runtime.formats):
        raise UsageError(
            f"the runtime {tools.runtime.name} executes no compressed weights: it is the reference",
            fix="choose another one, for example NEGAWATT_RUNTIME=openvino",
        )
    memory.frugal()
    shop = tools.workshop
    with claimed(order.out) as work, measure("optimize", then=then) as window:
        try:
            sketch, evidence = _job(order, tools, work)
        finally:
            shop.close()  # a worker's CPU time counts once it has ended
    spent = window.energy
    chosen = next(p for p in sketch.points if p.variant.name == sketch.decision.choice)
    int8 = next(p for p in sketch.points if p.variant.name == evidence.int8.name)
    saved = int8.energy.value - chosen.energy.value
    return replace(
        sketch, job_energy=spent, payback_tokens=spent.value / saved if saved > 0 else None
    )


def _job(order: Order, tools: Tools, work: Path) -> tuple[Outcome, Evidence]:
    shop = tools.workshop
    shop.change(tools.reference)  # its libraries read and write weights
    source = shop.call(stages.prepared, tools, order, work)
    need_space(work, _DISK * source.bf16_bytes)
    notes, found, race = [], None, 0
    if len(tools.engines) > 1:
        race = state_race(tools, source)
        found = compare(order, tools, work, source)
        tools = replace(tools, runtime=found.chosen(tools.engines))
        notes = engine_notes(found)
    refuse_missing(order.cache, tools.runtime)
    job = OptimizeJob(order, tools, work, source)
    job.load(tools.runtime, tools.reference)  # the most libraries that any stage needs
    factor, why = needs.of_job(tools.runtime)
    last = "; the last check, a load by transformers, may need more"
    stated = max(race, needs.state(tools, factor, source.bf16_bytes, why, last))
    made = job.run()
    evidence, decision, _, alone = made
    plan = next(one.plan for one in evidence.trials if one.name == decision.choice)
    notes += job.told
    notes += second_look.notes(plan, source.layers, tools.runtime)
    if found is not None:
        notes += rival_notes(job, found, plan, alone)
    finish.check_unseen(job, decision, evidence)
    serving, words = served_with(job, decision, evidence)
    artifacts, said = finish.export(job, decision, evidence, order.out, serving)
    facts = _facts(job, order, tools, [*notes, *words])
    spent = tools.joules_per_cpu_s  # until the window is closed
    sketch = finish.outcome(job, made, artifacts, said, facts, spent=spent, stated=stated)
    job.track.discard()
    tools.progress("export", 1.0)
    return sketch, evidence


def engine_notes(found: Comparison) -> list[str]:
    """Why this engine serves, and why others do not, in sentences."""
    notes = [f"Engine: {found.decision.choice}: {found.decision.because}."]
    notes += [f"Engine {name} was left out: {why}." for name, why in found.refused.items()]
    return notes


def _facts(job: OptimizeJob, order: Order, tools: Tools, told: Sequence[str]) -> Facts:
    resumed = sum(step.resumed for step in job.journal.steps)
    notes = [*told, *job.source.notes]
    size, foreign = job.source.bf16_bytes, tools.workshop.held.added
    notes.append(
        f"Memory: the model added at most {job.held.added / size:.2f} times its 16-bit weights to "
        f"what libraries hold ({job.held.libraries / 1e6:,.0f} MB before any weight is read); the "
        f"goal is {memory.BOUND}. Comparing engines, conversion, search, timing and export are in it."
    )
    factor, why = needs.of_job(tools.runtime)
    if factor > memory.BOUND:
        notes.append(f"Up to {factor:.1f} times were expected for this engine: {why}.")
    if foreign > job.held.added:
        notes.append(
            "The last check, a plain transformers load of the result, is done as anybody would do "
            f"it: transformers unpacks the whole model, and added {foreign / size:.2f} times the "
            "16-bit weights."
        )
    if resumed:
        notes.append(
            f"{resumed} steps were kept from an earlier run; the energy of the job counts "
            "this run only."
        )
    return Facts(
        model=order.model,
        architecture=job.source.architecture,
        parameters=job.source.parameters,
        digest=job.source.digest,
        machine=dict(tools.machine),
        versions=dict(tools.versions),
        workload=order.workload,
        max_loss=order.max_loss,
        texts=dict(job.texts.corpus.texts),
        seed=order.seed,
        notes=tuple(notes),
    )
