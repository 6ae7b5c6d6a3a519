"""Reorder the channels of a decoder without changing what it computes.

Three kinds of channel can be put in any order, as long as everything that
writes them and everything that reads them agrees: the residual stream, the
inner channels of each feed-forward block, and the value channels of each
key-value head. Blocks of neighbouring weights then mix many old blocks, and
weights that lay on an old quantisation grid lie on none.

Query and key rows stay: rotary positions and their norms know them by place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.int64]

#: Matrix or norm -> (order of its rows, order of its columns). A bias goes with the rows.
_AXES: Mapping[str, tuple[str, str]] = {
    "embed_tokens": ("", "residual"),
    "embed_in": ("", "residual"),
    "embed_positions": ("", "residual"),
    "lm_head": ("", "residual"),
    "embed_out": ("", "residual"),
    "q_proj": ("", "residual"),
    "k_proj": ("", "residual"),
    "v_proj": ("value", "residual"),
    "query_key_value": ("by head", "residual"),  # query, key and value of the first head, ...
    "qkv_proj": ("by part", "residual"),  # all queries, all keys, all values
    "o_proj": ("residual", "mixed"),
    "out_proj": ("residual", "mixed"),
    "dense": ("residual", "mixed"),
    "gate": ("", "residual"),  # which experts a token is sent to
    "gate_proj": ("inner", "residual"),
    "up_proj": ("inner", "residual"),
    "gate_up_proj": ("inner twice", "residual"),
    "fc1": ("inner", "residual"),
    "dense_h_to_4h": ("inner", "residual"),
    "down_proj": ("residual", "inner"),
    "fc2": ("residual", "inner"),
    "dense_4h_to_h": ("residual", "inner"),
    "layernorm": ("residual", ""),
    "norm": ("residual", ""),
    # These normalise queries and keys.
    "q_norm": ("", ""),
    "k_norm": ("", ""),
    "q_layernorm": ("", ""),
    "k_layernorm": ("", ""),
}


#: Families whose heads all have keys and values of their own and share the width evenly.
_EVEN_HEADS = ("opt", "gpt_neox")


@dataclass(frozen=True, slots=True)
class Shuffle:
    """One order for every kind of channel, drawn from a seed.

    Args:
        hidden: Residual channels.
        inner: Feed-forward channels of a block.
        heads: Query heads.
        kv_heads: Key-value heads; each serves `heads / kv_heads` query heads.
        head_dim: Channels of a head.
        seed: The same seed gives the same order on every machine.
        expert_inner: Feed-forward channels of one expert; those of a block when 0.
    """

    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    seed: int
    expert_inner: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any], seed: int) -> Shuffle:
        """The shuffle for a `config.json`."""
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        if config.get("model_type") in _EVEN_HEADS:
            config = {**config, "num_key_value_heads": heads, "head_dim": hidden // heads}
        return cls(
            hidden=hidden,
            inner=int(config.get("ffn_dim") or config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            seed=seed,
            expert_inner=int(config.get("moe_intermediate_size") or 0),
        )

    def orders(self, name: str) -> tuple[Order | None, Order | None]:
        """Row and column order of one parameter; None where the order stays.

        Raises:
            KeyError: a parameter this module knows no rule for.
        """
        module, _, leaf = name.rpartition(".")
        rows, cols = _AXES[_rule(module)]
        block = re.search(r"\.layers\.(\d+)\.", name)
        expert = re.search(r"\.experts\.(\d+)\.", name)
        place = (int(block[1]) if block else -1, int(expert[1]) if expert else None)
        return self._order(rows, *place), self._order("" if leaf == "bias" else cols, *place)

    def _order(self, kind: str, block: int, expert: int | None) -> Order | None:
        if kind == "residual":
            return self._draw(0, 0).permutation(self.hidden)
        if kind == "inner":
            return self._inner(block, expert)
        if kind == "inner twice":
            inner = self._inner(block, expert)
            return np.concatenate([inner, inner + self.inner])
        if kind in {"value", "mixed", "by part", "by head"}:
            return self._mixing(kind, self._heads(block))
        return None

    def _inner(self, block: int, expert: int | None) -> Order:
        if expert is None:
            return self._draw(1, block).permutation(self.inner)
        draw = self._draw(1, block, expert)
        return draw.permutation(self.expert_inner or self.inner)

    def _heads(self, block: int) -> list[Order]:
        """Order of the value channels within each key-value head."""
        draw = self._draw(2, block)
        return [draw.permutation(self.head_dim) for _ in range(self.kv_heads)]

    def _mixing(self, kind: str, heads: list[Order]) -> Order:
        """Rows that make values, or columns that read what attention mixed of them."""
        width = self.head_dim
        if kind == "mixed":  # the output projection reads one copy per query head
            share = self.heads // self.kv_heads
            heads = [order for order in heads for _ in range(share)]
        if kind == "by head":
            stay = np.arange(2 * width)
            heads = [np.concatenate([stay, order + 2 * width]) for order in heads]
            width *= 3
        values = np.concatenate([order + i * width for i, order in enumerate(heads)])
        if kind == "by part":
            first = (self.heads + self.kv_heads) * width
            return np.concatenate([np.arange(first), values + first])
        return values

    def _draw(self, kind: int, block: int, *more: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, kind, block + 1, *more))


def _rule(module: str) -> str:
    last = module.rpartition(".")[2]
    if last in _AXES:
        return last
    # input_layernorm, post_attention_layernorm, self_attn_layer_norm, final_layer_norm ...
    return "layernorm" if last.endswith(("layernorm", "layer_norm")) else last
