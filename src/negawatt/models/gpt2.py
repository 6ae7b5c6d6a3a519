"""GPT-2 as the OPT decoder that computes exactly the same.

GPT-2 stores its matrices transposed, and query, key and value as one. OPT has the same blocks
(learned positions, layer norms before, biases, an ungated feed-forward) with plain linear
layers apart. So a GPT-2 is written down anew once, when it is prepared, and everything later
(methods, engines, exports) meets ordinary layers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture

if TYPE_CHECKING:
    import torch

    from negawatt.models.checkpoint import Rows, Weights

ARCHITECTURE = "GPT2LMHeadModel"
KIND = "gpt2"
NOTE = (
    "GPT-2 keeps its matrices transposed and query, key and value as one; it is written here as "
    "the OPT decoder with the same weights, which computes the same, and exported as such."
)

_PAD = 2  # rows of positions that OPT keeps before the first one
_EPSILON = 1e-5  # of OPT's layer norms, which cannot be set

#: Settings that would make GPT-2 compute what OPT cannot: name, the value that OPT has.
_FIXED: Mapping[str, object] = MappingProxyType(
    {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "layer_norm_epsilon": _EPSILON,
    }
)


def is_gpt2(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is one of GPT-2.

    >>> is_gpt2({"model_type": "gpt2"}), is_gpt2({"architectures": ["LlamaForCausalLM"]})
    (True, False)
    """
    named = config.get("architectures") or ()
    return ARCHITECTURE in named or (not named and config.get("model_type") == KIND)


def as_opt(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the OPT decoder that computes what this GPT-2 does.

    >>> as_opt({"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9})["ffn_dim"]
    32

    Raises:
        UnsupportedArchitecture: it uses a setting that OPT does not have.
    """
    for key, usual in _FIXED.items():
        if config.get(key, usual) != usual:
            raise UnsupportedArchitecture(
                f"{ARCHITECTURE} with {key} = {config[key]} is not supported",
                fix=f"give a GPT-2 with {key} = {usual}, as all published ones have",
            )
    width = config.get("n_embd", 768)
    special = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "quantization_config")
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": 50257,
        "pad_token_id": None,  # OPT has one of its own otherwise
        **{key: config[key] for key in special if key in config},
        "hidden_size": width,
        "word_embed_proj_dim": width,
        "ffn_dim": config.get("n_inner") or 4 * width,
        "num_hidden_layers": config.get("n_layer", 12),
        "num_attention_heads": config.get("n_head", 12),
        "max_position_embeddings": config.get("n_positions", 1024),
        "activation_function": config.get("activation_function", "gelu_new"),
        "tie_word_embeddings": config.get("tie_word_embeddings", True),
        "do_layer_norm_before": True,
        "dropout": 0.0,
    }


@dataclass(frozen=True, slots=True)
class _From:
    """Where the rows of one parameter of OPT come from: columns of a transposed one, or rows."""

    source: str
    transposed: bool = False
    part: int = 0
    parts: int = 1
    pad: int = 0  # rows of zeros before the first


_BLOCK: Mapping[str, _From] = MappingProxyType(
    {
        **{
            f"self_attn.{name}_proj": _From("attn.c_attn", transposed=True, part=i, parts=3)
            for i, name in enumerate("qkv")
        },
        "self_attn.out_proj": _From("attn.c_proj", transposed=True),
        "self_attn_layer_norm": _From("ln_1"),
        "final_layer_norm": _From("ln_2"),
        "fc1": _From("mlp.c_fc", transposed=True),
        "fc2": _From("mlp.c_proj", transposed=True),
    }
)
_REST: Mapping[str, _From] = MappingProxyType(
    {
        "model.decoder.embed_tokens": _From("wte"),
        "model.decoder.embed_positions": _From("wpe", pad=_PAD),
        "model.decoder.final_layer_norm": _From("ln_f"),
    }
)


class Gpt2AsOpt:
    """The tensors of a GPT-2 checkpoint under the names and in the shapes of OPT.

    Args:
        weights: Of the checkpoint.
        names: Parameters of the OPT decoder.

    Raises:
        BrokenWeights: one that OPT needs is not there.
    """

    def __init__(self, weights: Weights, names: Mapping[str, tuple[int, ...]]) -> None:
        self._weights = weights
        stem = "transformer." if "transformer.wte.weight" in weights.shapes else ""
        self._from = {name: _place(name, stem) for name in names}
        used = {place.source for place in self._from.values()}
        lacking = sorted(used - set(weights.shapes))
        if lacking:
            raise BrokenWeights(
                f"{len(lacking)} tensors are missing, first {lacking[0]}",
                fix="download the model again, with every weight file",
            )
        self._rest = {n: shape for n, shape in weights.shapes.items() if n not in used}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of OPT's parameters, and of what the checkpoint holds besides."""
        return {name: self._shape(place) for name, place in self._from.items()} | self._rest

    def read(self, name: str, rows: Rows) -> torch.Tensor:
        """Some rows of one of OPT's parameters, in float32."""
        import torch

        if name in self._rest:
            return self._weights.read(name, rows)
        place = self._from[name]
        whole = self._weights.read(place.source, slice(None))
        if place.transposed and whole.ndim > 1:
            whole = whole.T
        height = whole.shape[0] // place.parts
        own = whole[place.part * height : (place.part + 1) * height]
        if place.pad:
            own = torch.cat([own.new_zeros(place.pad, *own.shape[1:]), own])
        return own[rows if isinstance(rows, slice) else torch.from_numpy(rows)].contiguous()

    def _shape(self, place: _From) -> tuple[int, ...]:
        shape = self._weights.shapes[place.source]
        first, *rest = reversed(shape) if place.transposed else shape
        return (first // place.parts + place.pad, *rest)


def _place(name: str, stem: str) -> _From:
    module, _, leaf = name.rpartition(".")
    inside = re.fullmatch(r"model\.decoder\.layers\.(\d+)\.(.+)", module)
    if inside:
        place, path = _BLOCK[inside[2]], f"{stem}h.{inside[1]}."
    else:
        place, path = _REST.get(module) or _From(module), stem if module in _REST else ""
    source = f"{path}{place.source}.{leaf}"
    return _From(source, place.transposed, place.part, place.parts, place.pad)
