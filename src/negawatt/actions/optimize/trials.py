"""Trying variants for real: build, score, time against uniform int8."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
_TOGETHER = 1.4  # times the bytes of uniform int8: beside larger variants it is not kept open


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
    def opened(self, place: Path, steps: Steps, threads: int | None = None) -> Iterator[Session]:
        """A session of the serving engine, made for one kind of step."""
        options = RunOptions(threads=threads or self.threads, steps=steps)
        with self.tools.runtime.open(place, options) as session:
            yield session
        memory.release()

    def graded(self, place: Path) -> tuple[Quality, Quality]:
        """Quality on the selection and the test text."""
        # Scoring may use every core; only timing needs the chosen number of threads.
        with self.opened(place, "read", self.tools.cores) as session:
            return score(session, self.selection), score(session, self.test)

    def run(
        self,
        name: str,
        role: Role,
        plan: Mapping[str, Format],
        joint: Joint = (),
        *,
        rival: Rival,
    ) -> Trial:
        """Score a variant on both texts, then let it take turns with uniform int8."""
        place = self.build(name, plan, joint)
        rival.make_room(place)
        selection, test = self.graded(place)
        with self.opened(place, "read") as session:
            size = session.memory_bytes
            read = self.race_reading({"own": session, "rival": rival.reading()})
        rival.make_room(place)
        with self.opened(place, "write") as session:
            written = self.race_writing({"own": session, "rival": rival.writing()})
        own, other = (laps(read[who], written[who]) for who in ("own", "rival"))
        return Trial(name, role, plan, selection, test, own, other, size, joint)

    def run_int8(self, reference: Path) -> Trial:
        """Uniform int8 is the yardstick, and is itself timed against the reference engine."""
        place = self.build(INT8, self.int8)
        selection, test = self.graded(place)
        serve = RunOptions(threads=self.threads)
        with self.tools.reference.open(reference, serve) as base:
            with self.opened(place, "read") as session:
                size = session.memory_bytes
                read = self.race_reading({"own": session, "rival": base}, rounds=2)
            with self.opened(place, "write") as session:
                written = self.race_writing({"own": session, "rival": base}, rounds=2)
        memory.release()
        own, other = (laps(read[who], written[who]) for who in ("own", "rival"))
        return Trial(INT8, "uniform", self.int8, selection, test, own, other, size)

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


class Rival:
    """Uniform int8, kept open between the races of one stage. Use it in a `with` block."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._open: dict[Steps, Session] = {}

    def reading(self) -> Session:
        """The session that reads prompts."""
        return self._session("read")

    def writing(self) -> Session:
        """The session that writes."""
        return self._session("write")

    def make_room(self, place: Path) -> None:
        """Close everything before a variant much larger than int8 is opened."""
        if _size(place) > _TOGETHER * _size(self._place()):
            self.close()

    def close(self) -> None:
        """Close both sessions."""
        for session in self._open.values():
            session.close()
        self._open.clear()
        memory.release()

    def _place(self) -> Path:
        return self._track.build(INT8, self._track.int8)

    def _session(self, steps: Steps) -> Session:
        if steps not in self._open:
            options = RunOptions(threads=self._track.threads, steps=steps)
            self._open[steps] = self._track.tools.runtime.open(self._place(), options)
        return self._open[steps]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _size(place: Path) -> int:
    """Bytes of an artifact."""
    return sum(file.stat().st_size for file in place.iterdir() if file.is_file())
