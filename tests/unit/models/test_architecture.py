from __future__ import annotations

from typing import Any

import pytest

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.models.architecture import SUPPORTED, blueprint

from .conftest import SIZES

LLAMA: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SIZES}


def test_layers_come_in_the_order_in_which_they_run() -> None:
    plan = blueprint(LLAMA | {"tie_word_embeddings": False})
    first = [layer.name.rpartition(".")[2] for layer in plan.layers[:8]]
    assert first == [
        "embed_tokens", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ]  # fmt: skip
    assert [layer.kind for layer in plan.layers] == ["embedding", *["linear"] * 14, "head"]
    assert [layer.block for layer in plan.layers] == [None, *[0] * 7, *[1] * 7, None]
    down = plan.layers[7]
    assert (down.rows, down.cols) == (64, 96)


def test_a_tied_head_is_a_layer_but_not_stored_twice() -> None:
    tied, loose = (blueprint(LLAMA | {"tie_word_embeddings": tie}) for tie in (True, False))
    assert tied.layers[-1].tied_to == "model.embed_tokens"
    assert loose.layers[-1].tied_to is None
    assert "lm_head.weight" not in tied.shapes
    assert loose.parameters - tied.parameters == 384 * 64
    assert tied.bf16_bytes == 2 * tied.parameters


def test_every_layer_has_its_weight_among_the_shapes() -> None:
    for architecture, kind in SUPPORTED.items():
        plan = blueprint({"architectures": [architecture], "model_type": kind, **SIZES})
        for layer in plan.layers:
            stored = layer.tied_to or layer.name
            assert plan.shapes[f"{stored}.weight"] == (layer.rows, layer.cols)


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["BloomForCausalLM"], "model_type": "bloom"},
        {"architectures": ["BertForMaskedLM"], "model_type": "bert"},
        {"model_type": "mamba"},
        {},
    ],
)
def test_other_families_are_refused_with_the_list(config: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedArchitecture) as caught:
        blueprint(config)
    name = (config.get("architectures") or [config.get("model_type", "unnamed")])[0]
    assert name in caught.value.what
    for known in SUPPORTED:
        assert known in caught.value.fix


def test_a_quantised_model_is_refused_by_its_method() -> None:
    with pytest.raises(UnsupportedArchitecture, match="gptq"):
        blueprint(LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}})


@pytest.mark.parametrize(
    "change", [{"hidden_size": "wide"}, {"num_attention_heads": 0}, {"hidden_act": "no such thing"}]
)
def test_a_configuration_that_contradicts_itself_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(BrokenWeights, match=r"config\.json"):
        blueprint(LLAMA | {"head_dim": None} | change)
