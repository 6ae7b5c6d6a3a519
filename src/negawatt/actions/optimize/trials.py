"""Trying variants for real: build, score, time against uniform int8."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from negawatt.actions.optimize import memory
from negawatt.actions.optimize.order import Effort, Tools, fingerprint
from negawatt.compress.bank import WeightBank
from negawatt.compress.race import Half, Laps, laps, race_reading, race_writing
from negawatt.core.outcome import Role
from negawatt.core.protocols import RunOptions, Session, Steps
from negawatt.core.records import Format, Quality, Workload
from negawatt.energy.model import Joint
from negawatt.models.quality import Reference, score

INT8 = "uniform int8"


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

    @contextmanager
    def opened(
        self, place: Path, steps: Steps, threads: int | None = None, *, lean: bool = False
    ) -> Iterator[Session]:
        """A session of the serving engine, made for one kind of step."""
        options = RunOptions(threads=threads or self.threads, steps=steps, lean=lean)
        with self.tools.runtime.open(place, options) as session:
            yield session
        memory.release()

    def graded(self, place: Path) -> tuple[Quality, Quality]:
        """Quality on the selection and the test text."""
        # Scoring may use every core; only timing needs the chosen number of threads.
        with self.opened(place, "read", self.tools.cores, lean=True) as session:
            return score(session, self.selection), score(session, self.test)

    def run(
        self,
        name: str,
        role: Role,
        plan: Mapping[str, Format],
        joint: Joint,
        quality: tuple[Quality, Quality],
    ) -> Trial:
        """Let a variant that has been scored take turns with uniform int8."""
        place, int8 = self.build(name, plan, joint), self.build(INT8, self.int8)
        with self.opened(place, "read") as own, self.opened(int8, "read") as rival:
            size = own.memory_bytes
            read = self.race_reading({"own": own, "rival": rival})
        # Where an engine's memory comes to lie moves a token by some percent, for as long as it is
        # open: opened anew, the pairs and their interval tell of that too.
        openings = max(1, min(self.effort.openings, self.effort.rounds))
        written: dict[str, Half] = {}
        for number in range(openings):
            with self.opened(place, "write") as own, self.opened(int8, "write") as rival:
                share = (self.effort.rounds + number) // openings
                more = self.race_writing({"own": own, "rival": rival}, rounds=share)
            written = {who: half.after(written.get(who)) for who, half in more.items()}
        mine, other = (laps(read[who], written[who]) for who in ("own", "rival"))
        return Trial(name, role, plan, *quality, mine, other, size, joint)

    def run_int8(self, reference: Path, quality: tuple[Quality, Quality]) -> Trial:
        """Uniform int8 is the yardstick, and is itself timed against the reference engine."""
        place = self.build(INT8, self.int8)
        serve = RunOptions(threads=self.threads)
        with self.tools.reference.open(reference, serve) as base:
            with self.opened(place, "read") as session:
                size = session.memory_bytes
                read = self.race_reading({"own": session, "rival": base}, rounds=2)
            with self.opened(place, "write") as session:
                written = self.race_writing({"own": session, "rival": base}, rounds=2)
        memory.release()
        own, other = (laps(read[who], written[who]) for who in ("own", "rival"))
        return Trial(INT8, "uniform", self.int8, *quality, own, other, size)

    def race_reading(
        self, sessions: Mapping[str, Session], rounds: int | None = None
    ) -> dict[str, Half]:
        """Turns at the workload's prompt."""
        return race_reading(
            sessions,
            self.workload,
            rounds=rounds or self.effort.rounds,
            vocabulary=self.vocabulary,
            clock=self.tools.clock,
        )

    def race_writing(
        self, sessions: Mapping[str, Session], rounds: int | None = None
    ) -> dict[str, Half]:
        """Turns at writing."""
        return race_writing(
            sessions,
            self.workload,
            rounds=rounds or self.effort.rounds,
            decode_tokens=self.effort.decode_tokens,
            vocabulary=self.vocabulary,
            clock=self.tools.clock,
        )
