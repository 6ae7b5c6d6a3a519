"""What a GGUF file says about a model besides its weights, from the Hugging Face configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter, RopeScalingType
from transformers import AutoConfig

from negawatt.core.errors import NotAModel, UnsupportedArchitecture

#: `model_type` of a configuration -> architecture of the file.
FAMILIES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma3",
    "smollm3": "smollm3",
}
_ACTIVATIONS = {"gemma3": {"gelu_pytorch_tanh"}}
_NO_ROPE_STEP = 4  # the engine leaves out rotary positions in every fourth block of SmolLM3
_OTHER_ENGINE = "use the runtime openvino or torch for this model"


def configuration(folder: Path) -> Any:
    """The text part of the configuration in `folder`, checked for what the engine cannot do.

    Raises:
        NotAModel: there is no readable configuration.
        UnsupportedArchitecture: the engine would compute something else.
    """
    try:
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise NotAModel(
            f"{folder} holds no causal language model: {error}",
            fix="give a Hugging Face model folder: config.json and *.safetensors",
        ) from error
    told = _difference(config)
    if told:
        raise UnsupportedArchitecture(f"llama.cpp {told}", fix=_OTHER_ENGINE)
    return config


def _difference(config: Any) -> str | None:
    """What the engine would do otherwise than the model asks; None when nothing."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        return f"adapter does not know models of type {config.model_type}"
    act = getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)
    if act not in _ACTIVATIONS.get(family, {"silu"}):
        return f"runs this family with another activation than {act}"
    if family == "gemma3":
        if config.query_pre_attn_scalar != config.head_dim:
            return "scales the attention of Gemma by the width of a head alone"
        return None
    if _window(config) < config.max_position_embeddings:
        return f"has no sliding window for models of type {config.model_type}"
    if family == "smollm3":
        want = [(i + 1) % _NO_ROPE_STEP != 0 for i in range(config.num_hidden_layers)]
        if [bool(used) for used in config.no_rope_layers] != want:
            return f"leaves out rotary positions in every {_NO_ROPE_STEP}th block"
    return None


def _window(config: Any) -> float:
    """Positions a block looks back over; infinite without a window."""
    window = getattr(config, "sliding_window", None)
    if window is None or getattr(config, "use_sliding_window", True) is False:
        return float("inf")
    return float(window)


def head_width(config: Any) -> int:
    """Values of one attention head."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(width)


def write_header(writer: GGUFWriter, config: Any) -> None:
    """Sizes and settings of the model."""
    width = head_width(config)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(width)
    if config.model_type == "gemma3_text":
        _gemma(writer, config)
    else:
        _rope(writer, config.rope_parameters)


def _gemma(writer: GGUFWriter, config: Any) -> None:
    rope = config.rope_parameters
    sliding = [kind == "sliding_attention" for kind in config.layer_types]
    if any(sliding):  # the engine aborts when told of a window that no block has
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern(sliding)
        writer.add_rope_freq_base_swa(float(rope["sliding_attention"]["rope_theta"]))
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    _rope(writer, rope["full_attention"])


def _rope(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    kind = rope.get("rope_type", "default")
    if kind in {"linear", "yarn"}:
        writer.add_rope_scaling_type(RopeScalingType(kind))
        writer.add_rope_scaling_factor(float(rope["factor"]))
        if "original_max_position_embeddings" in rope:
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif kind not in {"default", "llama3"}:
        raise UnsupportedArchitecture(
            f"llama.cpp adapter does not know rotary scaling {kind}", fix=_OTHER_ENGINE
        )


def rope_factors(config: Any) -> npt.NDArray[np.float32] | None:
    """What Llama 3.1 divides each rotary frequency by, float32 [width / 2]; None elsewhere.

    Source: the published rule of Llama 3.1, as in the `llama3` rotary type of transformers.
    """
    rope = config.rope_parameters
    if rope.get("rope_type") != "llama3":
        return None
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    width = head_width(config)
    exponents = np.arange(0, width, 2) / width
    wavelength = 2 * np.pi * float(rope["rope_theta"]) ** exponents
    turns = rope["original_max_position_embeddings"] / wavelength
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1.0 / ((1.0 - smooth) / rope["factor"] + smooth), dtype=np.float32)


def file_order(name: str, config: Any) -> Sequence[int] | None:
    """Which row of a model's query or key matrix each row of the file is; None when alike.

    Llama's files put values next to each other that rotary positions turn together:
    row h*d + 2*i + s of the file is row h*d + s*d/2 + i of the model.
    """
    heads = {".q_proj": config.num_attention_heads, ".k_proj": config.num_key_value_heads}
    count = next((n for part, n in heads.items() if f"{part}." in f"{name}."), None)
    if FAMILIES[config.model_type] != "llama" or count is None:
        return None
    rows = count * head_width(config)
    order = np.arange(rows).reshape(count, 2, rows // count // 2).swapaxes(1, 2).reshape(-1)
    return [int(row) for row in order]
