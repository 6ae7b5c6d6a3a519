"""The search for inputs to round: prices in the engine, harm by slopes, trials, a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize.order import Tools
from negawatt.actions.quantise import mixing_work as trying
from negawatt.actions.quantise.encoder_work import read_all
from negawatt.compress.bank import WeightBank
from negawatt.compress.mixed import (
    ALL,
    NONE,
    Mix,
    Trial,
    inlets_of,
    reasons,
    without,
)
from negawatt.compress.race import centre, ratio
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Runtime
from negawatt.core.records import Format
from negawatt.decisions.nearest import chosen
from negawatt.models.likeness import Answers
from negawatt.models.source import ModelSource

if TYPE_CHECKING:
    from negawatt.actions.journal import Journal

TOKENS = 128  # of the text that is timed
#: Of what rounding saves altogether, given up in the first trials.
_SHARES = (0.1, 0.25, 0.45, 0.7)
_CLOSER = 2  # more trials between the last that is near enough and the first that is not


@dataclass(frozen=True, slots=True)
class Prices:
    """What rounding the inlets of each kind saves. [s/text]"""

    saves: Mapping[str, Estimate]  # by kind
    bare: Estimate  # a text with no rounded input


@dataclass(frozen=True, slots=True)
class Slopes:
    """Sampled slopes by the gates, [samples, inlets]."""

    scores: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Raced:
    """CPU times of a text, by trial; values at one place are of one turn. [s/text]"""

    cpu: Mapping[str, tuple[float, ...]]


class Mixing:
    """One search; every part is kept in the journal.

    Args:
        tools: What there is to work with.
        engine: That prices and times.
        journal: Of the job.
        place: Folder for what is tried.
        near: The largest distance allowed.
        seed: Of random draws.
    """

    def __init__(
        self,
        tools: Tools,
        engine: Runtime,
        journal: Journal,
        place: Path,
        *,
        near: float,
        seed: int,
    ) -> None:
        self.tools, self.engine, self.journal = tools, engine, journal
        self.place, self.near, self.seed = place, near, seed
        self._at = ""  # what the present worker has loaded
        self._said: Answers | None = None  # by the original, of the text to choose by

    def run(
        self,
        source: ModelSource,
        base: Path,
        bank: WeightBank,
        plan: Mapping[str, Format],
        windows: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> Mix:
        """Search.

        Args:
            source: The model.
            base: Its float form in the reference engine.
            bank: With the codes of the weights and the grids of all inputs.
            plan: Formats of the weights.
            windows: Text for slopes, and text to choose by, int64 [texts, positions].
        """
        inlets = inlets_of(source.layers, bank.inputs)
        given = trying.Given(source, base, bank, plan, inlets)
        name = self.engine.name
        prices = self.journal.step(f"prices {name}", Prices, lambda: self._prices(given))
        slopes = self.journal.step("slopes", Slopes, lambda: self._slopes(given, windows[0]))
        trials = self._trials(given, prices, slopes, windows[1])
        trials = self._timed(given, trials)
        best, because = chosen(trials, self.near)
        saves = {one.name: prices.saves[one.kind] for one in inlets}
        alone = np.square(np.array(slopes.scores)).mean(0) / 2
        harms = {one.name: float(harm) for one, harm in zip(inlets, alone, strict=True)}
        return Mix(
            engine=f"{self.engine.name} {self.engine.version}",
            tokens=TOKENS,
            max_distance=self.near,
            measure=trying.measure_of(source),
            choice=best.name,
            because=because,
            inlets=reasons(inlets, best, harms, saves),
            trials=tuple(sorted(trials, key=lambda one: one.ratio.value if one.ratio else 0.0)),
        )

    def _prices(self, given: trying.Given) -> Prices:
        """By kind: the model with all inputs rounded but these, beside all rounded, in one race."""
        kinds = sorted({one.kind for one in given.inlets})
        every = tuple(one.name for one in given.inlets)
        asked = {ALL: every, NONE: (), **{kind: without(given.inlets, kind) for kind in kinds}}
        taken = self._raced(given, asked).cpu
        count = {kind: sum(one.kind == kind for one in given.inlets) for kind in kinds}
        saves = {}
        for kind in kinds:
            pairs = zip(taken[kind], taken[ALL], strict=True)
            saves[kind] = _centre([(a - b) / count[kind] for a, b in pairs])
        return Prices(saves, _centre(taken[NONE]))

    def _slopes(self, given: trying.Given, windows: NDArray[np.int64]) -> Slopes:
        self._open()
        found = self.tools.workshop.call(trying.find_slopes, self.tools, given, windows, self.seed)
        return Slopes(tuple(map(tuple, found.tolist())))

    def _trials(
        self, given: trying.Given, prices: Prices, slopes: Slopes, windows: NDArray[np.int64]
    ) -> list[Trial]:
        """Plans along the budgets, and closer where the limit is passed; distances measured."""
        saves = {one.name: prices.saves[one.kind].value for one in given.inlets}
        worth = [at for at, one in enumerate(given.inlets) if saves[one.name] > 0]
        inlets = [given.inlets[at] for at in worth]
        per_second = self.tools.joules_per_cpu_s.value
        joules = {one.name: saves[one.name] * per_second for one in inlets}
        scores = np.array(slopes.scores)[:, worth]
        every = tuple(one.name for one in given.inlets)
        found: dict[tuple[str, ...], Trial] = {}

        def tried(rounded: tuple[str, ...], name: str = "") -> Trial:
            if rounded not in found:
                told = name or f"mix {len(found) - 1}, {len(rounded)} of {len(every)} in 8 bits"
                expected = prices.bare.value - sum(saves[one] for one in rounded)
                distance = self.journal.step(
                    f"distance {self.engine.name} {told}",
                    Estimate,
                    lambda: self._distance(given, rounded, windows),
                )
                found[rounded] = Trial(told, rounded, expected, distance)
            return found[rounded]

        def at(share: float) -> Trial:
            self._open()
            asked = inlets, scores, joules
            budget = share * sum(joules.values())
            return tried(self.tools.workshop.call(trying.within, self.tools, asked, budget))

        ends = tried(every, ALL), tried((), NONE)
        if not inlets:
            return list(ends)
        known = {0.0: tried(tuple(one.name for one in inlets)), 1.0: ends[1]}
        known |= {share: at(share) for share in _SHARES}
        for _ in range(_CLOSER):
            good = min((one for one in known if known[one].sure <= self.near), default=None)
            bad = max((one for one in known if good is not None and one < good), default=None)
            if good is None or bad is None:
                break
            known[(good + bad) / 2] = at((good + bad) / 2)
        return list(found.values())

    def _distance(
        self, given: trying.Given, rounded: Sequence[str], windows: NDArray[np.int64]
    ) -> Estimate:
        self._open()
        shop = self.tools.workshop
        if self._said is None:
            base = given.source, given.base, windows, (), "search"
            self._said = shop.call(read_all, self.tools, *base)
        asked = given, tuple(rounded), (windows, self._said), self.place
        found: Estimate = shop.call(trying.find_distance, self.tools, *asked)
        return found

    def _open(self) -> None:
        """Have a worker with the reference engine, the one that is there if it has it."""
        if self._at != "reference":
            self.tools.workshop.change(self.tools.reference)
            self._at = "reference"

    def _timed(self, given: trying.Given, trials: list[Trial]) -> list[Trial]:
        """All trials in turns."""

        def race() -> Raced:
            return self._raced(given, {one.name: one.rounded for one in trials})

        taken = self.journal.step(f"raced {self.engine.name}", Raced, race).cpu
        found = []
        for one in trials:
            cpu = _centre(taken[one.name])
            over = ratio(taken[one.name], taken[NONE])
            joules = cpu.times(self.tools.joules_per_cpu_s, unit="J/text")
            found.append(replace(one, cpu=cpu, ratio=over, energy=joules))
        return found

    def _raced(self, given: trying.Given, asked: Mapping[str, tuple[str, ...]]) -> Raced:
        shop, self._at = self.tools.workshop, "engine"
        shop.change(self.engine)
        given_to = (self.engine, given, asked, TOKENS, self.place)
        return Raced(shop.call(trying.race_mixes, self.tools, *given_to))


def _centre(values: Sequence[float]) -> Estimate:
    return centre(values, unit="s/text")
