"""What workers do for `negawatt quantise`. Engines are imported where they are used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize import finish
from negawatt.actions.optimize.order import Tools
from negawatt.compress.bank import BankView, WeightBank
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RoundsInputs, RunOptions, Runtime
from negawatt.core.records import ENCODERS, Format, InputGrid, Quality
from negawatt.models.load import load_reference
from negawatt.models.quality import Reference, score
from negawatt.models.source import ModelSource


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
) -> int:
    """Round every layer in its format; returns how many layers."""
    from negawatt.compress.activations import balanced
    from negawatt.compress.calibrate import fill_bank

    def tell(done: int, total: int) -> None:
        tools.progress("candidates", done / total)

    model = loaded(source)
    balanced(model, bank.inputs)
    fill_bank(model, source.layers, plan, windows, bank, tell, method=method)
    return len(source.layers)


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
    """The model to round: a decoder in 16 bits, an encoder as it is."""
    from negawatt.models.encoder import load_encoder

    wide = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
    if wide.get("model_type") in ENCODERS:
        return load_encoder(source.folder, wide)
    return load_reference(source.folder)


def grade(
    tools: Tools, source: ModelSource, weights: BankView, base: Reference, place: Path
) -> Quality:
    """What the rounded model loses on the test text, computed by the reference engine."""
    build(tools, source, weights, place)
    with tools.reference.open(place, RunOptions(threads=tools.cores, steps="read")) as session:
        return score(session, base, progress=lambda _, share: tools.progress("grade", share))


def exact_logits(
    tools: Tools, source: ModelSource, weights: BankView, tokens: NDArray[np.int64], place: Path
) -> NDArray[np.float32]:
    """Logits of the rounded model in float32."""
    build(tools, source, weights, place)
    options = RunOptions(threads=tools.cores, precision="exact", steps="read")
    with tools.reference.open(place, options) as session:
        return np.asarray(session.forward(tokens))


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
