"""More plans of ours: for budgets between those searched, and under limits on bytes.

The latter as `optimize --max-size` does it: formats that save bytes join those that save joules,
and of the plans that fit the one of least expected KL is taken, whatever it spends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from again import Bench, Plan
from numpy.typing import NDArray
from variants import OURS, Variant, built
from work import Work, cpu_time

from negawatt.actions.optimize.plans import room_for
from negawatt.compress.calibrate import fill_bank
from negawatt.compress.problem import Choice, Problem, budgets
from negawatt.compress.sensitivity import measure_sensitivity
from negawatt.core.records import QuantisedWeight
from negawatt.models.load import load_reference

#: Sizes tried: bits of a weight, all overheads and what stays at 16 bits counted.
BITS = (8.4, 8.0, 7.25, 6.5, 6.0, 5.5, 5.3)


class Sized(Bench):
    """A finished search, gone on with for limits on bytes.

    Args:
        work: The model's part of the bench.
    """

    def __init__(self, work: Work) -> None:
        _, wanted = work.job.prices.costs()
        super().__init__(work, work.job.prices.small(wanted, work.job.groundwork()[0]))

    def plan(self, bits: float) -> Plan:
        """The plan of least expected KL whose weights take no more than `bits` each."""
        job, options = self._work.job, self._sensitivity.options
        size = int(bits / 16 * job.source.bf16_bytes)
        room = room_for(size, job.source.layers, job.source.bf16_bytes, options)
        problem = Problem(self._sensitivity, self._joules, room)
        (budget,) = budgets(problem, (1.0,))
        look = partial(self._searched, problem, 0, budget)
        return self._plan(job.journal.step(f"sized-{bits:g}", Choice, look))

    def codes(self, plan: Plan) -> Mapping[str, QuantisedWeight]:
        """The codes of a plan, read one layer at a time."""
        return self._bank.view(plan)

    def _reach(self) -> None:
        """No second look: head and embedding are kept once, in one format."""

    def _scores(self) -> NDArray[np.float64]:
        """Measured anew, for there are more options."""
        job, kept = self._work.job, self._bank.folder / "scores-sized.npy"
        effort, layers = job.order.effort, job.source.layers
        windows = job.texts.corpus.calibration[: effort.hessian_windows]
        fill_bank(load_reference(job.source.folder), layers, self._formats, windows, self._bank)
        if not kept.exists():
            samples = self._samples()[-effort.sensitivity_samples :]
            found = measure_sensitivity(self._gated(), samples, seed=job.order.seed)
            partial_file = kept.with_suffix(".partial.npy")
            np.save(partial_file, found.scores)
            partial_file.replace(kept)
        known: NDArray[np.float64] = np.load(kept)
        return known


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
