"""What is particular to llama.cpp; what it shares with others is in the contract suite."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.errors import NotAModel, RuntimeUnavailable, UnsupportedArchitecture, UsageError
from negawatt.core.levels import TABLES
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight

if find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python is not installed", allow_module_level=True)

import gguf

from negawatt.adapters.runtimes import llamacpp_engine
from negawatt.adapters.runtimes import llamacpp_header as header
from negawatt.adapters.runtimes import llamacpp_probe as probe
from negawatt.adapters.runtimes.llamacpp import LlamaCppRuntime
from negawatt.adapters.runtimes.llamacpp_blocks import TYPES, blocks
from negawatt.adapters.runtimes.llamacpp_kernel import LlamaKernel

RUNTIME = LlamaCppRuntime()
SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llamacpp")
    config = AutoConfig.for_model("llama", **SIZES, tie_word_embeddings=True)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder / "source")
    RUNTIME.convert(folder / "source", folder / "base")
    return folder / "base"


def some_codes(rows: int, cols: int, fmt: Format) -> QuantisedWeight:
    random = np.random.default_rng(rows + cols + fmt.bits)
    groups = cols // fmt.group
    codes = random.integers(0, 2**fmt.bits, (rows, cols), dtype=np.uint8)
    signs = random.choice([-1, 1], (rows, groups)) if fmt.levels else 1
    return QuantisedWeight(
        fmt,
        codes,
        (signs * random.integers(16, 32, (rows, groups)) / 32).astype(np.float16),
        (random.integers(0, 64, (rows, groups)) / 8).astype(np.float16)
        if fmt.has_minimum
        else np.full((rows, groups), fmt.middle, np.uint8),
    )


def decoded(weight: QuantisedWeight) -> Any:
    named = weight.format.levels
    levels = np.array(TABLES[named])[weight.codes] if named else weight.codes
    grouped = levels.reshape(*weight.scale.shape, -1).astype(np.float32)
    scale = weight.scale[..., None].astype(np.float32)
    if weight.format.has_minimum:
        values = grouped * scale - weight.zero[..., None].astype(np.float32)
    else:
        values = (grouped - weight.zero[..., None]) * scale
    return values.reshape(weight.codes.shape)


@pytest.mark.parametrize("fmt", TYPES, ids=str)
def test_the_engines_own_package_reads_the_codes_back(fmt: Format) -> None:
    weight = some_codes(3, 512 if fmt.nested else 96, fmt)
    stored = blocks(weight, "x")
    assert stored.data.shape[1] == fmt.bytes(1, weight.codes.shape[1])
    np.testing.assert_array_equal(gguf.dequantize(stored.data, stored.kind), decoded(weight))


def test_uneven_levels_are_those_of_the_engines_own_package() -> None:
    """Every code of a block, and a scale of each sign, which even levels have no use for."""
    assert TABLES["nl"] == gguf.quants.IQ4_NL.kvalues
    fmt = Format(4, 32, levels="nl")
    codes = np.tile(np.arange(16, dtype=np.uint8), (2, 2))
    scale = np.array([[0.5], [-0.25]], np.float16)
    stored = blocks(QuantisedWeight(fmt, codes, scale, np.zeros((2, 1), np.uint8)), "x")
    assert stored.kind.name == "IQ4_NL"
    found = gguf.dequantize(stored.data, stored.kind)
    np.testing.assert_array_equal(found[0, :16], 0.5 * np.array(TABLES["nl"]))
    np.testing.assert_array_equal(found[1, 16:], -0.25 * np.array(TABLES["nl"]))


@pytest.mark.parametrize("name", ["int6-g16x16-sym", "nl4-g32x8"])
def test_nested_scales_may_be_of_any_size_and_sign(name: str) -> None:
    """From the least number of 16 bits on, of which each is a multiple."""
    fmt = Format.parse(name)
    most, sets = fmt.most_multiples, fmt.nested // 4
    times = np.array([[1, -3, most, 2] * sets, [-most, most // 2, 1, -1] * sets], np.float16)
    for power in (-24, -7, 8):
        weight = some_codes(2, 256, fmt)
        weight = QuantisedWeight(fmt, weight.codes, times * 2.0**power, weight.zero)
        stored = blocks(weight, "x")
        found = gguf.dequantize(stored.data, stored.kind)
        np.testing.assert_array_equal(found, decoded(weight))


def test_scales_that_share_nothing_are_refused() -> None:
    fmt = Format(6, 16, nested=16)
    scale = np.array([[1.0] * 15 + [1.001]], np.float16)
    weight = QuantisedWeight(fmt, np.zeros((1, 256), np.uint8), scale, np.zeros((1, 16), np.uint8))
    with pytest.raises(UsageError, match="head has scales that are no multiples"):
        blocks(weight, "head")


def test_a_format_the_engine_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="head in int4-g64-sym"):
        blocks(some_codes(2, 64, Format(4, 64)), "head")


@pytest.mark.parametrize("fmt", TYPES, ids=str)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_a_product_alone_is_that_of_the_decoded_codes(
    fmt: Format, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As served, inputs are rounded to 8 bits: about half a percent of the result."""
    weight = some_codes(64, 512, fmt)
    stored = blocks(weight, "x")
    monkeypatch.setattr(
        "negawatt.adapters.runtimes.llamacpp_kernel._matrix",
        lambda *_args, **_named: (int(stored.kind), stored.data),
    )
    kernel = LlamaKernel(64, 512, fmt, copies=1, options=RunOptions(), extra=packed)
    for rows_in in (1, 5):
        found, given = kernel.result(rows_in)
        expected = given @ decoded(weight).T
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 0.01


