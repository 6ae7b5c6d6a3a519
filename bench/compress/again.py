"""The finished search of a model, done again in other ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from draw import drawn
from numpy.typing import NDArray
from work import SHARES, Work

from negawatt.actions.optimize.plans import pieces
from negawatt.actions.optimize.second_look import reach_of
from negawatt.compress.gates import GatedModel
from negawatt.compress.problem import Choice, Problem, Sensitivity, budgets
from negawatt.compress.search import EnergyGradientSearch
from negawatt.core.records import Format
from negawatt.energy.units import spread, units
from negawatt.models.load import load_reference

#: Which of the budgets are tried again without a part.
TRIED = (1, 3, 5)

Plan = dict[str, Format]


class Bench:
    """The finished search of a model, to be done again in other ways.

    Args:
        work: The model's part of the bench.
        more: Formats beside those that were searched.
    """

    def __init__(self, work: Work, more: Sequence[Format] = ()) -> None:
        self._work, job = work, work.job
        kept, self._bank, model = job.groundwork()
        self._formats = (*kept, *more)
        self._units = units(job.source.layers)
        options = tuple(
            (one.name, fmt) for one in self._units for fmt in one.candidates(self._formats)
        )
        self._sensitivity = Sensitivity(options, self._scores())
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
        for number, budget in self._budgets(problem):
            look = partial(self._searched, problem, number, budget)
            yield number, self._plan(self._work.job.journal.step(f"bits-{number}", Choice, look))

    def without_steps(self) -> Iterator[tuple[int, Plan]]:
        """The second-order start alone: no gradient of the real model, no repair after it."""
        problem = Problem(self._sensitivity, self._joules)
        for number, budget in self._budgets(problem):
            search = EnergyGradientSearch(problem, None, np.zeros((4, 1), np.int64), seed=0)
            yield number, self._plan(search.run(budget, steps=0))

    def between(self) -> Iterator[tuple[str, Plan]]:
        """Plans for budgets halfway between those searched, at the prices found there.

        So `optimize` closes in on an allowed loss: no gradient step, milliseconds for a plan.
        """
        problem = Problem(self._sensitivity, self._joules)
        least, most = problem.bounds()
        row = [most, *budgets(problem, SHARES), least]
        search = EnergyGradientSearch(problem, None, np.zeros((4, 1), np.int64), seed=0)
        for number in range(len(SHARES) + 1):
            nearest = min(number, len(SHARES) - 1)
            known = self._work.job.journal.step(f"search-{nearest}", Choice, _unsearched)
            budget = (row[number] + row[number + 1]) / 2
            name = f"below {number}" if number else "above 1"
            yield name, self._plan(search.assign_at(known, budget))

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

    def _searched(self, problem: Problem, number: int, budget: float) -> Choice:
        order = self._work.job.order
        search = EnergyGradientSearch(
            problem, self._gated(), self._samples(), seed=order.seed + number
        )
        return search.run(budget, steps=order.effort.search_steps)

    def _scores(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.load(self._bank.folder / "scores.npy")
        return found

    def _gated(self) -> GatedModel:
        model = load_reference(self._work.job.source.folder)
        return GatedModel(model, self._units, self._formats, self._bank, reach=self._reach())

    def _reach(self) -> float | None:
        job = self._work.job
        return reach_of(job.tools, job.order, job.source)

    def _samples(self) -> NDArray[np.int64]:
        job = self._work.job
        return pieces(job.texts.corpus.calibration, job.order.effort.sample_tokens)

    def _plan(self, choice: Choice) -> Plan:
        return self._spread(choice.plan)

    def _spread(self, plan: Mapping[str, Format]) -> Plan:
        found = {one.name: Format(16) for one in self._work.job.source.layers}
        return found | spread(plan, [one for one in self._units if one.name in plan])


def _unsearched() -> Choice:
    raise LookupError("the search is not finished")
