"""The job, step by step. Every step is kept, so a stopped job goes on where it was."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import conclude, memory
from negawatt.actions.optimize.conclude import Evidence
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.actions.optimize.trials import INT8, Track, Trial
from negawatt.compress.bank import WeightBank
from negawatt.compress.calibrate import fill_bank
from negawatt.compress.formats import rounding_error, shortlist
from negawatt.compress.gates import GatedModel
from negawatt.compress.race import race
from negawatt.compress.search import Choice, EnergyGradientSearch, Problem, budgets
from negawatt.compress.sensitivity import Sensitivity, measure_sensitivity
from negawatt.core.errors import NumericsGateFailed
from negawatt.core.outcome import Check, Role
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Decision, Format, Layer
from negawatt.energy import costs
from negawatt.energy.calibrations import remember
from negawatt.energy.costs import CostTable, Shape, Wanted
from negawatt.energy.model import (
    PHASES,
    PREFILL_TOKENS,
    Calibration,
    EnergyModel,
    Joint,
    Observation,
    calibrate,
)
from negawatt.energy.units import Unit, spread, units
from negawatt.models.corpus import Corpus, split
from negawatt.models.load import load_reference, load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.quality import Reference, exam, reference
from negawatt.models.source import ModelSource, prepare

_VERSION = 4  # of the steps; results of another one are not reused
_GATE_TOKENS = 64
_GATE_KL = 1e-2  # nat/token: above 16-bit rounding, far below any wrong kernel
_BASE = "16 bit"
_NEAR = 0.12  # searched losses within this share of the limit need no closer look


@dataclass(frozen=True, slots=True)
class Texts:
    """The tokenised text and the base's own answers on it."""

    corpus: Corpus
    selection: Reference
    test: Reference


