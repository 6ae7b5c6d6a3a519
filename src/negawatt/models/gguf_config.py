"""The `config.json` that the header of a GGUF file stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture

#: GGUF architecture -> class name. Mistral files call themselves llama.
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
}
_CONFIG_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
}
_TOKEN_KEYS = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
DOWNLOAD = "download the file again; compare its SHA-256 with the published one"


def wanted(key: str) -> bool:
    """True for header fields used here: all but the token tables, which are long."""
    return not key.startswith("tokenizer.") or key in _TOKEN_KEYS


def config_of(
    family: str,
    fields: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    factors: npt.NDArray[np.float64] | None,
) -> dict[str, Any]:
    """The `config.json` of a file.

    Args:
        family: A key of `ARCHITECTURES`.
        fields: The header, as far as it is `wanted`.
        shapes: Of every tensor, by its name in the file.
        factors: The tensor `rope_freqs.weight`, where there is one.

    Raises:
        BrokenWeights: the header lacks a size.
        UnsupportedArchitecture: blocks differ, or rotary positions are scaled in an unknown way.
    """
    config: dict[str, Any] = {"architectures": [ARCHITECTURES[family]]}
    for key, name in _CONFIG_KEYS.items():
        value = fields.get(f"{family}.{key}")
        if isinstance(value, list):
            raise UnsupportedArchitecture(
                f"GGUF key {family}.{key} differs from block to block",
                fix="give a model whose blocks are all alike",
            )
        if value is not None:
            config[name] = value
    config |= {name: fields[key] for key, name in _TOKEN_KEYS.items() if key in fields}
    needed = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
    missing = [name for name in needed if name not in config]
    if missing or "token_embd.weight" not in shapes:
        what = ", ".join(missing) or "token_embd.weight"
        raise BrokenWeights(f"the GGUF header lacks {what}", fix=DOWNLOAD)
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    head = fields.get(f"{family}.rope.dimension_count")
    config.setdefault("head_dim", head or config["hidden_size"] // config["num_attention_heads"])
    config["vocab_size"] = shapes["token_embd.weight"][0]
    config["tie_word_embeddings"] = "output.weight" not in shapes
    if family in {"llama", "qwen3"}:
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    if family == "llama":
        config["mlp_bias"] = "blk.0.ffn_gate.bias" in shapes
    if family != "gemma3":
        config.pop("sliding_window", None)
    else:  # the 27 B model, with 62 blocks, alone scales by hidden size per head
        large = config["num_hidden_layers"] == 62
        config["query_pre_attn_scalar"] = (
            config["hidden_size"] // config["num_attention_heads"] if large else config["head_dim"]
        )
    config["rope_parameters"] = _rope(family, fields, factors)
    return config


def _rope(
    family: str, fields: Mapping[str, Any], factors: npt.NDArray[np.float64] | None
) -> dict[str, Any]:
    """The rotary settings."""
    theta = float(fields.get(f"{family}.rope.freq_base") or 10_000.0)
    scaling = str(fields.get(f"{family}.rope.scaling.type") or "none")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": theta}
    if factors is not None:
        rope = _llama3_rope(factors, theta)
    elif scaling in {"linear", "yarn"}:
        rope |= {"rope_type": scaling, "factor": float(fields[f"{family}.rope.scaling.factor"])}
        original = fields.get(f"{family}.rope.scaling.original_context_length")
        if original:
            rope["original_max_position_embeddings"] = int(original)
    elif scaling != "none":
        raise UnsupportedArchitecture(
            f"rotary scaling {scaling} is not supported",
            fix="give a model with default, linear, yarn or llama3 scaling",
        )
    if family != "gemma3":
        return rope
    local = float(fields.get(f"{family}.rope.freq_base_swa") or 10_000.0)
    return {
        "full_attention": rope,
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }


def _llama3_rope(factors: npt.NDArray[np.float64], theta: float) -> dict[str, Any]:
    """The Llama 3.1 scaling whose frequency factors are exactly those stored.

    The file keeps only the resulting factor of each frequency; the four
    published settings are recovered and proved by computing the factors again.
    """
    low, high, original = 1.0, 4.0, 8192  # as published with every Llama 3.1 and 3.2 model
    factor = float(np.max(factors))
    wavelength = 2 * np.pi * theta ** (np.arange(len(factors)) / len(factors))
    smooth = np.clip((original / wavelength - low) / (high - low), 0.0, 1.0)
    again = 1.0 / ((1 - smooth) / factor + smooth)
    if not np.allclose(again, factors, rtol=1e-3):
        raise UnsupportedArchitecture(
            "the file scales rotary frequencies in a way that is not Llama 3's",
            fix="give the original safetensors model",
        )
    return {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }
