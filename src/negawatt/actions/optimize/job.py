"""The job, step by step. Every step is kept, so a stopped job goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import conclude, stages
from negawatt.actions.optimize.conclude import Evidence
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.heats import Heats
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.actions.optimize.plans import divergence, stored_bytes, uniform_plan
from negawatt.actions.optimize.prices import Prices
from negawatt.actions.optimize.stages import Texts
from negawatt.actions.optimize.trials import Track, Trial
from negawatt.compress.bank import WeightBank
from negawatt.compress.problem import Choice, Sensitivity
from negawatt.core.errors import NumericsGateFailed
from negawatt.core.outcome import Check
from negawatt.core.protocols import Runtime
from negawatt.core.records import Decision, Format
from negawatt.energy.calibrations import remember
from negawatt.energy.model import EnergyModel
from negawatt.energy.units import Unit
from negawatt.models.corpus import Corpus
from negawatt.models.source import ModelSource

_VERSION = 16  # of the steps; results of another one are not reused
_GATE_KL = 1e-2  # nat/token: above 16-bit rounding, far below any wrong kernel


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
        self.prices = Prices(order, tools, source)
        self.checks: list[Check] = []
        self.told: tuple[str, ...] = ()  # trials run otherwise or not at all, in sentences
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
        table, wanted = self.prices.costs()
        self.load(reference)
        formats = self.prices.formats(table, wanted, self.journal)
        self.prices.check_room(formats)
        bank = self._candidates(texts, formats)
        bare = self.prices.model(table, {})
        # The table alone prices options: it is kept, so the same seed finds the same plans.
        self.load(reference)
        sensitivity, choices = self._search(texts, bank, formats, bare)
        self.load(runtime)
        track = self._track(texts, converted, bank)
        heats = Heats(self.prices, self.journal, self.reference_folder)
        self.track = track = replace(track, threads=heats.threads(track))
        uniform = heats.uniform(track, formats, bare)
        self.told = tuple(heats.told)
        model = self.prices.calibrated(table, uniform)
        remember(
            self.tools.cache, model, architecture=self.source.architecture, threads=track.threads
        )
        trials = [*uniform, *heats.verify(track, choices, sensitivity, bare, uniform)]
        evidence = self._evidence(trials, texts, track.threads, model, bare)
        alone = dict(zip(sensitivity.options, sensitivity.alone.tolist(), strict=True))
        return evidence, conclude.decide(evidence), model, alone

    def groundwork(self) -> tuple[tuple[Format, ...], WeightBank, EnergyModel]:
        """What the search works on: formats, filled bank, and the model that prices options.

        After a finished run all of it is read from what is kept. The text has to be read before.
        """
        table, wanted = self.prices.costs()
        formats = self.prices.formats(table, wanted, self.journal)
        return formats, self._candidates(self.texts, formats), self.prices.model(table, {})

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
        return self.prices.haven

    @property
    def units(self) -> tuple[Unit, ...]:
        """Layers that are decided together."""
        return self.prices.units
