"""`negawatt optimize` from order to outcome."""

from __future__ import annotations

from dataclasses import replace

from negawatt.actions.optimize import finish, memory
from negawatt.actions.optimize.folder import claimed, need_space
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import Order, Tools
from negawatt.core.outcome import Facts, Outcome
from negawatt.meters import measure

_DISK = 7  # times the bf16 weights: the prepared model, two engines' forms, candidates, variants


def optimize(order: Order, tools: Tools) -> Outcome:
    """Do the job; the artifacts are in `order.out` when this returns.

    Raises:
        ModelError, TextError, RuntimeUnavailable: what was given cannot be used.
        BudgetUnreachable: no variant stays inside the loss budget.
        OutputError: the folder is in use, full or not writable.
    """
    memory.frugal()
    with claimed(order.out) as work, measure("optimize") as window:
        job = OptimizeJob(order, tools, work)
        job.warm()
        floor = memory.resident()
        memory.forget_peak()
        size = job.source.bf16_bytes
        need_space(work, _DISK * size)
        stated = floor + memory.ENGINES + int(memory.BOUND * size)
        tools.progress(f"memory: at most {stated / 1e6:,.0f} MB, libraries included", 0.0)
        found = job.run()
        evidence, decision, _, _ = found
        finish.check_unseen(job, decision, evidence)
        artifacts = finish.export(job, decision, evidence, order.out)
        facts = _facts(job, order, tools, floor)
        sketch = finish.outcome(
            job,
            found,
            artifacts,
            facts,
            spent=tools.joules_per_cpu_s,
            stated=stated,
            peak=memory.peak(),
        )
        job.track.discard()
        tools.progress("export", 1.0)
    spent = window.energy
    chosen = next(p for p in sketch.points if p.variant.name == sketch.decision.choice)
    int8 = next(p for p in sketch.points if p.variant.name == evidence.int8.name)
    saved = int8.energy.value - chosen.energy.value
    return replace(
        sketch, job_energy=spent, payback_tokens=spent.value / saved if saved > 0 else None
    )


def _facts(job: OptimizeJob, order: Order, tools: Tools, floor: int) -> Facts:
    resumed = sum(step.resumed for step in job.journal.steps)
    notes = list(job.source.notes)
    above = max(0, memory.peak() - floor) / job.source.bf16_bytes
    notes.append(
        f"Memory: libraries hold {floor / 1e6:,.0f} MB before the model; the peak so far is "
        f"{above:.1f} times the 16-bit weights above that (goal {memory.BOUND}). The stated limit "
        f"also allows {memory.ENGINES / 1e6:,.0f} MB for what engines keep, which is assumed."
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
        texts=dict(job.texts),
        seed=order.seed,
        notes=tuple(notes),
    )
