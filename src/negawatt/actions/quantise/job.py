"""The job: prepare, write anew, round, grade, write down. What is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import finish, memory, stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.folder import claimed, need_space
from negawatt.actions.optimize.order import Effort, Order, Tools, fingerprint
from negawatt.actions.optimize.plans import divergence, stored_bytes
from negawatt.actions.quantise import work as tasks
from negawatt.actions.quantise.remarks import check_target, odd_shapes, strange
from negawatt.actions.quantise.request import HUGGINGFACE, Request
from negawatt.actions.quantise.room import RELOADING, WHOLE, check_memory, free_memory, states_room
from negawatt.compress.bank import WeightBank
from negawatt.compress.quantised import Quantised, plan_of
from negawatt.core.errors import NumericsGateFailed, UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import RunsOtherwise, Runtime
from negawatt.core.records import Format, InputGrid, Quality, Workload
from negawatt.meters import measure
from negawatt.models.licence import licence_of
from negawatt.models.quality import Reference
from negawatt.models.source import ModelSource

if TYPE_CHECKING:
    from negawatt.compress.bound import Bound

T = TypeVar("T")

_VERSION = 3  # of the steps; results of another one are not reused
_ANY_LOSS = 0.5  # an order has one; one method alone has no use for it
_DISK = 4  # times the bf16 weights: the prepared model, the rewritten one, codes of a byte each
SAME = 1e-3  # between two carriers of the same weights, by `apart`
_PROBE = 64  # tokens on which they are compared


@dataclass(frozen=True, slots=True)
class Spent:
    """What a part of the work took."""

    seconds: float  # by the wall [s]
    cpu_seconds: Estimate  # [s]
    energy: Estimate  # [J]

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.energy + other.energy,
        )


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The model after its transforms."""

    source: ModelSource
    told: tuple[str, ...]
    spent: tuple[Spent, ...] = ()


def quantise(
    request: Request, tools: Tools, targets: Mapping[str, Runtime], effort: Effort | None = None
) -> Quantised:
    """Round a model by one method; the artifacts are in `request.out` when this returns.

    Args:
        request: What was asked for.
        tools: What there is to work with.
        targets: Engines by name that are to get an artifact.
        effort: How much text.

    Raises:
        ModelError, TextError: what was given cannot be used.
        UsageError: an engine does not execute a format of the plan.
        OutputError: the folder is in use, full or not writable.
    """
    memory.frugal()
    with claimed(request.out) as work:
        try:
            shop = tools.workshop
            shop.change(tools.reference)
            kind = _kind(request.model)
            if kind is Job and request.recipe.activations != "float":
                raise UsageError(
                    "activations of 8 bits are for encoders",
                    fix="leave --activations out for a decoder",
                )
            return kind(request, tools, targets, effort or Effort(), work).run()
        finally:
            tools.workshop.close()


