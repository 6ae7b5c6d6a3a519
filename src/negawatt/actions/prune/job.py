"""The job: prepare, take out, teach again, grade, race, hand over. What is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import memory, stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.folder import claimed, need_space
from negawatt.actions.optimize.order import Effort, Order, Tools, fingerprint
from negawatt.actions.prune import tokens
from negawatt.actions.prune import work as tasks
from negawatt.actions.prune.steps import (
    Paces,
    Shortened,
    Taught,
    Thinned,
    Wish,
    pays_back,
    total,
)
from negawatt.actions.quantise.job import Spent
from negawatt.compress.pruned import Healing, Pace, Pruned, Shape, Taken
from negawatt.core.records import Quality, Workload
from negawatt.meters import measure
from negawatt.models.per_byte import PerByte
from negawatt.models.source import ModelSource
from negawatt.tune.lesson import Lesson

T = TypeVar("T")

FOLDER = "model"  # what is handed over, below the folder asked for
_VERSION = 4  # of the steps; results of another one are not reused
_ANY_LOSS = 0.5  # an order has one; pruning has no use for it
_DISK = 8  # times the bf16 weights: prepared, cut, taught, each again in an engine's form


def prune(wish: Wish, tools: Tools, effort: Effort | None = None) -> Pruned:
    """Take channels and blocks out of a model; it is in `wish.out` when this returns.

    Args:
        wish: What was asked for.
        tools: What there is to work with.
        effort: How much text.

    Raises:
        ModelError, TextError: what was given cannot be used.
        OutputError: the folder is in use, full or not writable.
    """
    from negawatt.actions.prune.encoder import PruneEncoder
    from negawatt.models.encoder import find_encoder

    memory.frugal()
    with claimed(wish.out) as work:
        try:
            tools.workshop.change(tools.reference)
            kind = Prune if find_encoder(wish.model) is None else PruneEncoder
            return kind(wish, tools, effort or Effort(), work).run()
        finally:
            tools.workshop.close()


class Prune:
    """For decoders; encoders have other texts and figures."""

    preparing: Callable[..., ModelSource] = staticmethod(stages.prepared)
    phases: tuple[str, ...] = ("reading", "writing")
    kind: Any = Quality

    def __init__(self, wish: Wish, tools: Tools, effort: Effort, work: Path) -> None:
        self.wish, self.tools, self.work = wish, tools, work
        self.order = Order(
            model=wish.model,
            max_loss=_ANY_LOSS,
            workload=Workload.parse("chat"),
            out=wish.out,
            seed=wish.seed,
            text=wish.text,
            effort=effort,
        )

    def run(self) -> Pruned:
        """Do it."""
        tools, shop = self.tools, self.tools.workshop
        source: ModelSource = shop.call(self.preparing, tools, self.order, self.work)
        need_space(self.work, _DISK * source.bf16_bytes)
        self.key = fingerprint(source.digest, source.off_grid, self.order.seed)
        self.base = self.converted(source, self.key)
        self.read(source)
        taken, first = self._cut(source)
        final, healing, second = self._taught(taken, source)
        short = self._shortened(final, taken.shape)
        raw = self.quality(taken.source, "raw") if self.wish.cut.weights else None
        if short is not None:
            final = short.trimmed.source
            quality: Any = self._per_byte(final, source)
        else:
            quality = self.quality(final, "taught") if final != taken.source else raw
        paces = self._raced(source, final)
        shop.call(tasks.carried, tools, final, self.wish.out / FOLDER)
        spent = [first, *([second] if second else []), *([short.spent] if short else [])]
        cpu = total([one.cpu_seconds for one in spent])
        saved = pays_back(cpu.value, paces)
        return Pruned(
            model=self.wish.model,
            architecture=source.architecture,
            cut=self.wish.cut,
            gone=taken.gone,
            base=taken.base,
            shape=short.trimmed.shape if short else taken.shape,
            raw=raw or quality,
            quality=quality,
            healing=healing,
            paces=paces,
            calibration_tokens=int(self.calibration().size),
            seconds=sum(one.seconds for one in spent),
            cpu_seconds=cpu,
            energy=total([one.energy for one in spent]),
            pays_back=saved[0] if saved else None,
            peak_bytes=shop.held.total,
            notes=(
                *self._notes(taken, healing),
                *([short.trimmed.told] if short else []),
                *source.notes,
                *self._resumed(),
            ),
            folder=FOLDER,
            pays_back_by=saved[1] if saved else "reading",
        )

    def converted(self, source: ModelSource, key: str) -> Path:
        """The model in the reference engine's form."""
        tools = self.tools
        place = place_of(self.work, tools.reference, key)
        if not place.exists():
            tools.workshop.change(tools.reference)
            tools.workshop.call(stages.convert, tools, tools.reference, source, place)
        return place

    def read(self, source: ModelSource) -> None:
        """The base's own answers on the text, and the journal that belongs to all of it."""
        tools, shop = self.tools, self.tools.workshop
        shop.change(tools.reference, model=source.folder)
        told = self.base, f"{self.key} {tools.reference.version}"
        given = (self.order, source, told, self.work)
        self.texts: stages.Texts = shop.call(tasks.read_texts, tools, *given)
        corpus = self.texts.corpus
        self.open_journal(corpus.calibration, dict(corpus.digests))

    def open_journal(self, windows: NDArray[np.int64], *facts: object) -> None:
        """Keep what is done under all that decides it."""
        self.windows = windows
        wish = self.wish
        asked = (wish.cut, wish.heal, wish.how, wish.states, wish.seed)
        digest = fingerprint(
            _VERSION,
            self.key,
            facts,
            self.order.effort,
            (asked, tokens.digest_of(wish.cut.vocabulary)),
            self.tools.versions,
        )
        self.mark = digest[:12]
        self.journal = Journal(self.work / f"steps-{self.mark}", digest)

    def calibration(self) -> NDArray[np.int64]:
        """Windows whose statistics decide what goes."""
        return self.windows[: self.order.effort.hessian_windows]

    def _cut(self, source: ModelSource) -> tuple[Taken, Spent]:
        given = (source, self.wish.cut, self.calibration(), self.work / f"cut-{self.mark}")
        done = self.journal.step("cut", Thinned, lambda: Thinned(*self._timed(tasks.cut, *given)))
        return done.taken, done.spent

    def _taught(
        self, taken: Taken, base: ModelSource
    ) -> tuple[ModelSource, Healing | None, Spent | None]:
        wish = self.wish
        if wish.heal is None:
            return taken.source, None, None
        lesson = Lesson(wish.how, wish.heal, wish.seed, wish.states)
        place = self.work / f"taught-{self.mark}"
        given = (taken.source, base.folder, self.windows, lesson, taken.gone, place)

        def teach() -> Taught:
            (found, healing), spent = self._timed(tasks.teach, *given)
            return Taught(found, healing, spent)

        done = self.journal.step("heal", Taught, teach)
        return done.source, done.healing, done.spent

    def _shortened(self, source: ModelSource, shape: Shape) -> Shortened | None:
        asked = self.wish.cut.vocabulary
        if asked is None:
            return None
        given = (source, (shape, asked, self.windows), self.work / f"trimmed-{self.mark}")
        return self.journal.step(
            "trim", Shortened, lambda: Shortened(*self._timed(tokens.trimmed, *given))
        )

    def _per_byte(self, final: ModelSource, base: ModelSource) -> PerByte:
        """What is lost on the test text when each model reads it in tokens of its own."""

        def grade() -> PerByte:
            tools = self.tools
            tools.workshop.change(tools.reference, model=final.folder)
            corpus = self.texts.corpus
            held_out = corpus.test, corpus.texts["test"]
            place = self.work / f"graded-trimmed-{self.mark}"
            given = (final, (base, self.base), held_out, place)
            return tools.workshop.call(tokens.grade, tools, *given)

        return self.journal.step("grade-trimmed", PerByte, grade)

    def quality(self, source: ModelSource, name: str) -> Any:
        """What a changed model lost: a `Quality`, or a `Likeness`."""

        def grade() -> Any:
            shop = self.tools.workshop
            shop.change(self.tools.reference, model=source.folder)
            return shop.call(*self.graded(source, self.work / f"graded-{name}-{self.mark}"))

        return self.journal.step(f"grade-{name}", self.kind, grade)

    def graded(self, source: ModelSource, place: Path) -> tuple[Any, ...]:
        """What is to be called to grade it."""
        return (tasks.grade, self.tools, source, self.texts.test, place)

    def _raced(self, base: ModelSource, final: ModelSource) -> tuple[Pace, ...]:
        def run() -> Paces:
            tools, shop = self.tools, self.tools.workshop
            tools.progress("race", 0.0)
            places = []
            for source, key in ((base, self.key), (final, f"{self.key}{self.mark}")):
                place = place_of(self.work, tools.runtime, fingerprint(key))
                shop.change(tools.runtime)
                if not place.exists():
                    shop.call(stages.convert, tools, tools.runtime, source, place)
                places.append(place)
            rows = next(one.rows for one in final.layers if one.kind == "embedding")
            return Paces(shop.call(tasks.raced, tools, *places, rows, self.phases))

        return self.journal.step("race", Paces, run).paces

    def _timed(self, task: Callable[..., T], *given: Any) -> tuple[T, Spent]:
        """Do a task in a worker of its own; returns what it gave and what it took."""
        tools = self.tools
        tools.workshop.change(tools.reference, model=given[0].folder)
        tools.workshop.call(stages.ready, tools)  # its libraries are no part of the method
        start = time.perf_counter()
        with measure("prune") as window:
            found = tools.workshop.call(task, tools, *given)
            seconds = time.perf_counter() - start
            tools.workshop.close()  # a worker's CPU time counts once it has ended
        return found, Spent(seconds, window.cpu_seconds, window.energy)

    def _notes(self, taken: Taken, healing: Healing | None) -> list[str]:
        found = []
        asked, width = self.wish.cut.ffn * taken.base.width, taken.shape.width
        if abs(width - asked) > 1:
            found.append(
                f"{width} channels stay where {asked:.0f} were asked for: kernels like such widths."
            )
        heads, share = taken.base.heads, taken.shape.heads / max(1, taken.base.heads)
        if abs(share - self.wish.cut.heads) > 0.01:
            found.append(
                f"{taken.shape.heads} of {heads} heads stay: those that share keys and values "
                "go together."
            )
        if healing is not None and not healing.kept:
            found.append(
                "Healing was not kept: on text held back from it the model was no better for it."
            )
        return found

    def _resumed(self) -> list[str]:
        kept = [step.name for step in self.journal.steps if step.resumed]
        return [f"Kept from an earlier run: {', '.join(kept)}."] if kept else []
