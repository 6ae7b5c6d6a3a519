"""The heavy stages of the job: functions of plain values, so that a worker can do them.

Engines are imported where they are used: the job's own process names these
functions and loads none. Each takes the tools first. Those with a journal give it back, with the steps it
has taken meanwhile.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import memory
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.optimize.plans import pieces, room_for, shares_of
from negawatt.actions.optimize.second_look import reach_of
from negawatt.actions.optimize.trials import INT8, Track, Trial
from negawatt.compress.assign import Room
from negawatt.compress.bank import WeightBank
from negawatt.compress.problem import Choice, Problem, Sensitivity, budgets
from negawatt.core.errors import UsageError
from negawatt.core.outcome import Role
from negawatt.core.protocols import RunOptions, RunsOtherwise, Runtime
from negawatt.core.records import Format, Layer, Quality
from negawatt.energy import costs
from negawatt.energy.costs import CostTable, Wanted
from negawatt.energy.model import EnergyModel, Joint
from negawatt.energy.units import units
from negawatt.models.corpus import Corpus, split
from negawatt.models.encoder import find_encoder
from negawatt.models.load import load_reference, load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.quality import Reference, exam, reference
from negawatt.models.source import ModelSource, prepare

PROMPT = "The cheapest energy is the energy that is never used. For a computer, this means"
_GATE_TOKENS = 64
_SHORT = 32  # tokens


@dataclass(frozen=True, slots=True)
class Texts:
    """The tokenised text and the base's own answers on it."""

    corpus: Corpus
    selection: Reference
    test: Reference
    prompt: tuple[int, ...]  # tokens of `PROMPT`
    stop: tuple[int, ...]  # tokens that end a reply


def prepared(tools: Tools, order: Order, work: Path) -> ModelSource:
    """The model in the one form that everything later reads.

    Raises:
        UsageError: it is an encoder, whose search is another command's.
    """
    if find_encoder(order.model) is not None:
        raise UsageError(
            f"{order.model} is an encoder: it writes no text, and has no perplexity to keep",
            fix=f"negawatt quantise {order.model} --format int8-row-sym --activations mixed "
            "--max-distance 0.002",
        )
    return prepare(
        order.model,
        work,
        seed=order.seed,
        progress=lambda _, share: tools.progress("prepare", share),
    )


def ready(tools: Tools) -> None:
    """Nothing: a worker that can do this has its libraries loaded."""
    del tools


def convert(tools: Tools, runtime: Runtime, source: ModelSource, place: Path) -> None:
    """The 16-bit model in an engine's own form."""
    del tools
    runtime.convert(source.folder, place)


def read_texts(
    tools: Tools, order: Order, source: ModelSource, base: tuple[Path, str], work: Path
) -> Texts:
    """Deal out the text, and let the reference engine answer on what is held out.

    Args:
        tools: Its reference engine answers.
        order: Names the text.
        source: The model.
        base: Its folder in the reference engine's form, and the key of what it is.
        work: Where answers are kept.
    """
    effort, tokenizer = order.effort, load_tokenizer(source.folder)
    corpus = split(
        load_text(order.text, tools.data),
        tokenizer,
        window=min(effort.window, context_of(source.folder)),
        calibration_tokens=effort.calibration_tokens,
        selection_tokens=effort.selection_tokens,
        test_tokens=effort.test_tokens,
        seed=order.seed,
    )
    folder, key = base
    found: dict[str, Reference] = {}
    with tools.reference.open(folder, RunOptions(threads=tools.cores, steps="read")) as session:
        for i, side in enumerate(("selection", "test")):

            def tell(_: str, share: float, i: int = i) -> None:
                tools.progress("reference", (i + share) / 2)

            found[side] = reference(
                session,
                exam(corpus, tokenizer, "test" if i else "selection"),
                work / f"reference-{side}",
                effort.kl_tokens,
                key=key,
                progress=tell,
            )
    end = tokenizer.eos_token_id
    return Texts(
        corpus,
        found["selection"],
        found["test"],
        prompt=tuple(tokenizer(PROMPT)["input_ids"]),
        stop=() if end is None else (end,),
    )


