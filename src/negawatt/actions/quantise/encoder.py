"""The job for encoders: other texts, other figures, and artifacts for engines alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.quantise import work as tasks
from negawatt.actions.quantise.job import SAME, Job, Rewritten, Spent
from negawatt.actions.quantise.request import HUGGINGFACE
from negawatt.compress.bank import BankView, WeightBank
from negawatt.compress.quantised import Operations, Recipe, Speed
from negawatt.compress.race import centre, race_reading, ratio
from negawatt.core.errors import NotAModel, UsageError
from negawatt.core.protocols import RoundsInputs, RunOptions, Runtime
from negawatt.core.records import Format, InputGrid, Layer, Workload
from negawatt.models.corpus import split
from negawatt.models.encoder import ending_of, find_encoder, pooling_of, prepare_encoder
from negawatt.models.likeness import Answers, Example, Likeness, answers, likeness, read_task
from negawatt.models.load import load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.source import ModelSource

_WINDOW = 126  # tokens of text in a window, to which two marks are added
_TASK = Path("stsb") / "stsb-en-dev.csv"
_TEXTS = (128, 16)  # tokens; operations are those of the first, speeds of both
_LOOKED_AT = 48  # windows, for the ranges of inputs
_BALANCE = "smooth"
_DICE = 4.0  # two independent errors of one size are twice it apart, in squares; and some room
_ROUNDS = 8
_NARROW = 8  # bits


class EncoderJob(Job):
    """One method over an encoder."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        check_recipe(self.recipe, self.targets, foreign=HUGGINGFACE in self.request.targets)

    @staticmethod
    def preparing(tools: Tools, order: Order, work: Path) -> ModelSource:
        """The model in the one form that everything later reads."""
        tools.progress("prepare", 0.0)
        path = find_encoder(order.model)
        if path is None:
            raise NotAModel(f"{order.model} is no encoder any more", fix="run the command again")
        return prepare_encoder(order.model, path, work)

    def read(self, source: ModelSource) -> None:
        """The base's own answers, and the journal that belongs to all of it."""
        tools, shop = self.tools, self.tools.workshop
        key = self.converted(source)
        shop.change(tools.reference, model=None)
        self.task = self.request.task or usual_task(tools, source)
        self.examples = read_task(self.task) if self.task else []
        check_task(self.examples, source.architecture)
        windows, self.held_out, self.told = shop.call(read_windows, tools, self.order, source)
        self.probe = self.held_out[:1]
        self.open_journal(windows, key, self.told, [str(one) for one in self.examples])
        given = (source, self.base, self.held_out, self.examples)
        self.said: Answers = shop.call(read_all, tools, *given)
        self.plain = shop.call(read_plain, tools, self.base, self.probe)

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
        return Rewritten(source, (told_inputs(found.grids, source),), (found.spent,))

    def quality(
        self, source: ModelSource, plan: Mapping[str, Format], bank: WeightBank
    ) -> Likeness:
        """What the rounded model says, beside what the base said."""
        tools = self.tools
        place = self.work / f"graded-{self.key}"

        def grade() -> Likeness:
            tools.workshop.change(tools.reference)
            given = (source, bank.view(plan), self.held_out, self.examples, place)
            return self.likeness(source, tools.workshop.call(grade_all, tools, *given))

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
            speeds += [shop.call(raced, tools, *given, tokens) for tokens in _TEXTS]
            asked = (engine, source, self.held_out, self.examples, out)
            served[name] = self.likeness(source, shop.call(read_served, tools, *asked))
        layers = source.layers
        return {
            "operations": operations(layers, plan, source.parameters, self.inputs),
            "speeds": tuple(speeds),
            "served": served,
        }


def operations(
    layers: Sequence[Layer],
    plan: Mapping[str, Format],
    parameters: int,
    inputs: Collection[str] = (),
    tokens: int = _TEXTS[0],
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


# ------------------------------------------------------------------- what workers do


def read_windows(
    tools: Tools, order: Order, source: ModelSource
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Windows to calibrate on and to hold out, int64 [windows, positions], and what they are."""
    tokenizer, effort = load_tokenizer(source.folder), order.effort
    corpus = split(
        load_text(order.text, tools.data),
        tokenizer,
        window=_WINDOW,
        calibration_tokens=effort.calibration_tokens,
        selection_tokens=_WINDOW,
        test_tokens=effort.test_tokens,
        seed=order.seed,
    )
    marks = tokenizer.cls_token_id, tokenizer.sep_token_id
    told = corpus.texts["test"]
    return _framed(corpus.calibration, *marks), _framed(corpus.test, *marks), told


def _framed(windows: NDArray[np.int64], first: int | None, last: int | None) -> NDArray[np.int64]:
    """Windows between the marks that the model expects around a text."""
    if first is not None and not (windows[:, 0] == first).all():
        windows = np.insert(windows, 0, first, axis=1)
    return windows if last is None else np.append(windows, np.full((len(windows), 1), last), 1)


def read_all(
    tools: Tools,
    source: ModelSource,
    place: Path,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    stage: str = "reference",
    engine: Runtime | None = None,
) -> Answers:
    """What a model says of everything: in the reference engine in float32, or as it is served."""
    ending = ending_of(source.architecture), pooling_of(source.folder)
    options = RunOptions(threads=tools.cores, precision="fast" if engine else "exact", steps="read")
    with (engine or tools.reference).open(place, options) as session:
        return answers(
            session,
            windows,
            examples,
            load_tokenizer(source.folder),
            ending,
            lambda share: tools.progress(stage, share),
        )


def read_plain(tools: Tools, place: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the base says of some tokens, as it says it."""
    options = RunOptions(threads=tools.cores, precision="exact", steps="read")
    with tools.reference.open(place, options) as session:
        return np.asarray(session.forward(tokens))


def grade_all(
    tools: Tools,
    source: ModelSource,
    weights: BankView,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    place: Path,
) -> Answers:
    """The same of the rounded model."""
    tasks.build(tools, source, weights, place)
    return read_all(tools, source, place, windows, examples, "grade")


def read_served(
    tools: Tools,
    engine: Runtime,
    source: ModelSource,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    place: Path,
) -> Answers:
    """What an artifact says in the very form in which an engine serves it."""
    return read_all(tools, source, place, windows, examples, "export", engine)


def raced(
    tools: Tools,
    engine: Runtime,
    source: ModelSource,
    places: tuple[Path, Path],
    tokens: int,
) -> Speed:
    """Read one text in turns, with the weights as they were and with the artifact, on one thread."""
    wide, out = places
    if not wide.exists():
        engine.convert(source.folder, wide)
    vocabulary = next(one.rows for one in source.layers if one.kind == "embedding")
    options = RunOptions(threads=1, steps="read")
    with (
        engine.open(wide, options) as base,
        engine.open(wide, replace(options, precision="exact")) as single,
        engine.open(out, options) as own,
    ):
        halves = race_reading(
            {"wide": base, "single": single, "own": own},
            Workload(tokens, 1),
            rounds=_ROUNDS,
            vocabulary=vocabulary,
            clock=tools.clock,
        )
    taken = {name: half.cpu for name, half in halves.items()}
    unit = "s/text"
    return Speed(
        engine=f"{engine.name} {engine.version}",
        tokens=tokens,
        wide=centre(taken["wide"], unit=unit).scaled(tokens),
        float32=centre(taken["single"], unit=unit).scaled(tokens),
        narrow=centre(taken["own"], unit=unit).scaled(tokens),
        ratio=ratio(taken["own"], taken["wide"]),
        float32_ratio=ratio(taken["own"], taken["single"]),
    )
