"""The job, step by step. Every step is kept, so a stopped job goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import conclude, stages
from negawatt.actions.optimize.conclude import Evidence
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.actions.optimize.plans import (
    divergence,
    fitting,
    frozen,
    haven,
    hopeless,
    next_budget,
    room_for,
    stored_bytes,
    uniform_plan,
)
from negawatt.actions.optimize.stages import Entry, Texts, products
from negawatt.actions.optimize.trials import INT8, Track, Trial
from negawatt.compress.bank import WeightBank
from negawatt.compress.formats import shortlist
from negawatt.compress.problem import Choice, Problem, Sensitivity
from negawatt.core.errors import NumericsGateFailed
from negawatt.core.outcome import Check
from negawatt.core.protocols import Runtime
from negawatt.core.records import Decision, Format, Quality
from negawatt.energy import costs
from negawatt.energy.calibrations import remember
from negawatt.energy.costs import CostTable, Shape, Wanted
from negawatt.energy.model import (
    PHASES,
    PREFILL_TOKENS,
    Calibration,
    EnergyModel,
    Observation,
    calibrate,
)
from negawatt.energy.units import Unit, spread, units
from negawatt.models.corpus import Corpus
from negawatt.models.source import ModelSource

_VERSION = 12  # of the steps; results of another one are not reused
_GATE_KL = 1e-2  # nat/token: above 16-bit rounding, far below any wrong kernel
_BASE = "16 bit"
_WIDE = 16  # bits
_TRIALS_A_WORKER = 2


class OptimizeJob:
    """One optimisation; `run` returns what the report is made from.

    What needs an engine or the weights is handed to the workshop; this object
    keeps plain values alone.

    Args:
        order: What the user asked for.
        tools: What there is to work with.
        work: Folder for everything kept between runs.
        source: The prepared model.
    """

    def __init__(self, order: Order, tools: Tools, work: Path, source: ModelSource) -> None:
        self.order, self.tools, self.work, self.source = order, tools, work, source
        self.checks: list[Check] = []
        self._tried = 0
        self.held = tools.workshop.held

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
            order.max_size,
            tools.machine_id,
            tools.versions,
        )
        return Journal(self.work / "steps", key)

    def load(self, *engines: Runtime) -> None:
        """Have the next stages done with these engines, and without what the last ones left."""
        self.tools.workshop.change(*engines, model=self.source.folder)

    # ------------------------------------------------------------------ stages

    def run(self) -> tuple[Evidence, Decision, EnergyModel, Mapping[tuple[str, Format], float]]:
        """Measure, search and verify; returns all the facts and the choice."""
        runtime, reference = self.tools.runtime, self.tools.reference
        converted, self.reference_folder = self.convert()
        self.load(reference)
        self.texts = texts = self.read_texts()
        self._numerics_gate(converted, texts)
        table, wanted = self._costs()
        self.load(reference)
        formats = self._formats(table, wanted)
        self._check_room(formats)
        bank = self._candidates(texts, formats)
        bare = self._model(table, {})
        # The table alone prices options: it is kept, so the same seed finds the same plans.
        self.load(reference)
        sensitivity, choices = self._search(texts, bank, formats, bare)
        self.load(runtime)
        track = self._track(texts, converted, bank)
        self.track = track = replace(track, threads=self._threads(track))
        uniform = self._uniform(track, formats, bare)
        model = self._energy_model(table, uniform)
        remember(
            self.tools.cache, model, architecture=self.source.architecture, threads=track.threads
        )
        trials = [*uniform, *self._verify(track, choices, sensitivity, bare, uniform)]
        evidence = self._evidence(trials, texts, track.threads, model, bare)
        alone = dict(zip(sensitivity.options, sensitivity.alone.tolist(), strict=True))
        return evidence, conclude.decide(evidence), model, alone

    def groundwork(self) -> tuple[tuple[Format, ...], WeightBank, EnergyModel]:
        """What the search works on: formats, filled bank, and the model that prices options.

        After a finished run all of it is read from what is kept. The text has to be read before.
        """
        table, wanted = self._costs()
        formats = self._formats(table, wanted)
        return formats, self._candidates(self.texts, formats), self._model(table, {})

    def convert(self) -> tuple[Path, Path]:
        """The 16-bit model in the forms of both engines."""
        tools, key = self.tools, self.base_key
        places = []
        for i, runtime in enumerate((tools.runtime, tools.reference)):
            place = place_of(self.work, runtime, key)
            if not place.exists():
                tools.workshop.call(stages.convert, tools, runtime, self.source, place)
            tools.progress("convert", (i + 1) / 2)
            places.append(place)
        return places[0], places[1]

    def read_texts(self) -> Texts:
        """Deal out the text, and let the base answer on what is held out."""
        tools = self.tools
        base = self.reference_folder, f"{self.base_key} {tools.reference.version}"
        texts: Texts = tools.workshop.call(
            stages.read_texts, tools, self.order, self.source, base, self.work
        )
        self.journal = self._open_journal(texts.corpus)
        self._clear_others()
        return texts

    def _clear_others(self) -> None:
        """Delete candidates and variants of other texts, seeds or versions: they are large."""
        for place in self.work.iterdir():
            kind, _, key = place.name.partition("-")
            if kind in {"bank", "variants"} and key != self.journal.key[:12]:
                shutil.rmtree(place, ignore_errors=True)

    def _numerics_gate(self, converted: Path, texts: Texts) -> None:
        """No figure of an engine is shown before its logits are those of the reference."""
        tools = self.tools
        shop, tokens = tools.workshop, texts.corpus.test
        wanted = shop.call(
            stages.first_logits, tools, tools.reference, self.reference_folder, tokens
        )
        self.load(tools.runtime)
        kl = divergence(
            wanted, shop.call(stages.first_logits, tools, tools.runtime, converted, tokens)
        )
        name = f"{tools.runtime.name} computes what {tools.reference.name} computes"
        told = f"KL {kl:.2e} nat/token as served, limit {_GATE_KL}"
        self.checks.append(Check(name, kl < _GATE_KL, told))
        if not kl < _GATE_KL:
            raise NumericsGateFailed(
                f"{tools.runtime.name} {tools.runtime.version} returns other logits "
                f"than {tools.reference.name}: KL {kl:.3g} nat/token",
                fix="try another version of the engine, or report it with `negawatt doctor --json`",
            )

    def _costs(self) -> tuple[CostTable, Wanted]:
        """The measured cost table, kept per machine, engine and version."""
        tools, batch = self.tools, self.order.workload.batch
        parts = [unit.layers for unit in units(products(self.source.layers))]
        apart = {Shape(layer.rows, layer.cols) for layers in parts for layer in layers}
        if not tools.runtime.joins:
            parts = [(layer,) for layers in parts for layer in layers]
        as_one = {Shape(sum(one.rows for one in layers), layers[0].cols) for layers in parts}
        wanted = Wanted(
            shapes=tuple(sorted(apart | as_one)),
            formats=tuple(tools.runtime.formats),
            threads=self.order.threads or 1,
            tokens=(batch, PREFILL_TOKENS),
        )
        name = f"{tools.runtime.name} {tools.runtime.version}"
        path = costs.kept_at(tools.cache, machine=tools.machine_id, runtime=name)
        return tools.workshop.call(stages.measure_table, tools, wanted, path), wanted

    def _formats(self, table: CostTable, wanted: Wanted) -> tuple[Format, ...]:
        """Formats worth searching: not dominated, and saving the most per error."""

        def pick() -> list[Format]:
            left = {*costs.undominated(table, wanted), self.haven}
            if not any(fmt.bits < 8 for fmt in left):  # uniform int4 is compared in any case
                left.update(wanted.formats)
            alive = [fmt for fmt in wanted.formats if fmt.bits < 16 and fmt in left]
            bare = self._model(table, {})
            energy = {
                fmt: sum(
                    float(bare.option_energy([(layer.name, fitting(layer, fmt, self.haven))])[0])
                    for layer in products(self.source.layers)
                )
                for fmt in alive
            }
            error = self.tools.workshop.call(stages.rounding, self.tools, self.source, alive)
            most = self.order.effort.formats
            kept = shortlist(self.haven, energy, error, most=most)
            return [*kept, *self._small(wanted, kept)]

        return tuple(self.journal.step("formats", list[Format], pick))

    def _check_room(self, formats: Sequence[Format]) -> None:
        """A size that no plan keeps is refused before the long stages."""
        options = [(unit.name, fmt) for unit in self.units for fmt in unit.candidates(formats)]
        room_for(self.order.max_size, self.source.layers, self.source.bf16_bytes, options)

    def _small(self, wanted: Wanted, kept: Sequence[Format]) -> list[Format]:
        """Under a limit on size, formats that save the most bytes per error as well."""
        if self.order.max_size is None:
            return []
        narrow = [fmt for fmt in wanted.formats if fmt.bits < _WIDE]
        size = {
            fmt: sum(
                fitting(layer, fmt, self.haven).bytes(layer.rows, layer.cols)
                for layer in products(self.source.layers)
            )
            for fmt in narrow
        }
        error = self.tools.workshop.call(stages.rounding, self.tools, self.source, narrow)
        found = shortlist(self.haven, size, error, most=self.order.effort.formats)
        return [fmt for fmt in found if fmt not in kept]

    def _candidates(self, texts: Texts, formats: tuple[Format, ...]) -> WeightBank:
        # An embedding of the head's codes is kept once; the head's, for they were made with care.
        shared = {one.tied_to: one.name for one in self.source.layers if one.tied_to}
        bank = WeightBank(self.work / f"bank-{self.journal.key[:12]}", shared)
        windows = texts.corpus.calibration[: self.order.effort.hessian_windows]

        def fill() -> int:
            count: int = self.tools.workshop.call(
                stages.fill_candidates, self.tools, self.source, formats, windows, bank
            )
            return count

        self.journal.step("candidates " + " ".join(fmt.name for fmt in formats), int, fill)
        return bank

    def _track(self, texts: Texts, converted: Path, bank: WeightBank) -> Track:
        embedding = next(layer for layer in self.source.layers if layer.kind == "embedding")
        return Track(
            tools=self.tools,
            effort=self.order.effort,
            workload=self.order.workload,
            threads=1,
            vocabulary=embedding.rows,
            converted=converted,
            bank=bank,
            folder=self.work / f"variants-{self.journal.key[:12]}",
            selection=texts.selection,
            test=texts.test,
            int8=uniform_plan(self.source.layers, self.haven, self.haven),
        )

    def _threads(self, track: Track) -> int:
        """One thread or all, whichever takes less CPU time and is quick enough."""
        if self.order.threads is not None:
            return self.order.threads
        if self.tools.cores == 1:
            return 1

        def pick() -> int:
            limit = self.order.max_latency
            count: int = self.tools.workshop.call(stages.fewest_seconds, self.tools, track, limit)
            return count

        return self.journal.step(f"threads{self._under}", int, pick)

    @property
    def _under(self) -> str:
        """What steps are called by beside their names when they hang on the number of threads."""
        limit = self.order.max_latency
        return "" if limit is None else f" under {limit:.3g} s"

    def _uniform(
        self, track: Track, formats: tuple[Format, ...], model: EnergyModel
    ) -> list[Trial]:
        """What everybody has: 16 bits, uniform int4 and uniform int8.

        int8 is run a second time with layers multiplied as one where the table
        says that it pays, so that this gain is told apart from that of the search.
        """
        layers, tools = self.source.layers, self.tools
        entries: list[Entry] = [(_BASE, "base", {layer.name: Format(16) for layer in layers}, ())]
        entries += [
            (f"uniform {fmt.name}", "uniform", uniform_plan(layers, fmt, self.haven), ())
            for fmt in [fmt for fmt in formats if fmt.bits < 8][:1]  # the best bargain
        ]
        if joint := model.joint(track.int8):
            entries.append((f"{INT8}, joined", "uniform", track.int8, joint))
        tools.progress("uniform", 0.0)

        def yardstick() -> Trial:
            entry: Entry = (INT8, "uniform", track.int8, ())
            quality = tools.workshop.call(stages.grade, tools, track, entry)
            self.load(tools.runtime, tools.reference)
            found: Trial = tools.workshop.call(
                stages.race_int8, tools, track, self.reference_folder, quality
            )
            return found

        trials = [self.journal.step(f"trial {INT8}{self._under}", Trial, yardstick)]
        self._tried = 0
        for i, entry in enumerate(entries):
            tools.progress("uniform", (i + 1) / (len(entries) + 1))
            # Joined layers say what they say apart, so what int8 loses is known already.
            known = (trials[0].selection, trials[0].test) if entry[3] else None
            trials.append(self._try(track, entry, known=known))
        tools.progress("uniform", 1.0)
        return trials

    def _try(
        self,
        track: Track,
        entry: Entry,
        label: str = "",
        *,
        known: tuple[Quality, Quality] | None = None,
    ) -> Trial:
        """One trial, kept; engines leave some memory behind, so the worker is changed at times."""
        tools, shop = self.tools, self.tools.workshop
        large = any(fmt.bits > 8 for fmt in entry[2].values())

        def attempt() -> Trial:
            if large or self._tried % _TRIALS_A_WORKER == 0:
                self.load(tools.runtime)
            quality = known or shop.call(stages.grade, tools, track, entry)
            if large:
                self.load(tools.runtime)
            # A large variant uses up its worker: the next trial begins with another one.
            self._tried = 0 if large else self._tried + 1
            found: Trial = shop.call(stages.race, tools, track, entry, quality)
            return found

        return self.journal.step(f"trial {entry[0]}{self._under} {label}".strip(), Trial, attempt)

    def _energy_model(self, table: CostTable, uniform: list[Trial]) -> EnergyModel:
        """The table, calibrated on the whole models that have been run."""
        bare = self._model(table, {})
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
        return self._model(table, fits)

    def _search(
        self,
        texts: Texts,
        bank: WeightBank,
        formats: tuple[Format, ...],
        model: EnergyModel,
    ) -> tuple[Sensitivity, list[Choice]]:
        """The energy gradient at a row of budgets, each kept when finished."""
        sensitivity, choices, self.journal = self.tools.workshop.call(
            stages.find_plans,
            self.tools,
            self.order,
            self.source,
            (bank, formats, texts.corpus.calibration),
            model,
            self.journal,
        )
        return sensitivity, choices

    def _verify(
        self,
        track: Track,
        choices: list[Choice],
        sensitivity: Sensitivity,
        bare: EnergyModel,
        uniform: list[Trial],
    ) -> list[Trial]:
        """Run every found plan for real, then close in on the allowed loss."""
        tools, options = self.tools, sensitivity.options
        room = room_for(self.order.max_size, self.source.layers, self.source.bf16_bytes, options)
        problem = Problem(sensitivity, bare.option_energy(options), room)
        total = len(choices) + track.effort.refinements
        seen = {frozen(trial.plan) for trial in uniform if trial.joint}
        known: list[tuple[Choice, str]] = []  # with the name of its trial
        trials: list[Trial] = []
        for number in range(total):
            tools.progress("verify", number / total)
            losses = conclude.weighed([*uniform, *trials])
            found = [(one, losses[name].sure) for one, name in known]
            if number < len(choices):
                choice = choices[number]
                if hopeless(found, choice, self.order.max_loss):
                    continue
            else:
                start = problem.bounds()[1], losses[INT8].sure
                nearer = next_budget(found, self.order.max_loss, problem.bounds()[0], start)
                if nearer is None:
                    break
                given = (sensitivity, problem.energy, room, *nearer)
                choice = tools.workshop.call(stages.closer, tools, *given)
            # Layers that no format of the engine fits stay at 16 bits.
            searched = [unit for unit in self.units if unit.name in choice.plan]
            plan = {layer.name: Format(_WIDE) for layer in self.source.layers}
            plan |= spread(choice.plan, searched)
            if frozen(plan) in seen:
                continue
            seen.add(frozen(plan))
            together = bare.joint(plan)
            # by its plan: another loss budget closes in on other plans under the same numbers
            label = fingerprint(frozen(plan), together)[:8]
            entry: Entry = (f"searched {number + 1}", "searched", plan, together)
            trials.append(self._try(track, entry, label))
            known.append((choice, entry[0]))
        tools.progress("verify", 1.0)
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
            stored={
                t.name: stored_bytes(t.plan, self.source.layers, self.source.bf16_bytes)
                for t in trials
            },
            max_size=self.order.max_size,
            max_latency=self.order.max_latency,
        )

    @property
    def haven(self) -> Format:
        """The 8-bit form of the serving engine: the yardstick, and what layers fall back on."""
        return haven(self.tools.runtime.formats)

    @property
    def units(self) -> tuple[Unit, ...]:
        """Layers that are decided together."""
        return units(self.source.layers)

    def _model(self, table: CostTable, fits: Mapping[str, Calibration]) -> EnergyModel:
        return EnergyModel(
            layers=self.source.layers,
            table=table,
            workload=self.order.workload,
            threads=self.order.threads or 1,
            joules_per_cpu_s=self.tools.joules_per_cpu_s,
            calibration=fits,
            joins=self.tools.runtime.joins,
        )