def test_the_file_stores_every_layer_in_its_type(base: Path, tmp_path: Path) -> None:
    plan = {
        "model.embed_tokens": (96, 64, Format(8, 32), "token_embd.weight", "Q8_0"),
        "lm_head": (96, 64, Format(4, 32), "output.weight", "Q4_0"),
        "model.layers.0.mlp.down_proj": (64, 128, Format(5, 32), "blk.0.ffn_down.weight", "Q5_0"),
    }
    weights = {name: some_codes(*one[:3]) for name, one in plan.items()}
    RUNTIME.compress(base, weights, tmp_path / "out")
    tensors = gguf.GGUFReader(tmp_path / "out" / "model.gguf").tensors
    kinds = {tensor.name: tensor.tensor_type.name for tensor in tensors}
    assert {one[3]: kinds[one[3]] for one in plan.values()} == {
        one[3]: one[4] for one in plan.values()
    }
    assert kinds["blk.0.attn_q.weight"] == "BF16"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.gguf",
        "negawatt-artifact.json",
        "weights.json",
    ]


def test_a_head_with_the_embeddings_codes_is_stored_once(base: Path, tmp_path: Path) -> None:
    same = some_codes(96, 64, Format(8, 32))
    RUNTIME.compress(base, {"model.embed_tokens": same, "lm_head": same}, tmp_path / "one")
    names = {tensor.name for tensor in gguf.GGUFReader(tmp_path / "one" / "model.gguf").tensors}
    assert "token_embd.weight" in names
    assert "output.weight" not in names
    tokens = np.array([[5, 7, 9]])
    options = RunOptions(precision="exact")
    other = some_codes(96, 64, Format(4, 32))
    RUNTIME.compress(base, {"model.embed_tokens": same, "lm_head": other}, tmp_path / "two")
    RUNTIME.compress(tmp_path / "two", {"lm_head": same}, tmp_path / "three")
    with (
        RUNTIME.open(tmp_path / "one", options) as a,
        RUNTIME.open(tmp_path / "three", options) as b,
    ):
        np.testing.assert_allclose(a.forward(tokens), b.forward(tokens), atol=1e-4)


