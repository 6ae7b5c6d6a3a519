"""The job for encoders: other texts, other figures, and artifacts for engines alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.quantise import work as tasks
from negawatt.actions.quantise.job import Job
from negawatt.actions.quantise.request import HUGGINGFACE
from negawatt.compress.bank import BankView, WeightBank
from negawatt.compress.quantised import Operations, Speed
from negawatt.compress.race import centre, race_reading, ratio
from negawatt.core.errors import NotAModel, UsageError
from negawatt.core.protocols import RunOptions, Runtime
from negawatt.core.records import Format, Layer, Workload
from negawatt.models.corpus import split
from negawatt.models.encoder import ending_of, find_encoder, pooling_of, prepare_encoder
from negawatt.models.likeness import Answers, Example, Likeness, answers, likeness, read_task
from negawatt.models.load import load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.source import ModelSource

_WINDOW = 126  # tokens of text in a window, to which two marks are added
_TASK = Path("stsb") / "stsb-en-dev.csv"
_TEXT = 128  # tokens, for operations and speed
_ROUNDS = 8
_NARROW = 8  # bits


class EncoderJob(Job):
    """One method over an encoder."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if self.recipe.transforms:
            raise UsageError(
                f"{self.recipe.transforms[0]} is for decoders",
                fix="leave --transform out for an encoder",
            )
        if HUGGINGFACE in self.request.targets:
            raise UsageError(
                "an encoder cannot be written as huggingface yet",
                fix="choose an engine, for example --as openvino, or --as none",
            )

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
        windows, self.held_out, self.told = shop.call(read_windows, tools, self.order, source)
        self.probe = self.held_out[:1]
        self.open_journal(windows, key, self.told, [str(one) for one in self.examples])
        given = (source, self.base, self.held_out, self.examples)
        self.said: Answers = shop.call(read_all, tools, *given)

    def quality(
        self, source: ModelSource, plan: Mapping[str, Format], bank: WeightBank
    ) -> Likeness:
        """What the rounded model says, beside what the base said."""
        tools, ending = self.tools, ending_of(source.architecture)
        place = self.work / f"graded-{self.key}"

        def grade() -> Likeness:
            tools.workshop.change(tools.reference)
            given = (source, bank.view(plan), self.held_out, self.examples, place)
            found: Answers = tools.workshop.call(grade_all, tools, *given)
            about = (ending, self.task.name if self.task else "", self.held_out.size, self.told)
            return likeness(self.said, found, self.examples, about)

        return self.journal.step("grade", Likeness, grade)

    def apart(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        """Squared distance of two carriers of the same weights over the size of what they say."""
        return float(np.square(one - other).sum() / np.square(one).sum())

    def more(self, source: ModelSource, plan: Mapping[str, Format]) -> dict[str, Any]:
        """Operations of one text, and what engines take for it."""
        shop, tools = self.tools.workshop, self.tools
        speeds = []
        key = self.base.name.rsplit("-", 1)[1]
        for name, engine in self.targets.items():
            shop.change(engine)
            wide, out = place_of(self.work, engine, key), self.request.out / name
            speeds.append(shop.call(raced, tools, engine, source, wide, out))
        layers = source.layers
        return {
            "operations": operations(layers, plan, source.parameters),
            "speeds": tuple(speeds),
        }


def operations(
    layers: Sequence[Layer], plan: Mapping[str, Format], parameters: int, tokens: int = _TEXT
) -> Operations:
    """Multiplications of one text: every linear layer at every token, and attention.

    Attention multiplies each query with each key and mixes the values: two products of
    tokens x tokens x width in every block, in floating point whatever the weights are. A layer
    behind the blocks is counted at every token as well, which a pooler needs at one alone.

    >>> layers = [Layer("layer.0.query", "linear", 8, 8, 0), Layer("words", "embedding", 99, 8)]
    >>> operations(layers, {"layer.0.query": Format(8), "words": Format(8)}, 0, tokens=2)
    Operations(tokens=2, multiplications=192, narrow=0.6666666666666666, float32_bytes=0)
    """
    multiplied = [one for one in layers if one.kind != "embedding"]
    linear = sum(tokens * one.rows * one.cols for one in multiplied)
    narrow = sum(
        tokens * one.rows * one.cols for one in multiplied if plan[one.name].bits <= _NARROW
    )
    widths = {one.block: one.rows for one in multiplied if one.name.endswith(_QUERIES)}
    attention = sum(2 * tokens * tokens * width for width in widths.values())
    total = linear + attention
    return Operations(tokens, total, narrow / total if total else 0.0, 4 * parameters)


_QUERIES = ("query", "q_lin", "attn.q")


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
) -> Answers:
    """What a model in the reference engine's form says of everything, in float32."""
    ending = ending_of(source.architecture), pooling_of(source.folder)
    options = RunOptions(threads=tools.cores, precision="exact", steps="read")
    with tools.reference.open(place, options) as session:
        return answers(
            session,
            windows,
            examples,
            load_tokenizer(source.folder),
            ending,
            lambda share: tools.progress(stage, share),
        )


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


def raced(tools: Tools, engine: Runtime, source: ModelSource, wide: Path, out: Path) -> Speed:
    """Read one text in turns, with 16-bit weights and with the artifact, on one thread."""
    if not wide.exists():
        engine.convert(source.folder, wide)
    vocabulary = next(one.rows for one in source.layers if one.kind == "embedding")
    options = RunOptions(threads=1, steps="read")
    with engine.open(wide, options) as base, engine.open(out, options) as own:
        halves = race_reading(
            {"wide": base, "own": own},
            Workload(_TEXT, 1),
            rounds=_ROUNDS,
            vocabulary=vocabulary,
            clock=tools.clock,
        )
    first, second = (halves[name].cpu for name in ("wide", "own"))
    unit = "s/text"
    return Speed(
        engine=f"{engine.name} {engine.version}",
        tokens=_TEXT,
        wide=centre(first, unit=unit).scaled(_TEXT),
        narrow=centre(second, unit=unit).scaled(_TEXT),
        ratio=ratio(second, first),
    )
