"""Encoders in engines that multiply codes with codes: they say what the reference says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_encoder import WORDS, small_encoder

from negawatt.adapters.runtimes.torch import TorchRuntime
from negawatt.compress.activations import balanced, input_grids
from negawatt.compress.quantise import round_to_nearest
from negawatt.core import registry
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RoundsInputs, RunOptions
from negawatt.core.records import Format, InputGrid, QuantisedWeight
from negawatt.models.encoder import layers_of, load_encoder, prepare_encoder

ENGINES = ("openvino", "onnxruntime")
EXACT = RunOptions(precision="exact", steps="read")


def engine(name: str) -> Any:
    pytest.importorskip(name)
    return registry.build(registry.RUNTIMES, name)


def prepared(folder: Path, architecture: str) -> Path:
    """A small encoder whose values fit 16 bits, so that engines differ by their products alone."""
    model = small_encoder(folder / "given", architecture)
    loaded = load_encoder(model)
    loaded.half().float().save_pretrained(model)
    return prepare_encoder(str(model), model, folder).folder


def made(model: Path, *, balance: bool) -> tuple[dict[str, QuantisedWeight], dict[str, InputGrid]]:
    loaded = load_encoder(model)
    layers = layers_of(loaded)
    windows = np.random.default_rng(3).integers(5, WORDS, (6, 20))
    grids = input_grids(loaded, layers, windows, Format(8), balance=balance)
    balanced(loaded, grids)
    return {
        one.name: round_to_nearest(loaded.get_submodule(one.name).weight, Format(8))
        for one in layers
    }, grids


def said(
    runtime: Any,
    model: Path,
    weights: Mapping[str, QuantisedWeight],
    inputs: Mapping[str, InputGrid],
    place: Path,
) -> Any:
    wide, out = place / f"{runtime.name}-wide", place / runtime.name
    runtime.convert(model, wide)
    runtime.compress_with_inputs(wide, weights, inputs, out)
    tokens = np.random.default_rng(0).integers(5, WORDS, (2, 17))
    with runtime.open(out, EXACT) as session:
        return session.forward(tokens)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("openvino", "BertModel"),
        ("openvino", "DistilBertForSequenceClassification"),
        ("onnxruntime", "BertModel"),
        ("onnxruntime", "DistilBertForSequenceClassification"),
        ("onnxruntime", "BertForMaskedLM"),
        ("onnxruntime", "MPNetModel"),
    ],
)
def test_engines_round_inputs_as_the_reference_does(
    name: str, architecture: str, tmp_path: Path
) -> None:
    model = prepared(tmp_path, architecture)
    weights, grids = made(model, balance=architecture == "BertModel")
    assert len(grids) == 12
    wanted = said(TorchRuntime(), model, weights, grids, tmp_path)
    got = said(engine(name), model, weights, grids, tmp_path)
    plain = said(TorchRuntime(), model, weights, {}, tmp_path / "plain")
    rounding = np.square(plain - wanted).sum()
    assert rounding > 0
    assert np.square(got - wanted).sum() < rounding / 10


@pytest.mark.parametrize("name", ENGINES)
def test_weights_alone_are_what_the_reference_has(name: str, tmp_path: Path) -> None:
    model = prepared(tmp_path, "BertForSequenceClassification")
    weights, _ = made(model, balance=False)
    wanted = said(TorchRuntime(), model, weights, {}, tmp_path)
    got = said(engine(name), model, weights, {}, tmp_path)
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ENGINES)
def test_codes_of_four_bits_meet_no_codes(name: str, tmp_path: Path) -> None:
    model = prepared(tmp_path, "BertModel")
    loaded = load_encoder(model)
    weights, grids = made(model, balance=False)
    layer = next(iter(grids))
    weights[layer] = round_to_nearest(loaded.get_submodule(layer).weight, Format(4, 32))
    with pytest.raises(UsageError, match="not multiplied"):
        said(engine(name), model, weights, grids, tmp_path)
    with pytest.raises(UsageError, match="no new weights"):
        said(engine(name), model, {}, grids, tmp_path / "again")


def test_the_runtimes_say_what_they_round() -> None:
    for name in (*ENGINES, "torch"):
        assert isinstance(engine(name), RoundsInputs)
    assert not isinstance(registry.load(registry.RUNTIMES, "llamacpp"), RoundsInputs)


def test_a_trial_finds_sums_that_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    from negawatt.adapters.runtimes import openvino_inputs as inputs

    class Core:
        """Adds up as little as a processor without instructions for codes."""

        def compile_model(self, *_given: Any) -> Any:
            return lambda _asked: [np.full((1, 1, 8), 32 * 16383.0)]

    inputs.adds_up.cache_clear()
    assert inputs.adds_up() in {True, False}  # of this processor
    inputs.adds_up.cache_clear()
    monkeypatch.setattr(inputs.ov, "Core", Core)
    assert not inputs.adds_up()
    inputs.adds_up.cache_clear()


def test_codes_that_do_not_add_up_are_multiplied_as_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    from negawatt.adapters.runtimes import openvino, openvino_encoder

    runtime, model = engine("openvino"), prepared(tmp_path, "BertModel")
    weights, grids = made(model, balance=False)
    wanted = said(TorchRuntime(), model, weights, grids, tmp_path)
    for module in (openvino, openvino_encoder):
        monkeypatch.setattr(module, "adds_up", lambda: False)
    got = said(runtime, model, weights, grids, tmp_path)
    np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-2)
    assert "in 32 bits" in runtime.otherwise(tmp_path / "openvino", RunOptions())
    assert runtime.otherwise(tmp_path / "openvino-wide", RunOptions(2)) == ""
    monkeypatch.setattr(openvino, "adds_up", lambda: True)
    assert runtime.otherwise(tmp_path / "openvino", RunOptions(2)) == ""