class OptimizeJob:
    """One optimisation; `run` returns what the report is made from.

    Args:
        order: What the user asked for.
        tools: What there is to work with.
        work: Folder for everything kept between runs.
    """

    def __init__(self, order: Order, tools: Tools, work: Path) -> None:
        self.order, self.tools, self.work = order, tools, work
        self.source = self._prepare()
        self.checks: list[Check] = []
        self._sensitivity: Sensitivity | None = None

    @property
    def base_key(self) -> str:
        """What the 16-bit model is: its source, and how its channels were reordered."""
        return fingerprint(self.source.digest, self.source.off_grid, self.order.seed)

    def _open_journal(self, corpus: Corpus) -> Journal:
        """Results count only for the same model, text, seed, workload, effort and versions."""
        order, tools = self.order, self.tools
        key = fingerprint(
            _VERSION,
            self.base_key,
            dict(corpus.digests),
            order.workload.spec,
            order.threads,
            order.effort,
            tools.machine_id,
            tools.versions,
        )
        return Journal(self.work / "steps", key)

    def warm(self) -> None:
        """Load what is needed whatever the model, so that its size can be told from the model's."""
        load_tokenizer(self.source.folder)
        for runtime in (self.tools.reference, self.tools.runtime):
            for fmt in (Format(16), Format(8)):
                if fmt in runtime.formats:  # brings in the engine's own code, page by page
                    runtime.kernel(64, 64, fmt, copies=1, options=RunOptions()).run(1)
        memory.release()
        gc.freeze()  # what libraries brought stays; later collections need not look at it

    def _tell(self, stage: str, share: float) -> None:
        self.tools.progress(stage, share)

    def _tell_half(self, stage: str, half: int, _: str, share: float) -> None:
        self._tell(stage, (half + share) / 2)

    def _prepare(self) -> ModelSource:
        return prepare(
            self.order.model,
            self.work,
            seed=self.order.seed,
            progress=lambda _, share: self._tell("prepare", share),
        )

    # ------------------------------------------------------------------ stages

    def run(self) -> tuple[Evidence, Decision, EnergyModel, Mapping[tuple[str, Format], float]]:
        """Measure, search and verify; returns all the facts and the choice."""
        converted, reference_folder = self._convert()
        self.reference_folder = reference_folder
        texts = self._reference(reference_folder)
        self.texts = dict(texts.corpus.texts)
        self._numerics_gate(converted, reference_folder, texts)
        table, wanted = self._costs()
        formats = self._formats(table, wanted)
        bank = self._candidates(texts, formats)
        track = Track(
            tools=self.tools,
            effort=self.order.effort,
            workload=self.order.workload,
            threads=1,
            vocabulary=self._embedding().rows,
            converted=converted,
            bank=bank,
            folder=self.work / f"variants-{self.journal.key[:12]}",
            selection=texts.selection,
            int8=self._uniform_plan(Format(8)),
            int8_bytes=self.source.bf16_bytes // 2,
            test=texts.test,
        )
        threads = self._threads(track)
        self.track = track = replace(track, threads=threads)
        uniform = self._uniform(track, formats, reference_folder, self._model(table, threads, {}))
        model = self._energy_model(table, threads, uniform)
        remember(self.tools.cache, model, architecture=self.source.architecture, threads=threads)
        sensitivity = self._sensitivities(texts, bank, formats)
        # The table alone prices options: it is kept, so the same seed finds the same plans.
        bare = self._model(table, threads, {})
        choices = self._search(texts, bank, formats, sensitivity, bare)
        trials = [*uniform, *self._verify(track, choices, sensitivity, bare, uniform)]
        evidence = self._evidence(trials, texts, threads, model, bare)
        alone = dict(zip(sensitivity.options, sensitivity.alone.tolist(), strict=True))
        return evidence, conclude.decide(evidence), model, alone

    def _convert(self) -> tuple[Path, Path]:
        """The 16-bit model in the forms of both engines."""
        key = self.base_key[:12]
        places = []
        for i, runtime in enumerate((self.tools.runtime, self.tools.reference)):
            place = self.work / f"{runtime.name}-{runtime.version.split('-')[0]}-{key}"
            if not place.exists():
                runtime.convert(self.source.folder, place)
            self._tell("convert", (i + 1) / 2)
            places.append(place)
        memory.release()
        return places[0], places[1]

    def _reference(self, folder: Path) -> Texts:
        """Deal out the text, and let the reference engine answer on what is held out."""
        effort, tokenizer = self.order.effort, load_tokenizer(self.source.folder)
        corpus = split(
            load_text(self.order.text, self.tools.data),
            tokenizer,
            window=effort.window,
            calibration_tokens=effort.calibration_tokens,
            selection_tokens=effort.selection_tokens,
            test_tokens=effort.test_tokens,
            seed=self.order.seed,
        )
        self.journal = self._open_journal(corpus)
        key = f"{self.base_key} {self.tools.reference.version}"
        found: dict[str, Reference] = {}
        with self.tools.reference.open(folder, RunOptions(threads=self.tools.cores)) as session:
            for i, side in enumerate(("selection", "test")):
                examined = exam(corpus, tokenizer, "test" if i else "selection")
                found[side] = reference(
                    session,
                    examined,
                    self.work / f"reference-{side}",
                    effort.kl_tokens,
                    key=key,
                    progress=partial(self._tell_half, "reference", i),
                )
        memory.release()
        return Texts(corpus, found["selection"], found["test"])

    def _numerics_gate(self, converted: Path, reference_folder: Path, texts: Texts) -> None:
        """No figure of an engine is shown before its logits are those of the reference."""
        tokens = texts.corpus.test[:1, :_GATE_TOKENS]
        logits = []
        serve = RunOptions(threads=self.tools.cores)
        for runtime, folder in (
            (self.tools.reference, reference_folder),
            (self.tools.runtime, converted),
        ):
            with runtime.open(folder, serve) as session:
                logits.append(session.forward(tokens))
            memory.release()
        kl = divergence(logits[0], logits[1])
        name = f"{self.tools.runtime.name} computes what {self.tools.reference.name} computes"
        told = f"KL {kl:.2e} nat/token as served, limit {_GATE_KL}"
        self.checks.append(Check(name, kl < _GATE_KL, told))
        if not kl < _GATE_KL:
            raise NumericsGateFailed(
                f"{self.tools.runtime.name} {self.tools.runtime.version} returns other logits "
                f"than {self.tools.reference.name}: KL {kl:.3g} nat/token",
                fix="try another version of the engine, or report it with `negawatt doctor --json`",
            )

    def _costs(self) -> tuple[CostTable, Wanted]:
        """The measured cost table, kept per machine, engine and version."""
        runtime, batch = self.tools.runtime, self.order.workload.batch
        parts = [unit.layers for unit in units(self._products())]
        apart = {Shape(layer.rows, layer.cols) for layers in parts for layer in layers}
        as_one = {Shape(sum(one.rows for one in layers), layers[0].cols) for layers in parts}
        shapes = apart | as_one
        wanted = Wanted(
            shapes=tuple(sorted(shapes)),
            formats=tuple(runtime.formats),
            threads=self.order.threads or 1,
            tokens=(batch, PREFILL_TOKENS),
        )
        name = f"{runtime.name} {runtime.version}"
        path = costs.kept_at(self.tools.cache, machine=self.tools.machine_id, runtime=name)
        table = costs.load_table(path, machine=self.tools.machine_id, runtime=name)
        table = costs.measure_costs(
            runtime,
            wanted,
            table,
            clock=self.tools.clock,
            on_shape=lambda done, total: self._tell("costs", done / total),
        )
        costs.save_table(path, table)
        memory.release()
        return table, wanted

    def _formats(self, table: CostTable, wanted: Wanted) -> tuple[Format, ...]:
        """Formats worth searching: not dominated, and saving the most per error."""

        def pick() -> list[Format]:
            left = costs.undominated(table, wanted)
            alive = [fmt for fmt in wanted.formats if fmt.bits < 16 and fmt in {*left, Format(8)}]
            bare = self._model(table, wanted.threads, {})
            energy = {
                fmt: sum(
                    float(bare.option_energy([(layer.name, self._fitting(layer, fmt))])[0])
                    for layer in self._products()
                )
                for fmt in alive
            }
            error = rounding_error(self.source.folder, self.source.layers, alive)
            return list(shortlist(Format(8), energy, error, most=self.order.effort.formats))

        return tuple(self.journal.step("formats", list[Format], pick))

    def _candidates(self, texts: Texts, formats: tuple[Format, ...]) -> WeightBank:
        bank = WeightBank(self.work / f"bank-{self.journal.key[:12]}")
        layers = self.source.layers

        def fill() -> int:
            model = load_reference(self.source.folder)
            windows = texts.corpus.calibration[: self.order.effort.hessian_windows]
            fill_bank(
                model,
                layers,
                formats,
                windows,
                bank,
                lambda done, total: self._tell("candidates", done / total),
            )
            return len(layers)

        self.journal.step("candidates " + " ".join(fmt.name for fmt in formats), int, fill)
        memory.release()
        return bank

    def _threads(self, track: Track) -> int:
        """One thread or all, whichever takes less CPU time for the workload."""
        if self.order.threads is not None:
            return self.order.threads
        cores = self.tools.cores
        if cores == 1:
            return 1

        def pick() -> int:
            workload, runtime = self.order.workload, self.tools.runtime
            place = track.build(INT8, self._uniform_plan(Format(8)))
            with (
                runtime.open(place, RunOptions(threads=1)) as one,
                runtime.open(place, RunOptions(threads=cores)) as all_of_them,
            ):
                laps = race(
                    {"one": one, "all": all_of_them},
                    workload,
                    rounds=3,
                    decode_tokens=self.order.effort.decode_tokens,
                    vocabulary=self._embedding().rows,
                    clock=self.tools.clock,
                )
            spent = {
                name: workload.prompt * np.median(lap.prefill_cpu)
                + workload.generate * np.median(lap.decode_cpu)
                for name, lap in laps.items()
            }
            return 1 if spent["one"] <= spent["all"] else cores

        threads = self.journal.step("threads", int, pick)
        memory.release()
        return threads

    def _uniform(
        self,
        track: Track,
        formats: tuple[Format, ...],
        reference_folder: Path,
        model: EnergyModel,
    ) -> list[Trial]:
        """What everybody has: uniform int8, uniform int4, and 16 bits in the same engine.

        int8 is run a second time with layers multiplied as one where the table
        says that it pays, so that this gain is told apart from that of the search.
        """
        int8 = self._uniform_plan(Format(8))
        todo: list[tuple[str, Role, dict[str, Format], Joint]] = [
            (f"uniform {fmt.name}", "uniform", self._uniform_plan(fmt), ())
            for fmt in formats
            if fmt.bits < 8
        ]
        if joint := model.joint(int8):
            todo.append((f"{INT8}, joined", "uniform", int8, joint))
        wide = {layer.name: Format(16) for layer in self.source.layers}
        todo.append((_BASE, "base", wide, ()))
        first = partial(track.run_int8, int8, reference_folder)
        trials = [self.journal.step(f"trial {INT8}", Trial, first)]
        for i, (name, role, plan, together) in enumerate(todo):
            self._tell("uniform", (i + 1) / (len(todo) + 1))
            attempt = partial(track.run, name, role, plan, together)
            trials.append(self.journal.step(f"trial {name}", Trial, attempt))
        self._tell("uniform", 1.0)
        memory.release()
        return trials

    def _energy_model(self, table: CostTable, threads: int, uniform: list[Trial]) -> EnergyModel:
        """The table, calibrated on the whole models that have been run."""
        bare = self._model(table, threads, {})
        fits: dict[str, Calibration] = {}
        int8 = next(trial for trial in uniform if trial.name == INT8)
        for phase in PHASES:
            scale = float(np.median(getattr(int8.laps, f"{phase}_cpu")))
            seen = []
            for trial in uniform:
                own = np.array(getattr(trial.laps, f"{phase}_cpu"))
                rival = np.array(getattr(trial.rival, f"{phase}_cpu"))
                # paired with int8, so that the machine's mood during one trial cancels
                paired = scale * float(np.median(own / rival)) if trial is not int8 else scale
                table_cpu = bare.table_cpu(trial.plan, phase, trial.joint)
                seen.append(Observation(table_cpu, paired))
            fits[phase] = calibrate(seen)
        return self._model(table, threads, fits)

    def _sensitivities(
        self, texts: Texts, bank: WeightBank, formats: tuple[Format, ...]
    ) -> Sensitivity:
        effort = self.order.effort
        store = self.work / f"scores-{self.journal.key[:12]}.npy"

        def measure() -> int:
            gated = self._gated(bank, formats)
            samples = _pieces(texts.corpus.calibration, effort.sample_tokens)
            samples = samples[-effort.sensitivity_samples :]  # not the Hessians' windows
            found = measure_sensitivity(
                gated,
                samples,
                seed=self.order.seed,
                on_batch=lambda done, total: self._tell("sensitivity", done / total),
            )
            unfinished = store.with_suffix(".partial.npy")
            np.save(unfinished, found.scores)
            unfinished.replace(store)
            return len(found.scores)

        self.journal.step("sensitivity", int, measure)
        memory.release()
        options = [(unit.name, fmt) for unit in self.units for fmt in unit.candidates(formats)]
        return Sensitivity(tuple(options), np.load(store))

    def _search(
        self,
        texts: Texts,
        bank: WeightBank,
        formats: tuple[Format, ...],
        sensitivity: Sensitivity,
        model: EnergyModel,
    ) -> list[Choice]:
        """The energy gradient at a row of budgets, each kept when finished."""
        effort = self.order.effort
        problem = Problem(sensitivity, model.option_energy(sensitivity.options))
        windows = _pieces(texts.corpus.calibration, effort.sample_tokens)
        row = budgets(problem, effort.budget_shares)
        gated: GatedModel | None = None
        if not all(self.journal.has(f"search-{i}") for i in range(len(row))):
            gated = self._gated(bank, formats)
        search = EnergyGradientSearch(problem, gated, windows, seed=self.order.seed)
        choices = []
        for i, budget in enumerate(row):

            def tell(step: int, i: int = i) -> None:
                self._tell("search", (i + step / effort.search_steps) / len(row))

            search.reseed(self.order.seed + i)
            look = partial(search.run, budget, steps=effort.search_steps, on_step=tell)
            choices.append(self.journal.step(f"search-{i}", Choice, look))
            memory.release()
        memory.release()
        return choices

    def _verify(
        self,
        track: Track,
        choices: list[Choice],
        sensitivity: Sensitivity,
        bare: EnergyModel,
        uniform: list[Trial],
    ) -> list[Trial]:
        """Run every found plan for real, then close in on the allowed loss."""
        problem = Problem(sensitivity, bare.option_energy(sensitivity.options))
        search = EnergyGradientSearch(problem, None, np.zeros((4, 1), np.int64), seed=0)
        total = len(choices) + self.order.effort.refinements
        seen = {_frozen(trial.plan) for trial in uniform if trial.joint}
        trials: list[Trial] = []
        known: list[tuple[Choice, float]] = []  # with the loss found

        def attempt(number: int, choice: Choice) -> None:
            self._tell("verify", number / total)
            plan = spread(choice.plan, self.units)
            if _frozen(plan) in seen:
                return
            seen.add(_frozen(plan))
            name = f"searched {number + 1}"
            together = bare.joint(plan)
            look = partial(track.run, name, "searched", plan, together)
            # by its plan: another loss budget closes in on other plans under the same numbers
            label = fingerprint(_frozen(plan), together)[:8]
            trial = self.journal.step(f"trial {name} {label}", Trial, look)
            trials.append(trial)
            known.append((choice, trial.selection.loss.value))

        for number, choice in enumerate(choices):
            attempt(number, choice)
        for number in range(len(choices), total):
            closer = next_budget(known, self.order.max_loss, problem.bounds())
            if closer is None:
                break
            attempt(number, search.assign_at(*closer))
        self._tell("verify", 1.0)
        memory.release()
        return trials

    def _evidence(
        self,
        trials: list[Trial],
        texts: Texts,
        threads: int,
        model: EnergyModel,
        bare: EnergyModel,
    ) -> Evidence:
        runtime, reference_runtime = self.tools.runtime, self.tools.reference
        return Evidence(
            trials=tuple(trials),
            reference=texts.test.quality(),
            reference_bytes=self.source.bf16_bytes,
            workload=self.order.workload,
            threads=threads,
            joules_per_cpu_s=self.tools.joules_per_cpu_s,
            runtime=f"{runtime.name} {runtime.version}",
            reference_runtime=f"{reference_runtime.name} {reference_runtime.version}",
            max_loss=self.order.max_loss,
            predicted={trial.name: model.energy(trial.plan, trial.joint) for trial in trials},
            expected={t.name: bare.energy(t.plan, t.joint).value for t in trials},
        )

    # ------------------------------------------------------------- small parts

    @property
    def units(self) -> tuple[Unit, ...]:
        """Layers that are decided together."""
        return units(self.source.layers)

    def _gated(self, bank: WeightBank, formats: tuple[Format, ...]) -> GatedModel:
        model = load_reference(self.source.folder)
        return GatedModel(model, self.units, formats, bank)

    def _model(
        self, table: CostTable, threads: int, fits: Mapping[str, Calibration]
    ) -> EnergyModel:
        return EnergyModel(
            layers=self.source.layers,
            table=table,
            workload=self.order.workload,
            threads=self.order.threads or 1,
            joules_per_cpu_s=self.tools.joules_per_cpu_s,
            calibration=fits,
        )

    def _products(self) -> list[Layer]:
        return [layer for layer in self.source.layers if layer.kind != "embedding"]

    def _embedding(self) -> Layer:
        return next(layer for layer in self.source.layers if layer.kind == "embedding")

    def _fitting(self, layer: Layer, fmt: Format) -> Format:
        """`fmt`, or int8 where its groups do not divide the layer's rows."""
        return fmt if fmt.fits(layer.cols) else Format(8)

    def _uniform_plan(self, fmt: Format) -> dict[str, Format]:
        """One format everywhere but in the embedding, which costs no joules to keep at 8 bits."""
        return {
            layer.name: Format(8) if layer.kind == "embedding" else self._fitting(layer, fmt)
            for layer in self.source.layers
        }


