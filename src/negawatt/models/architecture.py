"""Which families of decoder can be taken apart, and what each must consist of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.core.records import Layer
from negawatt.models import gpt2
from negawatt.models.quiet import quiet

#: Class name in `config.json` -> its `model_type`. All are decoders whose matrices are linear
#: layers; GPT-2, whose are not, is read as the OPT that computes the same (see `models.gpt2`).
SUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "LlamaForCausalLM": "llama",
        "MistralForCausalLM": "mistral",
        "Qwen2ForCausalLM": "qwen2",
        "Qwen3ForCausalLM": "qwen3",
        "Gemma3ForCausalLM": "gemma3_text",
        "SmolLM3ForCausalLM": "smollm3",
        "OPTForCausalLM": "opt",
        "GPTNeoXForCausalLM": "gpt_neox",
        "PhiForCausalLM": "phi",
        "Phi3ForCausalLM": "phi3",
        "Qwen3MoeForCausalLM": "qwen3_moe",
        "OlmoeForCausalLM": "olmoe",
    }
)

#: Keys of `config.json` that say how the *source* was stored, not what it is.
_STORAGE_KEYS = ("quantization_config", "torch_dtype", "dtype", "auto_map", "_name_or_path")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a complete model of one configuration consists of.

    Args:
        architecture: Class name, one of `SUPPORTED`.
        config: The normalised `config.json`: bfloat16, not quantised.
        shapes: Every stored parameter in execution order; a tied head is left out.
        layers: The weight matrices in execution order, a tied head included.
    """

    architecture: str
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Stored values, shared ones counted once."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def bf16_bytes(self) -> int:
        """Size of the weights in bfloat16. [B]"""
        return 2 * self.parameters


def architecture_of(config: Mapping[str, Any]) -> str:
    """The class name a `config.json` stands for.

    >>> architecture_of({"model_type": "llama"})
    'LlamaForCausalLM'

    Raises:
        UnsupportedArchitecture: it is none of `SUPPORTED`, or already quantised.
    """
    if gpt2.is_gpt2(config):
        config = gpt2.as_opt(config)
    named = [str(name) for name in config.get("architectures") or ()]
    by_type = {kind: name for name, kind in SUPPORTED.items()}
    if not named and config.get("model_type") in by_type:
        named = [by_type[config["model_type"]]]
    found = next((name for name in named if name in SUPPORTED), None)
    if found is None:
        what = ", ".join(named) or str(config.get("model_type") or "an unnamed architecture")
        raise UnsupportedArchitecture(
            f"{what} is not supported",
            fix=f"give one of: {', '.join(SUPPORTED)}, {gpt2.ARCHITECTURE}",
        )
    stored = config.get("quantization_config")
    if stored:
        method = stored.get("quant_method", "an unnamed method")
        raise UnsupportedArchitecture(
            f"the weights are already quantised ({method})",
            fix="give the model it was made from, with weights in bfloat16, float16 or float32",
        )
    return found


def blueprint(config: Mapping[str, Any]) -> Blueprint:
    """Work out parameters, shapes and layers from a `config.json`, without weights.

    Raises:
        UnsupportedArchitecture: see `architecture_of`.
        BrokenWeights: the configuration contradicts itself.
    """
    architecture = architecture_of(config)
    if gpt2.is_gpt2(config):
        config = gpt2.as_opt(config)
    plain = {key: value for key, value in config.items() if key not in _STORAGE_KEYS}
    plain |= {"architectures": [architecture], "model_type": SUPPORTED[architecture]}
    try:
        model, tied = _skeleton(plain)
    except Exception as error:  # the library checks settings in ways and classes of its own
        raise BrokenWeights(
            f"config.json does not describe a working {architecture}: {error}",
            fix="restore the config.json that was published with the weights",
        ) from error
    layers = _layers(model, tied=tied)
    shapes = {
        name: tuple(value.shape)
        for name, value in model.state_dict().items()
        if not (tied and name == f"{layers[-1].name}.weight")
    }
    plain["dtype"] = "bfloat16"
    return Blueprint(architecture, plain, shapes, layers)


def _skeleton(config: Mapping[str, Any]) -> tuple[Any, bool]:
    """The module tree on the meta device, which holds shapes and no values."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from negawatt.models.experts import apart

    with quiet(), torch.device("meta"):
        kind = str(config["model_type"])
        rest = {key: value for key, value in config.items() if key != "model_type"}
        settings = AutoConfig.for_model(kind, **rest)
        model = AutoModelForCausalLM.from_config(settings)  # type: ignore[no-untyped-call]
    return apart(model), bool(settings.tie_word_embeddings)


def _layers(model: Any, *, tied: bool) -> tuple[Layer, ...]:
    from torch import nn

    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    found: list[Layer] = []
    source = ""
    for name, module in model.named_modules():
        if module is embedding:
            source = name
            rows, cols = module.weight.shape
            found.append(Layer(name, "embedding", rows, cols))
        elif module is head:
            rows, cols = module.weight.shape
            found.append(Layer(name, "head", rows, cols, tied_to=source if tied else None))
        elif isinstance(module, nn.Linear):
            block = re.search(r"\.layers\.(\d+)\.", name)
            rows, cols = module.weight.shape
            number = int(block[1]) if block else None
            found.append(Layer(name, "linear", rows, cols, number, share=_share(model, name)))
    return tuple(found)


def _share(model: Any, name: str) -> float:
    """Of the tokens that go through a layer."""
    if ".experts." not in name:
        return 1.0
    experts = len(model.get_submodule(name.partition(".experts.")[0] + ".experts"))
    return float(model.config.num_experts_per_tok / experts)
