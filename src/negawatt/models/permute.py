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

#: Parameter -> (order of its rows, order of its columns). A vector has rows only.
_AXES: Mapping[str, tuple[str, str]] = {
    "embed_tokens.weight": ("", "residual"),
    "lm_head.weight": ("", "residual"),
    "q_proj.weight": ("", "residual"),
    "k_proj.weight": ("", "residual"),
    "v_proj.weight": ("value", "residual"),
    "v_proj.bias": ("value", ""),
    "o_proj.weight": ("residual", "mixed"),
    "o_proj.bias": ("residual", ""),
    "gate_proj.weight": ("inner", "residual"),
    "gate_proj.bias": ("inner", ""),
    "up_proj.weight": ("inner", "residual"),
    "up_proj.bias": ("inner", ""),
    "down_proj.weight": ("residual", "inner"),
    "down_proj.bias": ("residual", ""),
    "layernorm.weight": ("residual", ""),
    "norm.weight": ("residual", ""),
    "q_norm.weight": ("", ""),
    "k_norm.weight": ("", ""),
    "q_proj.bias": ("", ""),
    "k_proj.bias": ("", ""),
}


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
    """

    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    seed: int

    @classmethod
    def of(cls, config: Mapping[str, Any], seed: int) -> Shuffle:
        """The shuffle for a `config.json`."""
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        return cls(
            hidden=hidden,
            inner=int(config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            seed=seed,
        )

    def orders(self, name: str) -> tuple[Order | None, Order | None]:
        """Row and column order of one parameter; None where the order stays.

        Raises:
            KeyError: a parameter this module knows no rule for.
        """
        rows, cols = _AXES[_rule(name)]
        block = re.search(r"\.layers\.(\d+)\.", name)
        number = int(block[1]) if block else -1
        return self._order(rows, number), self._order(cols, number)

    def _order(self, kind: str, block: int) -> Order | None:
        if kind == "residual":
            return self._draw(0, 0).permutation(self.hidden)
        if kind == "inner":
            return self._draw(1, block).permutation(self.inner)
        if kind in {"value", "mixed"}:
            draw = self._draw(2, block)
            heads = [draw.permutation(self.head_dim) for _ in range(self.kv_heads)]
            if kind == "mixed":  # the output projection reads one copy per query head
                share = self.heads // self.kv_heads
                heads = [order for order in heads for _ in range(share)]
            return np.concatenate([order + i * self.head_dim for i, order in enumerate(heads)])
        return None

    def _draw(self, kind: int, block: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, kind, block + 1))


def _rule(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    last = module.rpartition(".")[2]
    # input_layernorm, post_attention_layernorm, pre_feedforward_layernorm …
    return f"layernorm.{leaf}" if last.endswith("layernorm") else f"{last}.{leaf}"
