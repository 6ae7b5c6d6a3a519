"""What workers do for `negawatt quantise`. Engines are imported where they are used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize import finish
from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.optimize.stages import context_of
from negawatt.compress.bank import BankView, WeightBank
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RoundsInputs, RunOptions, RunsOtherwise, Runtime, Session
from negawatt.core.records import ENCODERS, Format, InputGrid, Quality
from negawatt.models.corpus import Corpus, split
from negawatt.models.load import load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.quality import Exam, Reference, exam, reference, score
from negawatt.models.source import ModelSource

if TYPE_CHECKING:
    from negawatt.compress.bound import Bound


@dataclass(frozen=True, slots=True)
class Asked:
    """What a decoder in parts will be asked about."""

    texts: Sequence[Sequence[int]]  # token numbers
    place: Path  # for hidden states that do not fit into memory
    on_block: Callable[[int, int], None] = lambda _done, _total: None


def rewrite(
    tools: Tools,
    source: ModelSource,
    names: Sequence[str],
    windows: NDArray[np.int64],
    fmt: Format,
    place: Path,
) -> tuple[ModelSource, list[str]]:
    """Apply transforms to the model."""
    from negawatt.compress.transformed import transformed

    def tell(done: int, total: int) -> None:
        tools.progress("transform", done / total)

    return transformed(source, names, windows, fmt, place, tell)


def round_layers(
    tools: Tools,
    source: ModelSource,
    plan: Mapping[str, Format],
    method: str,
    windows: NDArray[np.int64],
    bank: WeightBank,
    only: Collection[str] | None = None,
) -> int:
    """Round every layer in its format, or some of them; returns how many."""
    from negawatt.compress.activations import balanced
    from negawatt.compress.calibrate import fill_bank

    def tell(done: int, total: int) -> None:
        tools.progress("candidates", done / total)

    layers = [one for one in source.layers if only is None or one.name in only]
    model = loaded(source)
    balanced(model, bank.inputs)
    fill_bank(model, layers, plan, windows, bank, tell, method=method)
    return len(layers)


def find_inputs(
    tools: Tools,
    source: ModelSource,
    windows: NDArray[np.int64],
    fmt: Format,
    balance: bool,  # noqa: FBT001  # workers are given their arguments in order
) -> dict[str, InputGrid]:
    """How what enters the layers of an encoder is to be rounded."""
    from negawatt.compress.activations import input_grids

    def tell(done: int, total: int) -> None:
        tools.progress("transform", done / total)

    model = loaded(source)
    return input_grids(model, source.layers, windows, fmt, tell, balance=balance)


def loaded(source: ModelSource) -> Any:
    """The model to round: a decoder mapped, an encoder whole, as it is."""
    from negawatt.models.encoder import load_encoder
    from negawatt.models.halves import reading_dtype
    from negawatt.models.mapped import Mapped

    if is_encoder(source):
        return load_encoder(source.folder, config_of(source))
    return Mapped(source.folder, reading_dtype())


def is_encoder(source: ModelSource) -> bool:
    """True for a model that reads a text as a whole."""
    return config_of(source).get("model_type") in ENCODERS


def config_of(source: ModelSource) -> dict[str, Any]:
    """Its `config.json`."""
    found: dict[str, Any] = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
    return found


def stated(tools: Tools, source: ModelSource, tokens: tuple[int, int, int], room: int) -> Bound:
    """What the model will add in memory: of calibration, grading and the longest window."""
    from negawatt.compress.bound import bound
    from negawatt.models.halves import quick_halves

    del tools
    wide = not quick_halves()
    return bound(source.layers, config_of(source), tokens, room, wide=wide)


def session(
    source: ModelSource, weights: BankView | None, asked: Asked, *, exact: bool = False
) -> Session:
    """A decoder that is asked about known texts, held a block at a time.

    Args:
        source: The model.
        weights: Codes that stand in the place of its weights; its own when None.
        asked: About what.
        exact: Computed in float32.
    """
    from negawatt.compress.walked import opened

    texts = asked.texts, asked.place, asked.on_block
    return opened(source.folder, source.layers, weights, texts, exact=exact)


def deal_texts(tools: Tools, order: Order, source: ModelSource) -> tuple[Corpus, Exam]:
    """Calibration text, and the text to grade on."""
    effort, tokenizer = order.effort, load_tokenizer(source.folder)
    corpus = split(
        load_text(order.text, tools.data),
        tokenizer,
        window=min(effort.window, context_of(source.folder)),
        calibration_tokens=effort.calibration_tokens,
        selection_tokens=effort.selection_tokens,
        test_tokens=effort.test_tokens,
        seed=order.seed,
    )
    return corpus, exam(corpus, tokenizer, "test")


def read_base(
    tools: Tools, order: Order, source: ModelSource, examined: Exam, place: tuple[Path, str]
) -> Reference:
    """What the 16-bit model says of the text to grade on; kept in a folder under a key."""
    from negawatt.models.walked import texts_of

    store, key = place

    def tell(done: int, total: int) -> None:
        tools.progress("reference", done / total)

    asked = Asked(texts_of(examined), store.parent, tell)
    with session(source, None, asked) as base:
        return reference(base, examined, store, order.effort.kl_tokens, key=key)


def grade(tools: Tools, source: ModelSource, weights: BankView, base: Reference) -> Quality:
    """What the rounded model loses on the test text."""
    from negawatt.models.walked import texts_of

    def tell(done: int, total: int) -> None:
        tools.progress("grade", done / total)

    asked = Asked(texts_of(base.exam), base.store.parent, tell)
    with session(source, weights, asked) as rounded:
        return score(rounded, base)


def exact_logits(
    tools: Tools, source: ModelSource, weights: BankView, tokens: NDArray[np.int64], place: Path
) -> NDArray[np.float32]:
    """Logits of the rounded model in float32."""
    if is_encoder(source):
        build(tools, source, weights, place)
        options = RunOptions(threads=tools.cores, precision="exact", steps="read")
        with tools.reference.open(place, options) as opened:
            return np.asarray(opened.forward(tokens))
    with session(source, weights, Asked(tokens.tolist(), place.parent), exact=True) as rounded:
        return np.asarray(rounded.forward(tokens))


def write_foreign(
    tools: Tools, source: ModelSource, weights: BankView, out: Path, card: Mapping[str, str]
) -> None:
    """The rounded model as safetensors with a quantisation config."""
    from negawatt.compress import export_huggingface

    del tools
    export_huggingface.export(source.folder, weights, out, card=card)


def write_served(
    tools: Tools,
    engine: Runtime,
    source: ModelSource,
    weights: BankView,
    asked: tuple[Path, NDArray[np.int64]],
) -> NDArray[np.float32]:
    """The rounded model in an engine's own form; returns what it computes, in float32."""
    out, tokens = asked
    wide = out.with_name(f"{out.name}.wide")
    shutil.rmtree(wide, ignore_errors=True)
    engine.convert(source.folder, wide)

    def write(place: Path) -> None:
        compress(engine, wide, weights, place)
        finish.add_company(source.folder, place)

    finish.replace(out, write)
    shutil.rmtree(wide, ignore_errors=True)
    exact = RunOptions(threads=tools.cores, precision="exact", steps="read")
    with engine.open(out, exact) as session:
        return np.asarray(session.forward(tokens))


def otherwise(tools: Tools, engine: RunsOtherwise, artifact: Path) -> str:
    """What an engine does otherwise with an artifact here than elsewhere; empty: nothing."""
    return engine.otherwise(artifact, RunOptions(threads=tools.cores))


def build(tools: Tools, source: ModelSource, weights: BankView, place: Path) -> None:
    """The rounded model in the reference engine's form, made anew when there is none."""
    if place.exists():
        return
    wide = place.with_name(f"{place.name}.wide")
    shutil.rmtree(wide, ignore_errors=True)
    tools.reference.convert(source.folder, wide)
    compress(tools.reference, wide, weights, place)
    shutil.rmtree(wide, ignore_errors=True)


def compress(engine: Runtime, wide: Path, weights: BankView, place: Path) -> None:
    """The weights put into an engine's own form, with rounded inputs where there are such.

    Raises:
        UsageError: there are, and the engine has no such products.
    """
    if not weights.inputs:
        engine.compress(wide, weights, place)
    elif isinstance(engine, RoundsInputs):
        engine.compress_with_inputs(wide, weights, weights.inputs, place)
    else:
        raise UsageError(
            f"{engine.name} does not round what enters its products to 8 bits",
            fix="leave --activations out, or choose openvino or onnxruntime",
        )
