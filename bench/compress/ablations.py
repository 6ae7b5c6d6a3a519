"""Our search with one of its parts taken away, to see what that part is worth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from again import TRIED, Bench, Plan
from variants import ABLATION, Variant, built, careful
from work import Work

from negawatt.actions.optimize.plans import uniform_plan
from negawatt.compress.rounded import Rounded
from negawatt.core.records import Format

SEEDS = (0, 1, 2, 3)


def plans(work: Work) -> Iterator[tuple[str, Plan, bool]]:
    """Name, plan, and whether codes are made with care or rounded to nearest."""
    bench = Bench(work)
    for number, plan in bench.bits():
        yield f"bits, not joules {number + 1}", plan, True
    for number, plan in bench.without_steps():
        yield f"no steps {number + 1}", plan, True
    for seed in SEEDS:
        yield f"random {TRIED[1] + 1}, seed {seed}", bench.random(TRIED[1], seed), True
    searched = {one.variant.name: dict(one.variant.plan) for one in work.found.points}
    for number in TRIED:
        if known := searched.get(f"searched {number + 1}"):
            yield f"rounded only {number + 1}", known, False
    four = uniform_plan(work.job.source.layers, Format(4, 32), work.job.haven)
    yield "rounded only, uniform", four, False


def ablated(work: Work, folder: Path) -> Iterator[Variant]:
    """The files of all of them."""
    source = work.job.source
    for name, plan, with_care in plans(work):
        rough = Rounded(source.folder, source.layers, plan)
        weights = careful(work, plan) if with_care else rough
        path = built(work, name, weights, folder)
        yield Variant(ABLATION, name, path, {}, path, tasked=False)  # its worth shows in KL
