"""How the loss of a model changes when a channel is turned up, on text.

The loss is what the model itself would be surprised by: for a decoder the next token of the
text, for a classifier a label drawn from its own answer, for a model of vectors a random
direction of the text's vector. Squared and averaged, the last two are the diagonal of how its
answers move, so no labels are needed.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.compress.pruning.answers import Answering

_SEED = 0


def gate_slopes(
    model: Any,
    way: Answering,
    readers: Sequence[str],
    windows: NDArray[np.int64],
    on_text: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Tensor]:
    """Derivatives by gates of 1 in front of some matrices, float32 [windows, cols] by name.

    Args:
        model: In evaluation mode, no weight of it asking for gradients; left as it is.
        way: How it answers.
        readers: Names of the matrices.
        windows: Text, int64 [windows, positions].
        on_text: Told how many windows of how many are done.
    """
    gates = {
        name: torch.ones(model.get_submodule(name).in_features, requires_grad=True)
        for name in readers
    }
    found = {name: torch.empty(len(windows), len(gate)) for name, gate in gates.items()}
    draw = torch.Generator().manual_seed(_SEED)
    with ExitStack() as stack:
        for name, gate in gates.items():
            handle = model.get_submodule(name).register_forward_pre_hook(_gated(gate))
            stack.callback(handle.remove)
        for number, window in enumerate(windows):
            tokens = torch.from_numpy(window)[None]
            loss = _surprise(way, way.said(model, tokens), tokens, draw)
            slopes = torch.autograd.grad(loss, list(gates.values()))
            for name, slope in zip(gates, slopes, strict=True):
                found[name][number] = slope
            on_text(number + 1, len(windows))
    return found


def _gated(gate: Tensor) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
    return lambda _, args: (args[0] * gate, *args[1:])


def _surprise(way: Answering, said: Tensor, tokens: Tensor, draw: torch.Generator) -> Tensor:
    if way.keyed:  # a decoder: the next token
        return functional.cross_entropy(said[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    if way.ending == "logits":
        flat = said.reshape(-1, said.shape[-1])
        labels = torch.multinomial(flat.detach().softmax(-1), 1, generator=draw)[:, 0]
        return functional.cross_entropy(flat, labels)
    vectors = functional.normalize(way.vectors(said), dim=-1)
    direction = torch.randn(vectors.shape[-1], generator=draw)
    return (vectors @ direction).sum()