def test_the_cache_grows_and_forgets_nothing(base: Path) -> None:
    tokens = np.random.default_rng(0).integers(3, 96, (2, 1100))
    options = RunOptions(precision="exact")
    with RUNTIME.open(base, options) as session:
        whole = session.forward(tokens, keep=20)
        session.reset()
        session.forward(tokens[:, :500], keep=1)
        session.forward(tokens[:, 500:1090], keep=1)  # does not fit in the first cache
        rest = session.forward(tokens[:, 1090:])
    np.testing.assert_allclose(rest, whole[:, -10:], atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
def test_weights_are_copied_where_times_are_to_count(base: Path) -> None:
    """A copy says what the file says, and holds no page of it."""
    tokens = np.arange(12)[None]
    said = {}
    for mapped in (True, False):
        with RUNTIME.open(base, RunOptions(mapped=mapped)) as session:
            said[mapped] = session.forward(tokens)
            shown = Path("/proc/self/maps").read_text(encoding="utf-8")
        assert (str(base / "model.gguf") in shown) is mapped
    np.testing.assert_array_equal(said[True], said[False])


def test_a_token_outside_the_vocabulary_is_refused(base: Path) -> None:
    with (
        RUNTIME.open(base, RunOptions(precision="exact")) as session,
        pytest.raises(UsageError, match="vocabulary of 96"),
    ):
        session.forward(np.array([[96]]))


def test_an_exact_session_leaves_no_file(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with RUNTIME.open(base, RunOptions(precision="exact")):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_rotary_factors_are_those_of_the_library() -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = AutoConfig.for_model("llama", **SIZES, head_dim=64, rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1.0 / 500_000.0 ** (np.arange(0, 64, 2) / 64)
    found = header.rope_factors(config)
    assert found is not None
    np.testing.assert_allclose(plain / found, scaled.numpy(), rtol=1e-5)


def test_what_the_engine_would_compute_otherwise_is_refused(tmp_path: Path) -> None:
    refused = {
        "sliding window": {"model_type": "mistral", "sliding_window": 64},
        "activation": {"model_type": "llama", "hidden_act": "relu"},
        "type gpt_neox": {"model_type": "gpt_neox"},
    }
    for told, settings in refused.items():
        config = AutoConfig.for_model(**{**SIZES, **settings})
        config.save_pretrained(tmp_path / told)
        with pytest.raises(UnsupportedArchitecture, match=told):
            header.configuration(tmp_path / told)
    with pytest.raises(NotAModel):
        header.configuration(tmp_path / "nothing")


def test_a_setting_that_this_version_lacks_is_not_set_in_vain() -> None:
    settings = llamacpp_engine.api().llama_model_default_params()
    with pytest.raises(RuntimeUnavailable, match="has no setting use_mmap"):
        llamacpp_engine.filled(settings, use_mmap=False)
    assert not llamacpp_engine.filled(settings, vocab_only=False).vocab_only


def test_an_engine_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negawatt.adapters.runtimes.llamacpp_engine.PACKAGE", "no-such-package")
    with pytest.raises(RuntimeUnavailable, match=r"not installed(.|\n)*negawatt\[llamacpp\]"):
        LlamaCppRuntime()


def died(status: int) -> SimpleNamespace:
    return SimpleNamespace(returncode=status)


def test_a_build_that_dies_packed_is_used_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(command: list[str], **_: Any) -> SimpleNamespace:
        return died(-4 if command[-1] == "1" else 0)

    probe.may_pack.cache_clear()
    monkeypatch.setattr(subprocess, "run", child)
    assert probe.may_pack() is False
    probe.may_pack.cache_clear()


def test_a_build_that_dies_in_any_case_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe.may_pack.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_named: died(-4))
    with pytest.raises(RuntimeUnavailable, match=r"status -4(.|\n)*GGML_NATIVE=OFF"):
        probe.may_pack()
    probe.may_pack.cache_clear()


def test_this_build_survives_its_trial() -> None:
    probe.may_pack.cache_clear()
    assert probe.may_pack() in {True, False}


@pytest.mark.parametrize("cache", ["16", "8", "8/4", "4"])
def test_the_cache_takes_the_bytes_that_are_told(cache: Any, tmp_path: Path) -> None:
    wide = AutoConfig.for_model("llama", **SIZES, head_dim=32)
    AutoModelForCausalLM.from_config(wide).to(torch.bfloat16).save_pretrained(tmp_path / "source")
    RUNTIME.convert(tmp_path / "source", tmp_path / "base")
    with RUNTIME.open(tmp_path / "base", RunOptions(cache=cache)) as session:
        held = []
        for _ in range(2):
            session.forward(np.full((1, 100), 5), keep=1)
            held.append(len(session._taken_out(0)))  # type: ignore[attr-defined]
    told = RUNTIME.caches[cache].token_bytes(layers=1, heads=2, width=32)
    places = 20  # bytes that say where a token stands, at most
    assert told <= (held[1] - held[0]) / 100 <= told + places


def test_heads_that_are_no_whole_blocks_are_said_so(base: Path) -> None:
    with (
        RUNTIME.open(base, RunOptions(cache="8")) as session,
        pytest.raises(UsageError, match="blocks of 32"),
    ):
        session.forward(np.array([[5]]))


@pytest.mark.parametrize(
    "name", ["int6-g16x16-sym", "int5-g32x8-asym", "int4-g32x8-asym", "nl4-g32x8"]
)
def test_a_whole_model_in_blocks_of_256_is_that_of_the_decoded_weights(
    name: str, tmp_path: Path
) -> None:
    """Every layer, head and embedding; both as checks compute and as it is served."""
    wide = {"hidden_size": 256, "intermediate_size": 512}
    config = AutoConfig.for_model("llama", **{**SIZES, **wide}, tie_word_embeddings=False)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "source")
    RUNTIME.convert(tmp_path / "source", tmp_path / "base")
    fmt = Format.parse(name)
    model = model.float().eval()
    weights = {}
    for layer, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            weights[layer] = round_to_nearest(module.weight.detach(), fmt)
            module.weight.data = dequantise(weights[layer])
    RUNTIME.compress(tmp_path / "base", weights, tmp_path / "out")
    tokens = np.random.default_rng(0).integers(3, 96, (1, 12))
    with torch.inference_mode():
        expected = model(torch.from_numpy(tokens)).logits.numpy()
    with RUNTIME.open(tmp_path / "out", RunOptions(precision="exact")) as session:
        np.testing.assert_allclose(session.forward(tokens), expected, atol=1e-4)
    with RUNTIME.open(tmp_path / "out", RunOptions()) as session:
        off = np.linalg.norm(session.forward(tokens) - expected) / np.linalg.norm(expected)
    assert off < 0.05
    stored = {one.tensor_type for one in gguf.GGUFReader(tmp_path / "out/model.gguf").tensors}
    assert stored == {TYPES[fmt], gguf.GGMLQuantizationType.F32}