def context_of(folder: Path) -> int:
    """Tokens the model was made for, where its configuration says so."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or sys.maxsize)


def first_logits(
    tools: Tools, runtime: Runtime, folder: Path, tokens: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits of an engine, as it serves, on the first tokens of a text."""
    options = RunOptions(threads=tools.cores, steps="read", lean=True)
    with runtime.open(folder, options) as session:
        return np.asarray(session.forward(tokens[:1, :_GATE_TOKENS]))


def measure_table(tools: Tools, wanted: Wanted, path: Path) -> CostTable:
    """The measured cost table, kept per machine, engine and version."""
    name = f"{tools.runtime.name} {tools.runtime.version}"
    table = costs.measure_costs(
        tools.runtime,
        wanted,
        costs.load_table(path, machine=tools.machine_id, runtime=name),
        clock=tools.clock,
        on_shape=lambda done, total: tools.progress("costs", done / total),
    )
    costs.save_table(path, table)
    return table


def rounding(
    tools: Tools, source: ModelSource, formats: Sequence[Format]
) -> Mapping[Format, float]:
    """How far rounding alone moves the weights, by format."""
    from negawatt.compress.formats import rounding_error

    del tools
    return rounding_error(source.folder, source.layers, formats)


def fill_candidates(
    tools: Tools,
    source: ModelSource,
    formats: Sequence[Format],
    windows: NDArray[np.int64],
    bank: WeightBank,
) -> int:
    """Quantise every layer in every format; returns how many layers."""
    from negawatt.compress.calibrate import fill_bank
    from negawatt.models.halves import reading_dtype
    from negawatt.models.mapped import Mapped

    fill_bank(
        Mapped(source.folder, reading_dtype()),
        source.layers,
        formats,
        windows,
        bank,
        lambda done, total: tools.progress("candidates", done / total),
    )
    return len(source.layers)


def fewest_seconds(tools: Tools, track: Track, max_latency: float | None = None) -> int:
    """One thread or all, whichever takes less CPU time for the workload.

    Where one of the two writes a token within `max_latency` [s] and the other does not, that one.
    """
    workload = track.workload
    # The answer does not hang on the context, so a short one will do.
    short = replace(track, workload=replace(workload, prompt=min(workload.prompt, _SHORT)))
    place = track.build(INT8, track.int8)
    spent: dict[int, float] = dict.fromkeys((1, tools.cores), 0.0)
    late: dict[int, bool] = {}
    with (
        track.opened(place, "read", 1) as one,
        track.opened(place, "read", tools.cores) as several,
    ):
        for name, half in track.race_reading({"1": one, "all": several}, rounds=1).items():
            threads = 1 if name == "1" else tools.cores
            spent[threads] += workload.prompt * float(np.median(half.cpu))
    with (
        track.opened(place, "write", 1) as one,
        track.opened(place, "write", tools.cores) as several,
    ):
        for name, half in short.race_writing({"1": one, "all": several}, rounds=1).items():
            threads = 1 if name == "1" else tools.cores
            spent[threads] += workload.generate * float(np.median(half.cpu))
            late[threads] = max_latency is not None and float(np.median(half.wall)) > max_latency
    return min(spent, key=lambda threads: (late[threads], spent[threads], threads))


#: A plan to try: its name, what it is there for, the formats, what is multiplied as one.
Entry = tuple[str, Role, Mapping[str, Format], Joint]


def grade(tools: Tools, track: Track, entry: Entry) -> tuple[Quality, Quality]:
    """Build a variant, and find what it loses on the selection and the test text."""
    del tools
    name, _, plan, joint = entry
    return track.graded(track.build(name, plan, joint))


