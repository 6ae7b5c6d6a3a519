"""Keys and values in room that was set aside, and looked at in groups, as serving engines do.

The usual cache of transformers copies the whole context for every token that is written, and on a CPU
PyTorch looks at it once for each head although several heads share it. What that costs says little
of the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

#: Name under which transformers knows `grouped`.
GROUPED = "negawatt_grouped"


def grouped(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in which heads that share keys look at them together; see `register`.

    Args:
        module: Asked for nothing; transformers hands it in.
        query: [batch, heads, tokens, head size]
        key: [batch, kv heads, context, head size]
        value: The same.
        attention_mask: None where one token looks at all before it.
        kwargs: For the way of PyTorch, which several tokens at once go.

    Returns:
        [batch, tokens, heads, head size]
    """
    batch, heads, tokens, size = query.shape
    if tokens > 1 or attention_mask is not None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return found, None
    rows = query.reshape(batch, key.shape[1], -1, size)
    seen = functional.scaled_dot_product_attention(rows, key, value, scale=kwargs.get("scaling"))
    return seen.reshape(batch, heads, tokens, size).transpose(1, 2).contiguous(), None


def register() -> None:
    """Make `grouped` known to transformers; again changes nothing."""
    ALL_ATTENTION_FUNCTIONS.register(GROUPED, grouped)
    ALL_MASK_ATTENTION_FUNCTIONS.register(GROUPED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


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
