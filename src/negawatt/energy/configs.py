"""From a `config.json` to an `Anatomy`, with neither weights nor any library of models.

Families name the same sizes in different ways; every name that is understood stands here once.
What a configuration does not say is never guessed silently: a missing size is an error that names
its field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.energy.anatomy import OUTSIDE, Anatomy, Cache, Matrix
from negawatt.energy.families import ENCODERS, GATED, TIED, UNGATED

#: Names of one size, the commonest first.
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_FFN = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_EXPERTS_USED = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk")


def anatomy_of(config: Mapping[str, Any], name: str = "") -> Anatomy:
    """Read sizes from a configuration.

    Args:
        config: Of a decoder or an encoder, as Hugging Face writes it; what a model of several
            kinds of input has in `text_config` is what counts.
        name: What to call the model; its own name when empty.

    Raises:
        UnsupportedArchitecture: of a family that is not known here.
        BrokenWeights: a size is missing, or sizes contradict each other.

    >>> plain = {
    ...     "model_type": "llama",
    ...     "hidden_size": 64,
    ...     "num_hidden_layers": 5,
    ...     "num_attention_heads": 8,
    ...     "num_key_value_heads": 4,
    ...     "intermediate_size": 172,
    ...     "vocab_size": 512,
    ...     "tie_word_embeddings": True,
    ... }
    >>> anatomy_of(plain).parameters
    260032.0
    """
    kind = str(config.get("model_type", ""))
    architectures = [str(one) for one in config.get("architectures") or ()]
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        tied = {k: config[k] for k in ("tie_word_embeddings",) if k in config}
        config = {**tied, **inner}
        kind = str(inner.get("model_type", kind))
    if kind not in GATED | UNGATED:
        what = ", ".join(architectures) or kind or "an unnamed architecture"
        known = ", ".join(sorted(GATED | UNGATED))
        raise UnsupportedArchitecture(
            f"the sizes of {what} are not understood",
            fix=f"give a config.json whose model_type is one of: {known}",
        )
    sizes = _Sizes(config, kind)
    matrices = (*_tables(sizes), *_all_layers(sizes))
    named = str(name or config.get("_name_or_path") or (architectures or [kind])[0])
    return Anatomy(
        name=named,
        architecture=(architectures or [kind])[0],
        family="encoder" if kind in ENCODERS else "decoder",
        hidden=sizes.hidden,
        layers=sizes.layers,
        vocabulary=sizes.vocabulary,
        matrices=matrices,
        caches=tuple(_caches(sizes)),
        experts=sizes.experts,
        experts_used=sizes.experts_used,
        others=_others(sizes),
    )


def heads_of(config: Mapping[str, Any]) -> dict[str, int]:
    """`layers`, `heads` of keys and values in each, and the `width` of one, of a decoder.

    >>> heads_of({"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 9, "n_inner": 128})
    {'layers': 2, 'heads': 4, 'width': 16}

    Raises:
        BrokenWeights: a size is missing, or sizes contradict each other.
    """
    sizes = _Sizes(config, str(config.get("model_type", "")))
    return {"layers": sizes.layers, "heads": sizes.kv_heads, "width": sizes.head_dim}


class _Sizes:
    """A configuration under one set of names."""

    def __init__(self, config: Mapping[str, Any], kind: str) -> None:
        self._config, self.kind = config, kind
        self.hidden = self.whole(*_HIDDEN)
        self.layers = self.whole(*_LAYERS)
        self.heads = self.whole(*_HEADS)
        self.vocabulary = self.whole("vocab_size")
        self.kv_heads = self._kv_heads()
        self.head_dim = self.whole("head_dim", "attention_head_dim", default=0) or self._divided()
        self.ffn = self.whole(*_FFN, default=0) or 4 * self.hidden
        self.experts = self.whole(*_EXPERTS, default=0) or 1
        self.experts_used = self._experts_used()
        self.tied = bool(config.get("tie_word_embeddings", kind in TIED or kind in ENCODERS))
        self.biased = kind in UNGATED
        if self.heads % self.kv_heads:
            raise BrokenWeights(
                f"{self.heads} heads cannot share {self.kv_heads} heads of keys and values",
                fix="restore the config.json that was published with the weights",
            )

    def whole(self, *names: str, default: int | None = None) -> int:
        """A positive whole number under one of several names."""
        for name in names:
            value = self._config.get(name)
            if value is None or isinstance(value, bool):
                continue
            if not isinstance(value, int | float) or value != int(value) or value < 0:
                raise BrokenWeights(
                    f"{name} is {value!r}, which is no size",
                    fix="restore the config.json that was published with the weights",
                )
            if value > 0 or default is not None:
                return int(value)
        if default is None:
            raise BrokenWeights(
                f"config.json does not say {names[0]}",
                fix=f"add {names[0]}, as in the config.json published with the weights",
            )
        return default

    def listed(self, name: str) -> list[Any]:
        """A list of the configuration, or an empty one."""
        value = self._config.get(name)
        return list(value) if isinstance(value, list | tuple) else []

    def _kv_heads(self) -> int:
        if self._config.get("multi_query") and not self._config.get("new_decoder_architecture"):
            return 1
        return self.whole(*_KV_HEADS, default=0) or self.heads

    def _divided(self) -> int:
        if self.hidden % self.heads:
            raise BrokenWeights(
                f"a width of {self.hidden} does not divide among {self.heads} heads",
                fix="restore the config.json that was published with the weights",
            )
        return self.hidden // self.heads

    def _experts_used(self) -> int:
        if self.experts == 1:
            return 1
        used = self.whole(*_EXPERTS_USED)
        if used > self.experts:
            raise BrokenWeights(
                f"a token cannot pass {used} of {self.experts} experts",
                fix="restore the config.json that was published with the weights",
            )
        return used

    @property
    def gate(self) -> int:
        """Matrices into the feed-forward block."""
        return 2 if self.kind in GATED else 1

    @property
    def expert_ffn(self) -> int:
        """Width within one expert."""
        return self.whole("moe_intermediate_size", default=0) or self.ffn

    @property
    def shared_ffn(self) -> int:
        """Width within what every token of an expert layer passes."""
        if self.kind.startswith("llama4"):
            return self.ffn
        shared = self.whole("shared_expert_intermediate_size", default=0)
        return shared or self.whole("n_shared_experts", default=0) * self.expert_ffn

    def has_experts(self, layer: int) -> bool:
        """True when a layer's feed-forward block is made of experts."""
        if self.experts == 1 or layer in self.listed("mlp_only_layers"):
            return False
        if layer < self.whole("first_k_dense_replace", default=0):
            return False
        if self.kind.startswith("llama4"):
            step = self.whole("interleave_moe_layer_step", default=0) or 1
            return layer in (self.listed("moe_layers") or range(step - 1, self.layers, step))
        step = self.whole("decoder_sparse_step", "moe_layer_freq", default=0) or 1
        return (layer + (1 if "decoder_sparse_step" in self._config else 0)) % step == 0

    def plain_ffn(self) -> int:
        """Width of the feed-forward block in a layer without experts."""
        return self.whole("intermediate_size_mlp", default=0) or self.ffn

    def pattern(self, layer: int) -> str:
        """What a layer of a hybrid is: M a state, * attention, - a feed-forward block."""
        text = str(self._config.get("hybrid_override_pattern") or "")
        return text[layer] if layer < len(text) else ""

    def window(self, layer: int) -> float:
        """Tokens that a layer looks back at most."""
        width = self.whole("sliding_window", default=0) or math.inf
        kinds = self.listed("layer_types")
        if kinds:
            return width if layer < len(kinds) and "sliding" in str(kinds[layer]) else math.inf
        every = self.whole("sliding_window_pattern", default=0)
        if every:
            return math.inf if (layer + 1) % every == 0 else width
        used = self._config.get("use_sliding_window", self.kind in {"mistral", "phi3"})
        return width if used else math.inf


@dataclass(frozen=True, slots=True)
class _Latent:
    """Attention that keeps one short vector of each token, from which keys and values are made."""

    kv: int
    rope: int
    nope: int
    value: int
    query: int

    def weights(self, hidden: int, heads: int) -> float:
        """Of all matrices of one layer."""
        asked = heads * (self.nope + self.rope)
        query = self.query * (hidden + asked) if self.query else hidden * asked
        kept = hidden * (self.kv + self.rope) + self.kv * heads * (self.nope + self.value)
        return query + kept + heads * self.value * hidden


def _latent(sizes: _Sizes) -> _Latent | None:
    kv = sizes.whole("kv_lora_rank", default=0)
    if not kv:
        return None
    return _Latent(
        kv=kv,
        rope=sizes.whole("qk_rope_head_dim"),
        nope=sizes.whole("qk_nope_head_dim"),
        value=sizes.whole("v_head_dim"),
        query=sizes.whole("q_lora_rank", default=0),
    )


def _tables(sizes: _Sizes) -> Iterator[Matrix]:
    table = float(sizes.vocabulary * sizes.hidden)
    if sizes.kind in ENCODERS:
        yield Matrix("embedding", OUTSIDE, "embedding", table, 0.0, float(sizes.hidden))
    elif sizes.tied:
        yield Matrix("head", OUTSIDE, "head", table, table)
    else:
        yield Matrix("embedding", OUTSIDE, "embedding", table, 0.0, float(sizes.hidden))
        yield Matrix("head", OUTSIDE, "head", table, table)


def _all_layers(sizes: _Sizes) -> Iterator[Matrix]:
    for layer in range(sizes.layers):
        kind = sizes.pattern(layer)
        if kind in {"", "*"}:
            weights = _attention(sizes)
            yield Matrix("attention", layer, "attention", weights, weights)
        if kind == "M":
            weights = _state_weights(sizes)
            yield Matrix("state", layer, "state", weights, weights)
        if kind in {"", "-"}:
            yield from _feed_forward(sizes, layer)


def _attention(sizes: _Sizes) -> float:
    latent = _latent(sizes)
    if latent is not None:
        return latent.weights(sizes.hidden, sizes.heads)
    out = sizes.hidden * sizes.heads * sizes.head_dim
    return float(2 * out + 2 * sizes.hidden * sizes.kv_heads * sizes.head_dim)


def _feed_forward(sizes: _Sizes, layer: int) -> Iterator[Matrix]:
    ways = sizes.gate + 1
    if not sizes.has_experts(layer):
        weights = float(ways * sizes.hidden * sizes.plain_ffn())
        yield Matrix("ffn", layer, "ffn", weights, weights)
        return
    one = float(ways * sizes.hidden * sizes.expert_ffn)
    router = float(sizes.hidden * sizes.experts)
    yield Matrix("router", layer, "router", router, router)
    yield Matrix("experts", layer, "expert", one * sizes.experts, one * sizes.experts_used)
    if sizes.shared_ffn:
        shared = float(ways * sizes.hidden * sizes.shared_ffn)
        yield Matrix("shared expert", layer, "ffn", shared, shared)


def _state_weights(sizes: _Sizes) -> float:
    """Of a layer of the Mamba-2 kind: into states and gates, and back."""
    inner = sizes.whole("mamba_num_heads") * sizes.whole("mamba_head_dim")
    groups = sizes.whole("n_groups", "mamba_n_groups", default=0) or 1
    mixed = inner + 2 * groups * sizes.whole("ssm_state_size", "mamba_d_state")
    into = sizes.hidden * (inner + mixed + sizes.whole("mamba_num_heads"))
    return float(into + sizes.whole("conv_kernel", default=4) * mixed + inner * sizes.hidden)


def _caches(sizes: _Sizes) -> Iterator[Cache]:
    latent = _latent(sizes)
    for layer in range(sizes.layers):
        kind = sizes.pattern(layer)
        if kind == "M":
            inner = sizes.whole("mamba_num_heads") * sizes.whole("mamba_head_dim")
            yield Cache(layer, 0.0, state=inner * sizes.whole("ssm_state_size", "mamba_d_state"))
        elif latent is not None:
            kept = float(latent.kv + latent.rope)
            yield Cache(layer, kept, scored=sizes.heads * (2.0 * latent.kv + latent.rope))
        elif kind in {"", "*"}:
            kept = 2.0 * sizes.kv_heads * sizes.head_dim
            scored = 2.0 * sizes.heads * sizes.head_dim
            yield Cache(layer, kept, sizes.window(layer), scored=scored)


def _others(sizes: _Sizes) -> float:
    """Norms, biases and learned positions: near a thousandth of a model, so counted roughly."""
    norms = (2 * sizes.layers + 1) * sizes.hidden * (2 if sizes.biased else 1)
    if not sizes.biased:
        return float(norms)
    biases = sizes.layers * (5 * sizes.hidden + sizes.ffn)
    learned = sizes.kind in ENCODERS or sizes.kind in {"gpt2", "opt", "gpt_bigcode"}
    positions = sizes.whole("max_position_embeddings", "n_positions", default=0) if learned else 0
    return float(norms + biases + positions * sizes.hidden)
