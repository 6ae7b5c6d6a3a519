"""One forward pass with nothing kept inside, for engines that trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from negawatt.adapters.runtimes.torch_session import ending

_INFERENCE = "_jit_pass_onnx_graph_shape_type_inference"  # of the exporter


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Let the exporter work out shapes without the values of matrices.

    Told of them it copies every one, hollow or not: twice the 16-bit weights. Their shapes stand
    in the graph itself.
    """
    inside = import_module("torch._C")
    known = getattr(inside, _INFERENCE, None)
    if known is None:  # another exporter: it takes what it takes
        yield
        return

    def inferred(graph: Any, params: Mapping[str, Any], opset: int) -> None:
        known(graph, {k: v for k, v in params.items() if 0 not in v.stride()}, opset)

    setattr(inside, _INFERENCE, inferred)
    try:
        yield
    finally:
        setattr(inside, _INFERENCE, known)


class Step(torch.nn.Module):
    """A decoder whose cache comes in and goes out with every call."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: torch.Tensor,  # int64 [batch, new]
        mask: torch.Tensor,  # int64 [batch, past + new], all ones
        positions: torch.Tensor,  # int64 [batch, new]
        keep: torch.Tensor,  # int64 [kept], which of the new positions get logits
        *past: torch.Tensor,  # key, value of each block, float32 [batch, heads, past, width]
    ) -> tuple[torch.Tensor, ...]:
        """Logits of the kept positions, then every key and value with the new ones appended."""
        cache: Any = DynamicCache()
        new_layer: Callable[[], Any] = DynamicLayer
        # Filling the layers avoids `update` on an empty cache, which traces a
        # concatenation with a tensor of rank 0.
        for keys, values in zip(past[0::2], past[1::2], strict=True):
            layer: Any = new_layer()
            layer.keys, layer.values, layer.is_initialized = keys, values, True
            layer.dtype, layer.device = keys.dtype, keys.device
            cache.layers.append(layer)
        logits = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        present = [t for layer in cache.layers for t in (layer.keys, layer.values)]
        return (logits.float(), *present)


class Reading(torch.nn.Module):
    """An encoder with the inputs and the output that its graph has."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the model ends in, [batch, positions or 1, width]."""
        return ending(self.model(input_ids=tokens, attention_mask=mask))


def cache_shape(model: Any) -> tuple[int, int]:
    """Key-value heads, and the width of one."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return heads, width
