"""Our search with one of its parts taken away, to see what that part is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from draw import drawn
from variants import ABLATION, Variant, built, careful
from work import SHARES, Work

from negawatt.actions.optimize.plans import pieces, uniform_plan
from negawatt.compress.gates import GatedModel
from negawatt.compress.problem import Choice, Problem, Sensitivity, budgets
from negawatt.compress.rounded import Rounded
from negawatt.compress.search import EnergyGradientSearch
from negawatt.core.records import Format
from negawatt.energy.units import spread, units
from negawatt.models.load import load_reference

#: Which of the budgets are tried again without a part.
TRIED = (1, 3, 5)
SEEDS = (0, 1, 2, 3)

Plan = dict[str, Format]


class Bench:
    """The finished search of a model, to be done again in other ways.

    Args:
        work: The model's part of the bench.
    """

    def __init__(self, work: Work) -> None:
        self._work, job = work, work.job
        self._formats, self._bank, model = job.groundwork()
        self._units = units(job.source.layers)
        options = tuple(
            (one.name, fmt) for one in self._units for fmt in one.candidates(self._formats)
        )
        self._sensitivity = Sensitivity(options, np.load(self._bank.folder / "scores.npy"))
        self._joules = model.option_energy(options)
        size = {
            (one.name, fmt): float(sum(fmt.bytes(x.rows, x.cols) for x in one.layers))
            for one in self._units
            for fmt in one.candidates(self._formats)
        }
        self._bytes = np.array([size[option] for option in options])

    def bits(self) -> Iterator[tuple[int, Plan]]:
        """The whole search, with bytes in the place of joules: number of the budget, plan."""
        problem = Problem(self._sensitivity, self._bytes)
        effort = self._work.job.order.effort
        for number, budget in self._budgets(problem):
            search = self._search(problem, number)
            yield number, self._plan(search.run(budget, steps=effort.search_steps))

    def without_steps(self) -> Iterator[tuple[int, Plan]]:
        """The second-order start alone: no gradient of the real model, no repair after it."""
        problem = Problem(self._sensitivity, self._joules)
        for number, budget in self._budgets(problem):
            search = EnergyGradientSearch(problem, None, np.zeros((4, 1), np.int64), seed=0)
            yield number, self._plan(search.run(budget, steps=0))

    def random(self, number: int, seed: int) -> Plan:
        """A plan drawn blindly, of hardly less energy than a budget allows."""
        problem = Problem(self._sensitivity, self._joules)
        budget = dict(self._budgets(problem))[number]
        taken = drawn(self._joules, problem.groups, budget, seed)
        options = self._sensitivity.options
        return self._spread({options[i][0]: options[i][1] for i in taken})

    def _budgets(self, problem: Problem) -> list[tuple[int, float]]:
        row = budgets(problem, SHARES)
        return [(number, row[number]) for number in TRIED]

    def _search(self, problem: Problem, number: int) -> EnergyGradientSearch:
        job = self._work.job
        gated = GatedModel(
            load_reference(job.source.folder), self._units, self._formats, self._bank
        )
        samples = pieces(job.texts.corpus.calibration, job.order.effort.sample_tokens)
        return EnergyGradientSearch(problem, gated, samples, seed=job.order.seed + number)

    def _plan(self, choice: Choice) -> Plan:
        return self._spread(choice.plan)

    def _spread(self, plan: Mapping[str, Format]) -> Plan:
        found = {one.name: Format(16) for one in self._work.job.source.layers}
        return found | spread(plan, [one for one in self._units if one.name in plan])


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
        yield Variant(ABLATION, name, path, {}, path)
