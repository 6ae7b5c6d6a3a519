"""Running variants for real: what everybody has, and what the search found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import conclude, stages
from negawatt.actions.optimize.order import fingerprint
from negawatt.actions.optimize.plans import (
    bargains,
    frozen,
    hopeless,
    next_budget,
    room_for,
    uniform_plan,
)
from negawatt.actions.optimize.prices import Prices
from negawatt.actions.optimize.stages import Entry
from negawatt.actions.optimize.trials import INT8, Track, Trial
from negawatt.compress.problem import Choice, Problem, Sensitivity
from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.protocols import Runtime
from negawatt.core.records import Format, Quality
from negawatt.energy.model import EnergyModel
from negawatt.energy.units import spread

_BASE = "16 bit"
_WIDE = 16  # bits
_TRIALS_A_WORKER = 2


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Uniform int8 beside the reference engine, and what that one does otherwise here."""

    trial: Trial
    otherwise: str


class Heats:
    """Trials of one job, each kept when it is finished.

    Args:
        prices: Of the model's options.
        journal: Of the job.
        reference: Folder of the 16-bit model in the reference engine's form.
    """

    def __init__(self, prices: Prices, journal: Journal, reference: Path) -> None:
        self.prices, self.journal, self.reference = prices, journal, reference
        self.told: list[str] = []  # what was run otherwise or not at all, and why, in sentences
        self._tried = 0

    def _load(self, *engines: Runtime) -> None:
        self.prices.tools.workshop.change(*engines, model=self.prices.source.folder)

    def threads(self, track: Track) -> int:
        """One thread or all, whichever takes less CPU time and is quick enough."""
        if self.prices.order.threads is not None:
            return self.prices.order.threads
        if self.prices.tools.cores == 1:
            return 1

        def pick() -> int:
            limit = self.prices.order.max_latency
            count: int = self.prices.tools.workshop.call(
                stages.fewest_seconds, self.prices.tools, track, limit
            )
            return count

        return self.journal.step(f"threads{self._under}", int, pick)

    @property
    def _under(self) -> str:
        """What steps are called by beside their names when they hang on the number of threads."""
        limit = self.prices.order.max_latency
        return "" if limit is None else f" under {limit:.3g} s"

    def uniform(self, track: Track, formats: tuple[Format, ...], model: EnergyModel) -> list[Trial]:
        """What everybody has: 16 bits, uniform int8, and the best bargain of each width below.

        int8 is run a second time with layers multiplied as one where the table
        says that it pays, so that this gain is told apart from that of the search.
        """
        layers, tools = self.prices.source.layers, self.prices.tools
        entries: list[Entry] = [(_BASE, "base", {layer.name: Format(16) for layer in layers}, ())]
        entries += [
            (f"uniform {fmt.name}", "uniform", uniform_plan(layers, fmt, self.prices.haven), ())
            for fmt in bargains(formats, layers)
        ]
        if joint := model.joint(track.int8):
            entries.append((f"{INT8}, joined", "uniform", track.int8, joint))
        tools.progress("uniform", 0.0)

        def yardstick() -> Yardstick:
            entry: Entry = (INT8, "uniform", track.int8, ())
            quality = tools.workshop.call(stages.grade, tools, track, entry)
            self._load(tools.runtime, tools.reference)
            found: Trial = tools.workshop.call(
                stages.race_int8, tools, track, self.reference, quality
            )
            return Yardstick(found, self._otherwise(tools.reference, self.reference, track))

        kept = self.journal.step(f"trial {INT8}{self._under}", Yardstick, yardstick)
        self._tell(conclude.REFERENCE, kept.otherwise)
        trials = [kept.trial]
        self._tried = 0
        for i, entry in enumerate(entries):
            tools.progress("uniform", (i + 1) / (len(entries) + 1))
            # Joined layers say what they say apart, so what int8 loses is known already.
            known = (trials[0].selection, trials[0].test) if entry[3] else None
            try:
                trials.append(self.attempt(track, entry, known=known))
            except RuntimeUnavailable as error:
                if entry[1] != "base":
                    raise
                # Nothing is chosen by it, and some engines do not survive it on some processors.
                self.told.append(f"{_BASE} was not run: {error.what}.")
            else:
                if entry[1] == "base":
                    self._tell_base(track)
        tools.progress("uniform", 1.0)
        return trials

    def _tell_base(self, track: Track) -> None:
        """What the engine does otherwise here than elsewhere with 16 bits, once they have run."""
        engine = self.prices.tools.runtime
        said = self.journal.step(
            f"otherwise {_BASE}{self._under}",
            str,
            lambda: self._otherwise(engine, track.converted, track),
        )
        self._tell(_BASE, said)

    def _otherwise(self, engine: Runtime, artifact: Path, track: Track) -> str:
        tools = self.prices.tools
        said: str = tools.workshop.call(stages.otherwise, tools, engine, artifact, track.threads)
        return said

    def _tell(self, variant: str, said: str) -> None:
        self.told += [f"{variant}: {said}."] if said else []

    def attempt(
        self,
        track: Track,
        entry: Entry,
        label: str = "",
        *,
        known: tuple[Quality, Quality] | None = None,
    ) -> Trial:
        """One trial, kept; engines leave some memory behind, so the worker is changed at times."""
        tools, shop = self.prices.tools, self.prices.tools.workshop
        large = any(fmt.bits > 8 for fmt in entry[2].values())

        def attempt() -> Trial:
            if large or self._tried % _TRIALS_A_WORKER == 0:
                self._load(tools.runtime)
            quality = known or shop.call(stages.grade, tools, track, entry)
            if large:
                self._load(tools.runtime)
            # A large variant uses up its worker: the next trial begins with another one.
            self._tried = 0 if large else self._tried + 1
            found: Trial = shop.call(stages.race, tools, track, entry, quality)
            return found

        return self.journal.step(f"trial {entry[0]}{self._under} {label}".strip(), Trial, attempt)

    def verify(
        self,
        track: Track,
        choices: list[Choice],
        sensitivity: Sensitivity,
        bare: EnergyModel,
        uniform: list[Trial],
    ) -> list[Trial]:
        """Run every found plan for real, then close in on the allowed loss."""
        tools, options = self.prices.tools, sensitivity.options
        room = room_for(
            self.prices.order.max_size,
            self.prices.source.layers,
            self.prices.source.bf16_bytes,
            options,
        )
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
                if hopeless(found, choice, self.prices.order.max_loss):
                    continue
            else:
                start = problem.bounds()[1], losses[INT8].sure
                nearer = next_budget(found, self.prices.order.max_loss, problem.bounds()[0], start)
                if nearer is None:
                    break
                given = (sensitivity, problem.energy, room, *nearer)
                choice = tools.workshop.call(stages.closer, tools, *given)
            # Layers that no format of the engine fits stay at 16 bits.
            searched = [unit for unit in self.prices.units if unit.name in choice.plan]
            plan = {layer.name: Format(_WIDE) for layer in self.prices.source.layers}
            plan |= spread(choice.plan, searched)
            if frozen(plan) in seen:
                continue
            seen.add(frozen(plan))
            together = bare.joint(plan)
            # by its plan: another loss budget closes in on other plans under the same numbers
            label = fingerprint(frozen(plan), together)[:8]
            entry: Entry = (f"searched {number + 1}", "searched", plan, together)
            trials.append(self.attempt(track, entry, label))
            known.append((choice, entry[0]))
        tools.progress("verify", 1.0)
        return trials
