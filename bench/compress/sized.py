"""More plans of ours: for budgets between those searched, and under limits on bytes.

The latter as `optimize --max-size` does it: formats that save bytes join those that save joules, and of the plans that fit the one of least
expected KL is taken, whatever it spends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from again import Bench
from numpy.typing import NDArray
from variants import OURS, Variant, built
from work import Work, cpu_time

from negawatt.actions.optimize.plans import pieces, room_for
from negawatt.compress.calibrate import fill_bank
from negawatt.compress.gates import GatedModel
from negawatt.compress.problem import Choice, Problem, Sensitivity, budgets
from negawatt.compress.search import EnergyGradientSearch
from negawatt.compress.sensitivity import measure_sensitivity
from negawatt.core.records import Format, QuantisedWeight
from negawatt.energy.units import spread, units
from negawatt.models.load import load_reference

#: Sizes tried: bits of a weight, all overheads and what stays at 16 bits counted.
BITS = (8.0, 7.25, 6.5, 6.0, 5.5)


class Sized:
    """A finished search, gone on with for limits on bytes.

    Args:
        work: The model's part of the bench.
    """

    def __init__(self, work: Work) -> None:
        self._job = job = work.job
        kept, self._bank, model = job.groundwork()
        _, wanted = job.prices.costs()
        self._formats = (*kept, *job.prices.small(wanted, kept))
        self._parts = units(job.source.layers)
        self._fill()
        self._options = tuple(
            (one.name, fmt) for one in self._parts for fmt in one.candidates(self._formats)
        )
        self._sensitivity = Sensitivity(self._options, self._scores())
        self._joules = model.option_energy(self._options)

    def plan(self, bits: float) -> Mapping[str, Format]:
        """The plan of least expected KL whose weights take no more than `bits` each."""
        job = self._job
        size = int(bits / 16 * job.source.bf16_bytes)
        room = room_for(size, job.source.layers, job.source.bf16_bytes, self._options)
        problem = Problem(self._sensitivity, self._joules, room)
        (budget,) = budgets(problem, (1.0,))

        def look() -> Choice:
            samples = pieces(job.texts.corpus.calibration, job.order.effort.sample_tokens)
            search = EnergyGradientSearch(problem, self._gated(), samples, seed=job.order.seed)
            return search.run(budget, steps=job.order.effort.search_steps)

        found = job.journal.step(f"sized-{bits:g}", Choice, look).plan
        wide = {one.name: Format(16) for one in job.source.layers}
        return wide | spread(found, [one for one in self._parts if one.name in found])

    def codes(self, plan: Mapping[str, Format]) -> Mapping[str, QuantisedWeight]:
        """The codes of a plan, read one layer at a time."""
        return self._bank.view(plan)

    def _fill(self) -> None:
        job = self._job
        windows = job.texts.corpus.calibration[: job.order.effort.hessian_windows]
        layers, model = job.source.layers, load_reference(job.source.folder)
        fill_bank(model, layers, self._formats, windows, self._bank)

    def _gated(self) -> GatedModel:
        model = load_reference(self._job.source.folder)
        return GatedModel(model, self._parts, self._formats, self._bank)

    def _scores(self) -> NDArray[np.float64]:
        job, kept = self._job, self._bank.folder / "scores-sized.npy"
        if not kept.exists():
            effort = job.order.effort
            samples = pieces(job.texts.corpus.calibration, effort.sample_tokens)
            found = measure_sensitivity(
                self._gated(), samples[-effort.sensitivity_samples :], seed=job.order.seed
            )
            partial = kept.with_suffix(".partial.npy")
            np.save(partial, found.scores)
            partial.replace(kept)
        found_scores: NDArray[np.float64] = np.load(kept)
        return found_scores


def between(work: Work, folder: Path) -> Iterator[Variant]:
    """Plans for energies between those of the search, for which nothing more is spent."""
    bank = work.job.groundwork()[1]
    spent = {"cpu_seconds": work.search_cpu_s}
    for name, plan in Bench(work).between():
        path = built(work, name, bank.view(plan), folder)
        yield Variant(OURS, name, path, spent, path, tasked=False)  # its neighbours do them


def sized(work: Work, folder: Path) -> Iterator[Variant]:
    """A plan for every limit, with the CPU time of all of them together."""
    began, kept = cpu_time(), folder / "sized.json"
    search = Sized(work)
    plans = {bits: search.plan(bits) for bits in BITS}
    if not kept.exists():
        spent = {"cpu_seconds": work.search_cpu_s + cpu_time() - began}
        kept.write_text(json.dumps(spent), encoding="utf-8")
    spent = json.loads(kept.read_text(encoding="utf-8"))
    for bits, plan in plans.items():
        name = f"within {bits:g} bits"
        path = built(work, name, search.codes(plan), folder)
        yield Variant(OURS, name, path, spent, path)