class Job:
    """For decoders; encoders have other texts, figures and artifacts."""

    preparing: Callable[..., ModelSource] = staticmethod(stages.prepared)

    def __init__(
        self,
        request: Request,
        tools: Tools,
        targets: Mapping[str, Runtime],
        effort: Effort,
        work: Path,
    ) -> None:
        self.request, self.tools, self.targets, self.work = request, tools, targets, work
        self.remarks: list[str] = []
        self.recipe = request.recipe
        self.inputs: Mapping[str, InputGrid] = {}  # how what enters layers is rounded
        self.order = Order(
            model=request.model,
            max_loss=_ANY_LOSS,
            workload=Workload.parse("chat"),
            out=request.out,
            seed=request.seed,
            text=request.text,
            effort=effort,
        )

    def run(self) -> Quantised:
        """Do it."""
        shop = self.tools.workshop
        source: ModelSource = shop.call(self.preparing, self.tools, self.order, self.work)
        need_space(self.work, _DISK * source.bf16_bytes)
        self.asked = self.plan(source)
        for name, engine in self.targets.items():
            check_target(name, engine, self.asked)
        stated = self.stated(source)
        self.read(source)
        changed = self._rewritten(source)
        plan = self.plan(changed.source)
        bank, rounding = self._rounded(changed.source, plan)
        quality = self.quality(changed.source, plan, bank)
        added = self._held(stated)  # engines and their artifacts come later, and hold more
        spent = (*changed.spent, rounding)
        artifacts = self._written(changed.source, bank, plan, quality)
        size = stored_bytes(plan, changed.source.layers, changed.source.bf16_bytes)
        return Quantised(
            model=self.request.model,
            architecture=source.architecture,
            recipe=self.recipe,
            formats={name: fmt.name for name, fmt in plan.items()},
            bits_per_weight=8 * size / source.parameters,
            size_bytes=size,
            base_bytes=source.bf16_bytes,
            quality=quality,
            calibration_tokens=int(self.windows.size),
            seconds=sum(one.seconds for one in spent),
            cpu_seconds=_total([one.cpu_seconds for one in spent]),
            energy=_total([one.energy for one in spent]),
            peak_bytes=shop.held.total,
            notes=(
                *changed.told,
                *odd_shapes(self.recipe.format, plan, source.layers),
                *source.notes,
                *self.remarks,
                *self._resumed(),
            ),
            artifacts=artifacts,
            stated_bytes=stated,
            added_bytes=added,
            **self.more(changed.source, plan),
        )

    def _held(self, stated: int | None) -> int | None:
        """What the model has added to the libraries, where it was stated. [B]"""
        if stated is None:
            return None
        added = self.tools.workshop.held.added
        if added > stated:
            self.remarks.append(
                f"The model took {added / 1e6:,.0f} MB, more than the {stated / 1e6:,.0f} MB "
                "stated; please report it."
            )
        return added

    def more(self, source: ModelSource, plan: Mapping[str, Format]) -> dict[str, Any]:
        """What there is to tell beside it."""
        del source, plan
        return {}

    def plan(self, source: ModelSource) -> dict[str, Format]:
        """The format of every layer."""
        executed = [engine.formats for engine in self.targets.values()]
        return plan_of(self.recipe, source.layers, executed)

    def stated(self, source: ModelSource) -> int | None:
        """Say what will be held in memory; where that is known, the bytes a model adds.

        Raises:
            RuntimeUnavailable: the machine has too little.
        """
        effort, tools = self.order.effort, self.tools
        calibration = min(effort.hessian_windows * effort.window, effort.calibration_tokens)
        passages = effort.test_tokens  # words of texts of their own may come to as much again
        tokens = calibration, effort.test_tokens + passages, effort.window
        shop = tools.workshop
        shop.change(tools.reference, model=source.folder)
        found: Bound = shop.call(tasks.stated, tools, source, tokens, states_room())
        tools.progress(found.told(shop.held.libraries), 0.0)
        check_memory(found.total, source, (self.recipe.transforms, tuple(self.targets)))
        whole = int(WHOLE * source.bf16_bytes) if self.recipe.transforms else 0
        return int(found.total) + whole

    def read(self, source: ModelSource) -> None:
        """The base's own answers on the text, and the journal that belongs to all of it."""
        tools, shop = self.tools, self.tools.workshop
        key = fingerprint(source.digest, source.off_grid, self.order.seed)
        shop.change(tools.reference, model=source.folder)
        corpus, examined = shop.call(tasks.deal_texts, tools, self.order, source)
        told = self.work / "reference-walked", f"{key} {tools.reference.version}"
        self.base_said: Reference = shop.call(
            tasks.read_base, tools, self.order, source, examined, told
        )
        self.remarks += strange(self.base_said.quality(), source.layers)
        self.probe = examined.windows[:1, :_PROBE]
        self.open_journal(corpus.calibration, key, dict(corpus.digests))

    def converted(self, source: ModelSource) -> str:
        """Have the model in the reference engine's form; returns the key of what it is."""
        tools = self.tools
        key = fingerprint(source.digest, source.off_grid, self.order.seed)
        self.base = place_of(self.work, tools.reference, key)
        if not self.base.exists():
            tools.workshop.call(stages.convert, tools, tools.reference, source, self.base)
        return key

    def open_journal(self, windows: NDArray[np.int64], *facts: object) -> None:
        """Keep what is done under all that decides it."""
        effort = self.order.effort
        self.windows = windows[: effort.hessian_windows]
        plan = {name: fmt.name for name, fmt in self.asked.items()}
        digest = fingerprint(_VERSION, facts, effort, self.recipe, plan, self.tools.versions)
        self.key = digest[:12]
        self.journal = Journal(self.work / f"steps-{self.key}", digest)

    def _rewritten(self, source: ModelSource) -> Rewritten:
        """The model after its transforms; itself when there are none."""
        recipe = self.recipe
        if not recipe.transforms:
            return Rewritten(source, ())

        def rewrite() -> Rewritten:
            place = self.work / f"rewritten-{self.key}"
            given = (source, recipe.transforms, self.windows, recipe.format, place)
            (found, told), spent = self._timed(tasks.rewrite, *given)
            return Rewritten(found, tuple(told), (spent,))

        return self.journal.step("transform", Rewritten, rewrite)

    def _rounded(self, source: ModelSource, plan: Mapping[str, Format]) -> tuple[WeightBank, Spent]:
        shared = {one.tied_to: one.name for one in source.layers if one.tied_to}
        bank = WeightBank(self.work / f"bank-{self.key}", shared, self.inputs)
        given = (source, plan, self.recipe.method, self.windows, bank)
        spent = self.journal.step(
            "round", Spent, lambda: self._timed(tasks.round_layers, *given)[1]
        )
        return bank, spent

    def quality(self, source: ModelSource, plan: Mapping[str, Format], bank: WeightBank) -> Any:
        """What the rounded model loses: a `Quality`, or a `Likeness`."""
        tools = self.tools

        def grade() -> Quality:
            tools.workshop.change(tools.reference, model=source.folder)
            found: Quality = tools.workshop.call(
                tasks.grade, tools, source, bank.view(plan), self.base_said
            )
            return found

        return self.journal.step("grade", Quality, grade)

    def _timed(self, task: Callable[..., T], *given: Any) -> tuple[T, Spent]:
        """Do a task in a worker of its own, and tell what it took."""
        tools = self.tools
        tools.workshop.change(tools.reference, model=given[0].folder)
        tools.workshop.call(stages.ready, tools)  # its libraries are no part of the method
        start = time.perf_counter()
        with measure("quantise") as window:
            found = tools.workshop.call(task, tools, *given)
            seconds = time.perf_counter() - start
            tools.workshop.close()  # a worker's CPU time counts once it has ended
        return found, Spent(seconds, window.cpu_seconds, window.energy)

    def _written(
        self, source: ModelSource, bank: WeightBank, plan: Mapping[str, Format], quality: Quality
    ) -> dict[str, str]:
        """Every artifact asked for, reloaded and compared with the graded model."""
        tools, shop = self.tools, self.tools.workshop
        tokens = self.probe
        place = self.work / f"graded-{self.key}"
        shop.change(tools.reference, model=source.folder)
        view = bank.view(plan)
        wanted = shop.call(tasks.exact_logits, tools, source, view, tokens, place)
        written: dict[str, str] = {}
        for i, name in enumerate(self.request.targets):
            tools.progress("export", i / len(self.request.targets))
            out = self.request.out / name
            engine = self.targets.get(name, tools.reference)
            shop.change(engine, model=source.folder)
            if name == HUGGINGFACE:
                shop.call(tasks.write_foreign, tools, source, view, out, self.card(quality))
                if not self._reloads(source, name):
                    written[name] = out.name
                    continue
                found = shop.call(finish.reloaded, tools, out, tokens)
            else:
                found = shop.call(tasks.write_served, tools, engine, source, view, (out, tokens))
            apart = self.apart(wanted, found)
            if not apart < SAME:
                raise NumericsGateFailed(
                    f"the {name} artifact, reloaded, differs from the graded model by {apart:.2e}",
                    fix="report it with `negawatt doctor --json`; the other artifacts are good",
                )
            written[name] = out.name
            if isinstance(engine, RunsOtherwise) and name in self.targets:
                said = shop.call(tasks.otherwise, tools, engine, out)
                self.remarks += [f"{said}."] if said else []
        tools.progress("export", 1.0)
        return written

    def _reloads(self, source: ModelSource, name: str) -> bool:
        """Whether there is memory to load an artifact whole, as its users will."""
        needed = int(RELOADING * source.bf16_bytes)
        if needed <= free_memory():
            return True
        self.remarks.append(
            f"{name} was written and not loaded again: transformers would hold about "
            f"{needed / 1e9:.1f} GB, and {free_memory() / 1e9:.1f} GB are free."
        )
        return False

    def apart(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        """How far two carriers of the same weights are from each other. [nat/token]"""
        return divergence(one, other)

    def card(self, quality: Any) -> dict[str, str]:
        """What the model card says."""
        recipe, loss, kl = self.recipe, quality.loss, quality.kl
        before = f" after {' and '.join(recipe.transforms)}" if recipe.transforms else ""
        return {
            "name": f"{Path(self.request.model).name.removeprefix('package:')}, {recipe.format}",
            "source": self.request.model,
            "licence": licence_of(self.request.model),
            "Quality": f"perplexity {loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%}), KL "
            f"{kl.value:.4f} ({kl.low:.4f} to {kl.high:.4f}) nat/token against the 16-bit model on "
            f"{quality.tokens:,} "
            "tokens of held-out text",
            "Method": f"{recipe.method}{before}, {self.windows.size:,} tokens of calibration text",
        }

    def _resumed(self) -> list[str]:
        kept = [step.name for step in self.journal.steps if step.resumed]
        return [f"Kept from an earlier run: {', '.join(kept)}."] if kept else []


def _kind(model: str) -> type[Job]:
    from negawatt.actions.quantise.encoder import EncoderJob
    from negawatt.models.encoder import find_encoder

    return Job if find_encoder(model) is None else EncoderJob


def _total(parts: list[Estimate]) -> Estimate:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