def next_budget(
    known: list[tuple[Choice, float]], limit: float, bounds: tuple[float, float]
) -> tuple[Choice, float] | None:
    """Where to look closer: a budget between the last allowed plan and the first refused one.

    Args:
        known: Choices with the loss each was found to have.
        limit: Allowed loss. [1]
        bounds: Least and greatest energy of any plan.

    Returns:
        The choice whose prices to use and the budget, or None when the front is close enough.
    """
    allowed = [(c, loss) for c, loss in known if loss <= limit]
    refused = [(c, loss) for c, loss in known if loss > limit]
    if not known:
        return None
    low, high = bounds
    cheap, cheap_loss = min(refused, key=lambda pair: -pair[0].energy, default=(None, math.inf))
    best, best_loss = min(allowed, key=lambda pair: pair[0].energy, default=(None, 0.0))
    if best is not None and best_loss > limit * (1 - _NEAR):
        return None
    if cheap is None and best is not None:  # everything is allowed: go lower
        return best, low + 0.5 * (best.energy - low)
    if cheap is None:
        return None
    top_energy = best.energy if best is not None else high
    top_loss = max(best_loss, 0.0)
    # Loss grows roughly with the square of the energy given up.
    reach = math.sqrt(max(limit - top_loss, 0.0) / max(cheap_loss - top_loss, 1e-9))
    reach = min(max(0.95 * reach, 0.2), 0.8)
    budget = top_energy - reach * (top_energy - cheap.energy)
    return cheap, budget


def divergence(base: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean KL(base || other) over positions of two sets of logits. [nat/token]

    >>> logits = np.zeros((1, 2, 4), np.float32)
    >>> divergence(logits, logits + 3.0)
    0.0
    """
    p, q = (_log_softmax(x.astype(np.float64)) for x in (base, other))
    return float(np.sum(np.exp(p) * (p - q), axis=-1).mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _pieces(windows: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Windows cut into runs of `length` tokens."""
    usable = windows.shape[1] // length * length
    return np.ascontiguousarray(windows[:, :usable].reshape(-1, length))


def _frozen(plan: Mapping[str, Format]) -> tuple[Any, ...]:
    return tuple(sorted((name, fmt.name) for name, fmt in plan.items()))
