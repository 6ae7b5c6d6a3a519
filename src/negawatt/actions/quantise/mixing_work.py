"""What workers do for the search over inputs. Engines are imported where they are used."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize.order import Tools
from negawatt.actions.quantise import work as tasks
from negawatt.actions.quantise.encoder_work import read_all
from negawatt.compress.bank import BankView, WeightBank
from negawatt.compress.mixed import CODES, Inlet, problem_of
from negawatt.compress.race import race_reading
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import RunOptions, Runtime
from negawatt.core.records import Format, Workload
from negawatt.models.encoder import ending_of, pooling_of
from negawatt.models.interval import resampled_mean
from negawatt.models.likeness import Answers, distances
from negawatt.models.source import ModelSource

_ROUNDS = 24  # of turns: differences of a hundredth are looked for


@dataclass(frozen=True, slots=True)
class Given:
    """What all trials of a model share."""

    source: ModelSource
    base: Path  # its float form in the reference engine
    bank: WeightBank  # the codes of the weights, and how inputs would be rounded
    plan: Mapping[str, Format]
    inlets: tuple[Inlet, ...]

    def view(self, rounded: Sequence[str]) -> BankView:
        """The codes, with the inputs of some inlets rounded."""
        names = {name for one in self.inlets if one.name in rounded for name in one.layers}
        return self.bank.view(self.plan, names)


def measure_of(source: ModelSource) -> str:
    """What distances of such a model are called."""
    return "1 - cosine" if ending_of(source.architecture) == "embedding" else "KL"


def find_slopes(
    tools: Tools, given: Given, windows: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Slopes of the answers by gates at the inlets, [samples, inlets]."""
    from negawatt.compress.harm import slopes, with_codes

    def tell(done: int, total: int) -> None:
        tools.progress("search", 0.3 + 0.2 * done / total)

    source = given.source
    return slopes(
        with_codes(tasks.loaded(source), given.view(())),
        (given.inlets, given.bank.inputs),
        windows,
        (ending_of(source.architecture), pooling_of(source.folder)),
        seed=seed,
        on_batch=tell,
    )


def within(
    tools: Tools,
    asked: tuple[Sequence[Inlet], Sequence[Sequence[float]], Mapping[str, float]],
    budget: float,
) -> tuple[str, ...]:
    """The inlets to round for the least harm at a budget. [J/text]

    Args:
        tools: Not used.
        asked: Inlets, slopes by their gates, and what rounding each saves. [J/text]
        budget: Of what floats may cost beside rounding everything.
    """
    from negawatt.compress.search import EnergyGradientSearch

    del tools
    problem = problem_of(*asked)
    search = EnergyGradientSearch(problem, None, np.zeros((4, 1), np.int64), seed=0)
    plan = search.run(budget, steps=0).plan
    return tuple(one.name for one in asked[0] if plan[one.name] == CODES)


def find_distance(
    tools: Tools,
    given: Given,
    rounded: tuple[str, ...],
    known: tuple[NDArray[np.int64], Answers],
    place: Path,
) -> Estimate:
    """How far the answers of a trial are from the original's, in the reference engine.

    Args:
        tools: With that engine.
        given: The model.
        rounded: Names of the inlets that are.
        known: Text, int64 [texts, positions], and what the original says of it.
        place: Folder for the trial.
    """
    windows, base = known
    source = given.source
    trial = place / "distance"
    shutil.rmtree(trial, ignore_errors=True)
    tasks.compress(tools.reference, given.base, given.view(rounded), trial)
    said = read_all(tools, source, trial, windows, (), "search")
    shutil.rmtree(trial)
    far = distances(base, said, ending_of(source.architecture))
    value, low, high = resampled_mean(far)
    return Estimate(
        value=value,
        low=low,
        high=high,
        unit="1" if measure_of(source) == "1 - cosine" else "nat",
        kind=Kind.MEASURED,
        source="95 % bootstrap over texts",
        boundary="model",
    )


def race_mixes(
    tools: Tools,
    engine: Runtime,
    given: Given,
    asked: Mapping[str, tuple[str, ...]],
    tokens: int,
    place: Path,
) -> dict[str, tuple[float, ...]]:
    """CPU time of a text with some inlets rounded, all in turns, on one thread. [s/text]"""
    source = given.source
    folder = place / "raced"
    shutil.rmtree(folder, ignore_errors=True)
    wide = folder / "wide"
    engine.convert(source.folder, wide)
    options = RunOptions(threads=1, steps="read")
    vocabulary = next(one.rows for one in source.layers if one.kind == "embedding")
    with ExitStack() as stack:
        sessions = {}
        for i, (name, rounded) in enumerate(asked.items()):
            tools.progress("search", i / len(asked))
            tasks.compress(engine, wide, given.view(rounded), folder / str(i))
            sessions[name] = stack.enter_context(engine.open(folder / str(i), options))
        halves = race_reading(
            sessions,
            Workload(tokens, 1),
            rounds=_ROUNDS,
            vocabulary=vocabulary,
            clock=tools.clock,
        )
    shutil.rmtree(folder)
    return {name: tuple(cpu * tokens for cpu in half.cpu) for name, half in halves.items()}
