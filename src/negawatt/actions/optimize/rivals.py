"""After the search for one engine: what the others would take for plans of equal harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from negawatt.actions.optimize import stages
from negawatt.actions.optimize.plans import haven
from negawatt.core.records import Decision, Format, Layer
from negawatt.decisions.engine import Run
from negawatt.decisions.rivals import Pair, Part, compare_rivals, mixed

if TYPE_CHECKING:
    from negawatt.actions.optimize.engines import Comparison
    from negawatt.actions.optimize.job import OptimizeJob

_NARROW = 4  # bits

#: Expected divergence of each (unit, format) alone. [nat/token]
Alone = Mapping[tuple[str, Format], float]


def rival_notes(
    job: OptimizeJob, found: Comparison, plan: Mapping[str, Format], alone: Alone
) -> list[str]:
    """What other engines would take, in sentences; nothing where there is nothing to compare.

    Args:
        job: That has run.
        found: Whole-model runs of all engines.
        plan: The chosen one.
        alone: What each option does to the model.
    """
    decision = _rivals(job, found, plan, alone)
    if decision is None:
        return []
    name = job.tools.runtime.name
    told = f"Other engines, {decision.because}. Costs are shared out by weights from whole models."
    if decision.choice != name:
        told += (
            f" {decision.choice} would take less than {name}: `--runtime {decision.choice}` "
            "searches for it."
        )
    return [told]


def _rivals(
    job: OptimizeJob, found: Comparison, plan: Mapping[str, Format], alone: Alone
) -> Decision | None:
    eight, four = _known(job, alone)
    runs = [run for run in found.runs if Format.parse(run.format).bits in {8, _NARROW}]
    if four is None or len({run.runtime for run in runs}) < 2:
        return None
    kinds = {one.name: weights for one in job.units if (weights := _multiplied(one.layers))}
    parts = [
        Part(weights, max(alone[name, eight], 0.0), max(alone[name, four], 0.0))
        for name, weights in kinds.items()
        if (name, eight) in alone and (name, four) in alone
    ]
    harm = sum(
        max(alone[name, plan[name]], 0.0)
        for name in kinds
        if (name, eight) in alone and (name, four) in alone and (name, plan[name]) in alone
    )
    formats = sorted({eight, four, *(Format.parse(run.format) for run in runs)})
    shop = job.tools.workshop
    error = shop.call(stages.rounding, job.tools, job.source, formats)
    workload = job.order.workload
    mixtures = [
        run
        for pair in _pairs(runs, error, (eight, four))
        if (run := mixed(pair, parts, harm, workload)) is not None
    ]
    joules = job.tools.joules_per_cpu_s.value
    return compare_rivals(job.tools.runtime.name, mixtures, workload, joules)


def _known(job: OptimizeJob, alone: Alone) -> tuple[Format, Format | None]:
    """The formats of 8 and of 4 bits whose harm was measured."""
    narrow = sorted(
        {fmt for _, fmt in alone if fmt.bits == _NARROW}, key=lambda f: f.group or 2**30
    )
    return haven(job.tools.runtime.formats), narrow[0] if narrow else None


def _multiplied(layers: Sequence[Layer]) -> int:
    """Weights that are multiplied; those of an embedding are looked up."""
    return sum(layer.weights for layer in layers if layer.kind != "embedding")


def _pairs(
    runs: Sequence[Run], error: Mapping[Format, float], known: tuple[Format, Format]
) -> list[Pair]:
    """Every engine on every number of threads, where both widths were run."""
    found = []
    for wide in (run for run in runs if Format.parse(run.format).bits > _NARROW):
        for narrow in runs:
            same = (narrow.runtime, narrow.threads) == (wide.runtime, wide.threads)
            if same and Format.parse(narrow.format).bits == _NARROW:
                own = Format.parse(wide.format), Format.parse(narrow.format)
                if all(fmt in error for fmt in (*own, *known)):
                    coarser = error[own[0]] / error[known[0]], error[own[1]] / error[known[1]]
                    found.append(Pair(wide, narrow, coarser))
    return found
