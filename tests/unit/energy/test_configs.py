"""Sizes of models, from their configurations alone."""

from __future__ import annotations

from typing import Any

import pytest

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.energy.configs import anatomy_of
from negawatt.models.architecture import blueprint

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
QWEN_30B_A3B = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "vocab_size": 151936,
    "decoder_sparse_step": 1,
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "vocab_size": 201088,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "sliding_window": 128,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "vocab_size": 50257,
    "n_positions": 1024,
}
BERT = {
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
}


@pytest.mark.parametrize(
    ("config", "stored", "kept"),
    [
        (LLAMA_8B, 8_030_261_248, 65_536),
        (QWEN_30B_A3B, 30_532_122_624, 49_152),
        (DEEPSEEK_V3, 671_026_404_352, 35_136),
        (GPT_OSS_20B, 20_914_757_184, 24_576),
        (GPT2, 124_439_808, 18_432),
        (BERT, 109_482_240, 18_432),
    ],
)
def test_parameters_are_those_that_were_published(
    config: dict[str, Any], stored: float, kept: float
) -> None:
    found = anatomy_of(config)
    assert found.parameters == pytest.approx(stored, rel=0.006)
    assert found.kept_per_token == kept


@pytest.mark.parametrize(
    ("config", "active"), [(QWEN_30B_A3B, 3.35e9), (DEEPSEEK_V3, 37.5e9), (GPT_OSS_20B, 3.61e9)]
)
def test_a_token_passes_few_experts(config: dict[str, Any], active: float) -> None:
    found = anatomy_of(config)
    looked_up = sum(one.values for one in found.matrices if one.role == "embedding")
    # Some publish them with the table that is looked up, some without.
    told = [found.active, found.active + looked_up]
    assert min(abs(one / active - 1) for one in told) < 0.03
    assert found.active < found.parameters / 5


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 32}),
        ("gemma3_text", {"head_dim": 32, "sliding_window": 16}),
        ("mistral", {"sliding_window": None}),
    ],
)
def test_matrices_are_those_that_the_library_of_models_builds(
    kind: str, more: dict[str, Any]
) -> None:
    config = {
        "model_type": kind,
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "intermediate_size": 200,
        "vocab_size": 300,
        **more,
    }
    plan, found = blueprint(config), anatomy_of(config)
    by_role = {
        role: sum(one.values for one in found.matrices if one.role == role)
        for role in ("attention", "ffn")
    }
    for role, part in (("attention", ".self_attn."), ("ffn", ".mlp.")):
        assert by_role[role] == sum(layer.weights for layer in plan.layers if part in layer.name)
    assert found.parameters == pytest.approx(plan.parameters, rel=0.01)


def test_a_model_of_several_kinds_of_input_is_its_text_model() -> None:
    whole = {"model_type": "gemma3", "text_config": {**LLAMA_8B, "model_type": "gemma3_text"}}
    inner = anatomy_of(whole)
    assert inner.layers == 32
    assert not any(one.role == "embedding" for one in inner.matrices)  # its table is its head


def test_hybrids_have_states_that_do_not_grow_with_the_text() -> None:
    config = {
        "model_type": "nemotron_h",
        "hidden_size": 4480,
        "num_hidden_layers": 8,
        "hybrid_override_pattern": "M-M*-M-M",
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 15680,
        "vocab_size": 131072,
        "mamba_num_heads": 128,
        "mamba_head_dim": 80,
        "ssm_state_size": 128,
        "n_groups": 8,
    }
    found = anatomy_of(config)
    assert [cache.layer for cache in found.caches if cache.state] == [0, 2, 5, 7]
    assert {cache.state for cache in found.caches if cache.state} == {128 * 80 * 128}
    assert found.kept_per_token == 2 * 8 * 128
    assert sum(one.role == "ffn" for one in found.matrices) == 3


@pytest.mark.parametrize(
    "missing", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"]
)
def test_a_missing_size_is_named(missing: str) -> None:
    config = {key: value for key, value in LLAMA_8B.items() if key != missing}
    with pytest.raises(BrokenWeights, match=missing):
        anatomy_of(config)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_size": -4}, "hidden_size is -4"),
        ({"hidden_size": 4097}, "4097 does not divide"),
        ({"num_key_value_heads": 5}, "cannot share 5"),
        ({"num_hidden_layers": 1.5}, "num_hidden_layers is 1.5"),
        ({"num_local_experts": 4, "num_experts_per_tok": 8}, "8 of 4 experts"),
        ({"num_local_experts": 4}, "num_experts_per_tok"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BrokenWeights, match=told):
        anatomy_of(LLAMA_8B | change)


@pytest.mark.parametrize("kind", ["albert", "dbrx", "nemotron-nas", "electra"])
def test_a_family_whose_sizes_stand_elsewhere_is_refused_rather_than_misread(kind: str) -> None:
    with pytest.raises(UnsupportedArchitecture, match=kind):
        anatomy_of(LLAMA_8B | {"model_type": kind})


def test_a_family_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(UnsupportedArchitecture, match="WhisperModel") as caught:
        anatomy_of({"model_type": "whisper", "architectures": ["WhisperModel"]})
    assert "llama" in caught.value.fix
