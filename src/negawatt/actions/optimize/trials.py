"""Trying variants for real: build, score, time against uniform int8."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from negawatt.actions.optimize import memory
from negawatt.actions.optimize.order import Effort, Tools, fingerprint
from negawatt.compress.bank import WeightBank
from negawatt.compress.race import Laps, joined, race
from negawatt.core.outcome import Role
from negawatt.core.protocols import RunOptions, Session
from negawatt.core.records import Format, Quality, Workload
from negawatt.energy.model import Joint
from negawatt.models.quality import Reference, score

INT8 = "uniform int8"
_TOGETHER = 1.5  # times the bytes of uniform int8: larger variants are raced in separate heats


@dataclass(frozen=True, slots=True)
class Trial:
    """One variant with all that was measured on it."""

    name: str
    role: Role
    plan: Mapping[str, Format]
    selection: Quality
    test: Quality
    laps: Laps
    rival: Laps | None  # of the variant raced against: uniform int8, or the reference for it
    size_bytes: int
    joint: Joint = ()  # layers multiplied as one


@dataclass(frozen=True, slots=True)
class Track:
    """Where variants are built and how they are judged."""

    tools: Tools
    effort: Effort
    workload: Workload
    threads: int
    vocabulary: int
    converted: Path
    bank: WeightBank
    folder: Path  # of the built variants
    selection: Reference
    test: Reference
    int8: Mapping[str, Format]  # the plan of the yardstick
    int8_bytes: int  # about its size [B]

    def build(self, name: str, plan: Mapping[str, Format], joint: Joint = ()) -> Path:
        """The variant's artifact; one that is already there is used again."""
        place = self._place(name, plan, joint)
        if not place.exists():
            weights = self.bank.view(plan)
            self.tools.runtime.compress(self.converted, weights, place, joint=joint)
        return place

    def _place(self, name: str, plan: Mapping[str, Format], joint: Joint) -> Path:
        digest = fingerprint(sorted((layer, fmt.name) for layer, fmt in plan.items()), joint)
        return self.folder / f"{name.replace(' ', '-').replace(',', '')}-{digest[:8]}"

    def discard(self, keep: Path | None = None) -> None:
        """Delete built variants, but for one."""
        for place in self.folder.iterdir() if self.folder.exists() else ():
            if place != keep:
                shutil.rmtree(place, ignore_errors=True)

    def run(self, name: str, role: Role, plan: Mapping[str, Format], joint: Joint = ()) -> Trial:
        """Score a variant on both texts, then let it take turns with uniform int8."""
        place = self.build(name, plan, joint)
        runtime = self.tools.runtime
        # Scoring may use every core; only timing needs the chosen number of threads.
        with runtime.open(place, RunOptions(threads=self.tools.cores)) as session:
            selection, test = score(session, self.selection), score(session, self.test)
        memory.release()
        laps, size = self._against_int8(place)
        memory.release()
        return Trial(name, role, plan, selection, test, laps["own"], laps["rival"], size, joint)

    def run_int8(self, plan: Mapping[str, Format], reference: Path) -> Trial:
        """Uniform int8 is the yardstick, and is itself timed against the reference engine."""
        place = self.build(INT8, plan)
        runtime = self.tools.runtime
        with runtime.open(place, RunOptions(threads=self.tools.cores)) as session:
            selection, test = score(session, self.selection), score(session, self.test)
        serve = RunOptions(threads=self.threads)
        with runtime.open(place, serve) as session:
            size = session.memory_bytes
            with self.tools.reference.open(reference, serve) as rival:
                laps = self._race({"own": session, "rival": rival}, rounds=2)
        memory.release()
        return Trial(INT8, "uniform", plan, selection, test, laps["own"], laps["rival"], size)

    def _against_int8(self, place: Path) -> tuple[dict[str, Laps], int]:
        """Race a variant against uniform int8; both are open at once if that fits in memory."""
        serve, runtime = RunOptions(threads=self.threads), self.tools.runtime
        int8 = self.build(INT8, self.int8)
        with runtime.open(place, serve) as own:
            size = own.memory_bytes
            if size <= _TOGETHER * self.int8_bytes:
                with runtime.open(int8, serve) as rival:
                    return self._race({"own": own, "rival": rival}), size
        heats: dict[str, list[Laps]] = {"own": [], "rival": []}
        for _ in range(2):
            for name, folder in (("own", place), ("rival", int8)):
                with runtime.open(folder, serve) as session:
                    rounds = self.effort.rounds // 2
                    heats[name].append(self._race({name: session}, rounds=rounds)[name])
                memory.release()
        return {name: joined(found) for name, found in heats.items()}, size

    def _race(self, sessions: Mapping[str, Session], rounds: int | None = None) -> dict[str, Laps]:
        return race(
            sessions,
            self.workload,
            rounds=rounds or self.effort.rounds,
            decode_tokens=self.effort.decode_tokens,
            vocabulary=self.vocabulary,
            clock=self.tools.clock,
        )