def race(tools: Tools, track: Track, entry: Entry, quality: tuple[Quality, Quality]) -> Trial:
    """Race a variant against uniform int8."""
    del tools
    return track.run(*entry, quality)


def otherwise(tools: Tools, engine: Runtime, artifact: Path, threads: int) -> str:
    """What an engine does otherwise with an artifact here than elsewhere; empty: nothing."""
    del tools
    if not isinstance(engine, RunsOtherwise):
        return ""
    return engine.otherwise(artifact, RunOptions(threads=threads))


def race_int8(tools: Tools, track: Track, base: Path, quality: tuple[Quality, Quality]) -> Trial:
    """Race uniform int8 against the reference engine."""
    del tools
    return track.run_int8(base, quality)


def closer(
    tools: Tools,
    sensitivity: Sensitivity,
    energy: NDArray[np.float64],
    room: Room | None,
    choice: Choice,
    budget: float,
) -> Choice:
    """The plan for another budget at the prices of one that was searched."""
    from negawatt.compress.search import EnergyGradientSearch

    del tools
    problem = Problem(sensitivity, energy, room)
    search = EnergyGradientSearch(problem, None, np.zeros((4, 1), np.int64), seed=0)
    return search.assign_at(choice, budget)


def find_plans(
    tools: Tools,
    order: Order,
    source: ModelSource,
    material: tuple[WeightBank, tuple[Format, ...], NDArray[np.int64]],
    model: EnergyModel,
    journal: Journal,
) -> tuple[Sensitivity, list[Choice], Journal]:
    """Measure what hurts, then follow the energy gradient at a row of budgets.

    Args:
        tools: For progress.
        order: Effort and seed.
        source: The model.
        material: The filled bank, the formats in it, and calibration text, int64
            [windows, positions].
        model: Prices the options.
        journal: Each budget is kept when finished; gate gradients are kept beside the bank.
    """
    from negawatt.compress.gates import GatedModel
    from negawatt.compress.search import EnergyGradientSearch
    from negawatt.compress.sensitivity import measure_sensitivity

    effort, seed = order.effort, order.seed
    bank, formats, windows = material
    store = bank.folder / "scores.npy"
    parts = units(source.layers)
    samples = pieces(windows, effort.sample_tokens)

    def gated() -> GatedModel:
        base = load_reference(source.folder)
        return GatedModel(base, parts, formats, bank, reach=reach_of(tools, order, source))

    def measure() -> int:
        found = measure_sensitivity(
            gated(),
            samples[-effort.sensitivity_samples :],  # not the Hessians' windows
            seed=seed,
            on_batch=lambda done, total: tools.progress("sensitivity", done / total),
        )
        unfinished = store.with_suffix(".partial.npy")
        np.save(unfinished, found.scores)
        unfinished.replace(store)
        return len(found.scores)

    journal.step("sensitivity", int, measure)
    memory.release()
    options = tuple((unit.name, fmt) for unit in parts for fmt in unit.candidates(formats))
    sensitivity = Sensitivity(options, np.load(store))
    room = room_for(order.max_size, source.layers, source.bf16_bytes, options)
    problem = Problem(sensitivity, model.option_energy(options), room)
    row = budgets(problem, shares_of(effort.budget_shares, room))
    done = all(journal.has(f"search-{i}") for i in range(len(row)))
    search = EnergyGradientSearch(problem, None if done else gated(), samples, seed=seed)
    choices = []
    for i, budget in enumerate(row):

        def tell(step: int, i: int = i) -> None:
            tools.progress("search", (i + step / effort.search_steps) / len(row))

        search.reseed(seed + i)
        look = partial(search.run, budget, steps=effort.search_steps, on_step=tell)
        choices.append(journal.step(f"search-{i}", Choice, look))
        memory.release()
    return sensitivity, choices, journal


def products(layers: Sequence[Layer]) -> list[Layer]:
    """Layers that multiply: all but the embedding."""
    return [layer for layer in layers if layer.kind != "embedding"]
