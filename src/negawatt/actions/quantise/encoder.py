"""The job for encoders: other texts, other figures, and artifacts for engines alone."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.quantise import encoder_work as reading
from negawatt.actions.quantise import work as tasks
from negawatt.actions.quantise.job import SAME, Job, Rewritten, Spent
from negawatt.actions.quantise.mixing import Mixing
from negawatt.actions.quantise.request import HUGGINGFACE
from negawatt.compress.bank import WeightBank
from negawatt.compress.mixed import Mix
from negawatt.compress.quantised import Operations, Recipe, Speed
from negawatt.core.errors import NotAModel, UsageError
from negawatt.core.protocols import RoundsInputs, Runtime
from negawatt.core.records import Format, InputGrid, Layer
from negawatt.meters import measure
from negawatt.models.encoder import ending_of, find_encoder, prepare_encoder
from negawatt.models.likeness import Answers, Example, Likeness, likeness, read_task
from negawatt.models.source import ModelSource

_TASK = Path("stsb") / "stsb-en-dev.csv"
TEXTS = (128, 16)  # tokens; operations are those of the first, speeds of both
_PROBED = 16  # texts on which forms of a classifier are compared
_LOOKED_AT = 48  # windows, for the ranges of inputs
_SLOPED = 24  # windows, for slopes by gates
_CHOOSING = 48  # windows to choose by
_LEAST = 8  # of them that have to be fresh
_BALANCE = "smooth"
_DICE = 4.0  # two independent errors of one size are twice it apart, in squares; and some room
_NARROW = 8  # bits


class EncoderJob(Job):
    """One method over an encoder."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        check_recipe(self.recipe, self.targets, foreign=HUGGINGFACE in self.request.targets)
        self.mix: Mix | None = None

    @staticmethod
    def preparing(tools: Tools, order: Order, work: Path) -> ModelSource:
        """The model in the one form that everything later reads."""
        tools.progress("prepare", 0.0)
        path = find_encoder(order.model)
        if path is None:
            raise NotAModel(f"{order.model} is no encoder any more", fix="run the command again")
        return prepare_encoder(order.model, path, work)

    def stated(self, source: ModelSource) -> int | None:
        """Nothing: an encoder is small, and is held whole."""
        del source
        return None

    def read(self, source: ModelSource) -> None:
        """The base's own answers, and the journal that belongs to all of it."""
        tools, shop = self.tools, self.tools.workshop
        key = self.converted(source)
        shop.change(tools.reference, model=None)
        self.task = self.request.task or usual_task(tools, source)
        self.examples = read_task(self.task) if self.task else []
        check_task(self.examples, source.architecture)
        windows, self.held_out, self.told = shop.call(
            reading.read_windows, tools, self.order, source
        )
        # A label is a few numbers: two forms of one model are told apart on several texts.
        several = ending_of(source.architecture) == "labels"
        self.probe = self.held_out[: _PROBED if several else 1]
        self.dealt = windows
        facts = [key, self.told, [str(one) for one in self.examples]]
        if self.recipe.activations == "mixed":  # what is rounded depends on who times it
            facts.append(self.pricing.name)
        self.open_journal(windows, *facts)
        given = (source, self.base, self.held_out, self.examples)
        self.said: Answers = shop.call(reading.read_all, tools, *given)
        self.plain = shop.call(reading.read_plain, tools, self.base, self.probe)

    def _rewritten(self, source: ModelSource) -> Rewritten:
        """The model itself; factors between channels stand with the rounding of inputs."""
        recipe = self.recipe
        if recipe.activations == "float":
            return Rewritten(source, ())

        def look() -> Inputs:
            windows = self.windows[:_LOOKED_AT]
            given = (source, windows, recipe.format, _BALANCE in recipe.transforms)
            return Inputs(*self._timed(tasks.find_inputs, *given))

        found = self.journal.step("inputs", Inputs, look)
        self.inputs = found.grids
        told = () if recipe.activations == "mixed" else (told_inputs(found.grids, source),)
        return Rewritten(source, told, (found.spent,))

    def _rounded(self, source: ModelSource, plan: Mapping[str, Format]) -> tuple[WeightBank, Spent]:
        """The weights, and with a search the inputs that are rounded."""
        bank, spent = super()._rounded(source, plan)
        if self.recipe.max_distance is None:
            return bank, spent
        near = self.recipe.max_distance
        if moved := tuple(name for name, grid in bank.inputs.items() if grid.factor):
            bank.plain = WeightBank(bank.folder / "plain")
            spent = spent.plus(self._plain(source, plan, bank.plain, moved))

        def search() -> Searched:
            start = time.perf_counter()
            with measure("search inputs") as window:
                mix = self._mixed(source, bank, plan, near)
                self.tools.workshop.close()  # a worker's CPU time counts once it has ended
            seconds = time.perf_counter() - start
            return Searched(mix, Spent(seconds, window.cpu_seconds, window.energy))

        found = self.journal.step("mixed", Searched, search)
        self.mix, more = found.mix, found.spent
        rounded = {name for one in self.mix.inlets if one.rounded for name in one.inlet.layers}
        self.inputs = {name: grid for name, grid in self.inputs.items() if name in rounded}
        bank.inputs = dict(self.inputs)
        self.remarks.append(told_inputs(self.inputs, source))
        return bank, spent.plus(more)

    def _plain(
        self,
        source: ModelSource,
        plan: Mapping[str, Format],
        bank: WeightBank,
        moved: Collection[str],
    ) -> Spent:
        """Round once more, as they were, weights that are written for divided inputs."""
        given = (source, plan, self.recipe.method, self.windows, bank, moved)
        return self.journal.step(
            "round plain", Spent, lambda: self._timed(tasks.round_layers, *given)[1]
        )

    @property
    def pricing(self) -> Runtime:
        """The engine that times what is tried: the first that gets an artifact."""
        return next(iter(self.targets.values()))

    def _mixed(
        self, source: ModelSource, bank: WeightBank, plan: Mapping[str, Format], near: float
    ) -> Mix:
        """Search for the inputs to round."""
        used = self.order.effort.hessian_windows
        fresh = self.dealt[used : used + _CHOOSING]
        if len(fresh) < _LEAST:  # a short text: its end is seen twice
            fresh = self.dealt[-max(2, len(self.dealt) // 4) :]
        given = self.tools, self.pricing, self.journal, self.work / f"mixes-{self.key}"
        mixing = Mixing(*given, near=near, seed=self.request.seed)
        return mixing.run(source, self.base, bank, plan, (self.windows[:_SLOPED], fresh))

    def quality(
        self, source: ModelSource, plan: Mapping[str, Format], bank: WeightBank
    ) -> Likeness:
        """What the rounded model says, beside what the base said."""
        tools = self.tools
        place = self.work / f"graded-{self.key}"

        def grade() -> Likeness:
            tools.workshop.change(tools.reference)
            given = (source, bank.view(plan), self.held_out, self.examples, place)
            return self.likeness(source, tools.workshop.call(reading.grade_all, tools, *given))

        return self.journal.step("grade", Likeness, grade)

    def card(self, quality: Likeness) -> dict[str, str]:
        """What the model card says."""
        recipe, far = self.recipe, quality.distance
        told = (
            f"{quality.measure} {far.value:.5f} ({far.low:.5f} to {far.high:.5f}) to the original "
            f"on {quality.tokens:,} tokens of held-out text"
        )
        if quality.task is not None:
            told += f"; {quality.task.name} {quality.task.value:.4f}, was {quality.task.base:.4f}"
        return {
            "name": f"{Path(self.request.model).name.removeprefix('package:')}, {recipe.format}",
            "source": self.request.model,
            "Quality": told,
            "Method": f"{recipe.method}, {self.windows.size:,} tokens of calibration text",
        }

    def likeness(self, source: ModelSource, found: Answers) -> Likeness:
        """Answers beside those of the base."""
        task = self.task.name if self.task else ""
        about = (ending_of(source.architecture), task, self.held_out.size, self.told)
        return likeness(self.said, found, self.examples, about)

    def apart(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        """Squared distance of two carriers of the same weights over the size of what they say.

        Where inputs are rounded, over some of what rounding did, if that is more: an input that
        lies between two levels falls to either by the last bit of what came before, and
        two engines then differ as two throws of the same dice do. What an engine makes of
        it is scored besides.
        """
        size = np.square(one).sum()
        apart = float(np.square(one - other).sum() / size)
        if not self.inputs:
            return apart
        rounding = float(np.square(one - self.plain).sum() / size)
        return apart / max(1.0, _DICE * rounding / SAME)

    def more(self, source: ModelSource, plan: Mapping[str, Format]) -> dict[str, Any]:
        """Operations of one text, and what engines take for it."""
        shop, tools = self.tools.workshop, self.tools
        speeds: list[Speed] = []
        served: dict[str, Likeness] = {}
        key = self.base.name.rsplit("-", 1)[1]
        for name, engine in self.targets.items():
            shop.change(engine)
            wide, out = place_of(self.work, engine, key), self.request.out / name
            given = (engine, source, (wide, out))
            speeds += [shop.call(reading.raced, tools, *given, tokens) for tokens in TEXTS]
            asked = (engine, source, self.held_out, self.examples, out)
            served[name] = self.likeness(source, shop.call(reading.read_served, tools, *asked))
        layers = source.layers
        return {
            "operations": operations(layers, plan, source.parameters, self.inputs),
            "speeds": tuple(speeds),
            "served": served,
            "mix": self.mix,
        }


def operations(
    layers: Sequence[Layer],
    plan: Mapping[str, Format],
    parameters: int,
    inputs: Collection[str] = (),
    tokens: int = TEXTS[0],
) -> Operations:
    """Multiplications of one text: every linear layer at every token, and attention.

    Attention multiplies each query with each key and mixes the values: two products of
    tokens x tokens x width in every block, in floating point whatever the weights are. A layer
    behind the blocks is counted at every token as well, which a pooler needs at one alone.

    >>> layers = [Layer("layer.0.query", "linear", 8, 8, 0), Layer("words", "embedding", 99, 8)]
    >>> plan = {"layer.0.query": Format(8), "words": Format(8)}
    >>> operations(layers, plan, 0, tokens=2)
    Operations(tokens=2, multiplications=192, narrow=0.6666666666666666, integer=0.0, float32_bytes=0)

    Args:
        layers: Of the model.
        plan: Their formats.
        parameters: Of the original.
        inputs: Names of layers whose inputs are codes as well.
        tokens: Of the text.
    """
    multiplied = [one for one in layers if one.kind != "embedding"]

    def of(chosen: Iterable[Layer]) -> int:
        return sum(tokens * one.rows * one.cols for one in chosen)

    widths = {one.block: one.rows for one in multiplied if one.name.endswith(_QUERIES)}
    attention = sum(2 * tokens * tokens * width for width in widths.values())
    total = max(1, of(multiplied) + attention)
    narrow = of(one for one in multiplied if plan[one.name].bits <= _NARROW)
    integer = of(one for one in multiplied if one.name in inputs)
    return Operations(tokens, total, narrow / total, integer / total, 4 * parameters)


_QUERIES = ("query", "q_lin", "attn.q")


@dataclass(frozen=True, slots=True)
class Inputs:
    """How what enters layers is rounded, and what finding that took."""

    grids: Mapping[str, InputGrid]
    spent: Spent


@dataclass(frozen=True, slots=True)
class Searched:
    """Which inputs are rounded, and what finding that took."""

    mix: Mix
    spent: Spent


def check_recipe(recipe: Recipe, targets: Mapping[str, Runtime], *, foreign: bool) -> None:
    """Raise `UsageError` for what an encoder cannot get, or an engine cannot execute."""
    for name in recipe.transforms:
        if name != _BALANCE:
            raise UsageError(
                f"{name} is for decoders", fix=f"leave it out for an encoder, or take {_BALANCE}"
            )
    if recipe.activations == "float":
        if recipe.transforms:
            raise UsageError(
                f"{_BALANCE} has nothing to balance while activations are floats",
                fix="add --activations int8, or leave --transform out",
            )
        return
    if foreign:
        raise UsageError(
            "a Hugging Face folder holds weights, and no rounding of what enters them",
            fix="choose --as openvino or onnxruntime, or leave --activations out",
        )
    if recipe.activations == "mixed" and not targets:
        raise UsageError(
            "what rounding saves is timed in an engine, and none is named",
            fix="choose --as openvino or onnxruntime",
        )
    for name, engine in targets.items():
        can = engine.input_formats if isinstance(engine, RoundsInputs) else ()
        if recipe.format not in can:
            listed = ", ".join(one.name for one in can) or "no format"
            raise UsageError(
                f"{name} multiplies inputs of 8 bits with weights in {listed}, "
                f"not in {recipe.format}",
                fix="choose --format int8-row-sym with openvino or onnxruntime, "
                "or leave --activations out",
            )


def told_inputs(grids: Mapping[str, InputGrid], source: ModelSource) -> str:
    """What was done to inputs, in one sentence."""
    layers = sum(one.kind == "linear" for one in source.layers)
    moved = sum(bool(grid.factor) for grid in grids.values())
    return (
        f"What enters {len(grids)} of {layers} layers is rounded to 8 bits; "
        f"channels are divided by factors in {moved} of them."
    )


def usual_task(tools: Tools, source: ModelSource) -> Path | None:
    """Pairs of sentences and how alike people find them, where they are at hand."""
    if tools.data is None or ending_of(source.architecture) != "embedding":
        return None
    found = tools.data / _TASK
    return found if found.is_file() else None


def check_task(examples: Sequence[Example], architecture: str) -> None:
    """Raise `UsageError` for examples that this kind of model cannot answer."""
    wanted = {"embedding": 2, "labels": 1, "tokens": 0}[ending_of(architecture)]
    if any(len(one.texts) != wanted for one in examples):
        form = ("no examples at all", "lines of `label text`", "sentence, sentence, score")[wanted]
        raise UsageError(
            f"{architecture} cannot be asked what this task asks",
            fix=f"for such a model --task takes {form}",
        )
