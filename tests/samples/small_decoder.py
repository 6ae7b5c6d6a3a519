"""A random decoder of any family, small enough to be taken apart in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from negawatt.compress.bank import WeightBank
from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.records import Format, Layer
from negawatt.models.experts import apart

VOCABULARY = 96

_MIXTURE = {"num_experts": 4, "num_experts_per_tok": 2}
_MORE: dict[str, dict[str, Any]] = {
    "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 64},
    "gpt2": {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": 128, "resid_pdrop": 0.0},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64, "dropout": 0.0, "num_key_value_heads": 4},
    "gpt_neox": {"rotary_pct": 0.25, "num_key_value_heads": 4},
    "phi": {"partial_rotary_factor": 0.5, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    "qwen3_moe": {**_MIXTURE, "moe_intermediate_size": 32, "norm_topk_prob": True},
    "olmoe": _MIXTURE,
}


def random_decoder(family: str = "llama", *, stacked: bool = False, **changes: Any) -> Any:
    """In float32, with logits that are far from flat; experts `stacked` as the library has them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **_MORE.get(family, {}),
    }
    generator = torch.Generator().manual_seed(11)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, **{**sizes, **changes})
    ).float()
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.15 * noise if weight.ndim > 1 else 1 + 0.2 * noise)
    model = model if stacked else apart(model)
    return model.eval().requires_grad_(requires_grad=False)


def layers_of(model: Any) -> tuple[Layer, ...]:
    """Its matrices in execution order: embedding, linear layers, head."""
    found = []
    embedding = model.get_input_embeddings()
    for name, module in model.named_modules():
        if module is embedding:
            found.insert(0, Layer(name, "embedding", *module.weight.shape))
        elif isinstance(module, torch.nn.Linear):
            head = module is model.get_output_embeddings()
            tied = found[0].name if head and module.weight is embedding.weight else None
            kind = "head" if head else "linear"
            block = next((int(part) for part in name.split(".") if part.isdigit()), None)
            found.append(Layer(name, kind, *module.weight.shape, block, tied_to=tied))
    return tuple(found)


def rounded_bank(
    model: Any, layers: Sequence[Layer], formats: Sequence[Format], folder: Path
) -> WeightBank:
    """Every layer in every format that fits it, rounded to nearest."""
    bank = WeightBank(folder)
    for layer in layers:
        weight = model.get_submodule(layer.name).weight.detach()
        for fmt in formats:
            if fmt.fits(layer.cols):
                bank.put(layer.name, round_to_nearest(weight, fmt))
    return bank


def put_in(model: Any, bank: WeightBank, plan: Mapping[str, Format]) -> Any:
    """The same model with the decoded weights of a plan in the place of its own."""
    for name, weight in bank.view(plan).items():
        module = model.get_submodule(name)  # a parameter of its own, so that tied layers part
        decoded = dequantise(weight).to(module.weight.dtype)
        module.weight = torch.nn.Parameter(decoded, requires_grad=False)
    return model
