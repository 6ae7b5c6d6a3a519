"""Keys and values in room that was set aside, as serving engines keep them.

The usual cache of transformers copies the whole context for every token that is written. What that
costs says little of the device.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer


class _Placed(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer: new keys and values are written behind the kept ones, which stay where they are."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rooms = (keys, values)  # [batch, heads, room, head size], twice
        self.lazy_initialization(keys, values)
        self._reach(length)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append, and return all there is."""
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        for room, new in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, start:stop] = new
        return self._reach(stop)

    def _reach(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (room[:, :, :length] for room in self._rooms)
        self.keys, self.values = keys, values
        return keys, values


def kept(settings: Any, batch: int, context: int, more: int, device: torch.device) -> DynamicCache:
    """A context that nobody wrote, as large as if somebody had, in bfloat16.

    Args:
        settings: Of the model.
        batch: Sequences.
        context: Tokens kept of each.
        more: Tokens for which there is room behind them.
        device: Where.
    """
    size = settings.hidden_size // settings.num_attention_heads
    shape = (batch, settings.num_key_value_heads, context + more, size)
    cache = DynamicCache(config=settings)
    with torch.inference_mode():
        for layer in range(settings.num_hidden_layers):
            keys = torch.randn(shape, dtype=torch.float32, device=device).to(torch.bfloat16)
            cache.layers[layer] = _Placed(keys, keys.clone(), context)
    return cache
