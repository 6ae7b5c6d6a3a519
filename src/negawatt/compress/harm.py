"""How far rounding an input moves an encoder's answer, to second order, from a few backward passes.

A gate in front of every inlet goes from the value (0) to its levels (1). For small changes the
distance of the answers is `½ gᵀ F g`. For unit vectors `1 - cosine` is half the squared length of
the move, so `F = JᵀJ` with `J` the slopes of the vector by the gates, which random directions
sample; for labels and tokens `F` is the Fisher information, sampled by labels drawn from the
model's own prediction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from negawatt.compress.activations import restored_input
from negawatt.compress.quantise import dequantise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.compress.bank import BankView
    from negawatt.compress.mixed import Inlet
    from negawatt.core.records import InputGrid
    from negawatt.models.encoder import Ending

_BATCH = 4  # texts in a pass
_DRAWS = 4  # of directions or labels, each a backward pass


def with_codes(model: Any, weights: BankView) -> Any:
    """The model with the values of its codes as weights, in place."""
    for name in weights:
        module = model.get_submodule(name)
        values = dequantise(weights[name], module.weight.dtype)
        module.weight = torch.nn.Parameter(values, requires_grad=False)
    return model


def slopes(
    model: Any,
    gated: tuple[Sequence[Inlet], Mapping[str, InputGrid]],
    windows: NDArray[np.int64],
    ending: tuple[Ending, str],
    *,
    seed: int,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float64]:
    """Sampled slopes of an encoder's answers by gates in front of its inlets.

    Args:
        model: In float32, with the weights that it is served with; left as it is.
        gated: Inlets, and how each layer's input would be rounded.
        windows: Text, int64 [texts, positions].
        ending: What the model ends in, and how vectors of positions become one.
        seed: Of directions and labels.
        on_batch: Told how many texts of how many are done.

    Returns:
        [samples, inlets], so that `½ scoresᵀ scores / samples` foresees distances.
    """
    inlets, grids = gated
    draw = torch.Generator().manual_seed(seed)
    gates = _Gates(model, inlets, grids)
    found = []
    try:
        for start in range(0, len(windows), _BATCH):
            tokens = torch.from_numpy(windows[start : start + _BATCH])
            leaf = gates.set(len(tokens))
            with torch.enable_grad():
                answer = _answer(model(input_ids=tokens), *ending)
                for last in range(_DRAWS - 1, -1, -1):
                    aim = _aim(answer, ending[0], draw)
                    (slope,) = torch.autograd.grad(aim, leaf, retain_graph=last > 0)
                    found.append(slope.double().numpy())
            on_batch(min(start + _BATCH, len(windows)), len(windows))
    finally:
        gates.remove()
    return np.concatenate(found)


class _Gates:
    """Hooks that mix a value with its levels by a gate of each text."""

    def __init__(self, model: Any, inlets: Sequence[Inlet], grids: Mapping[str, InputGrid]) -> None:
        self._values: Tensor | None = None
        self._count = len(inlets)
        self._handles = [
            model.get_submodule(name).register_forward_pre_hook(self._hook(at, grids[name]))
            for at, inlet in enumerate(inlets)
            for name in inlet.layers
        ]

    def set(self, texts: int) -> Tensor:
        """Gates at 0 for so many texts, [texts, inlets]; slopes are asked for by them."""
        self._values = torch.zeros(texts, self._count, requires_grad=True)
        return self._values

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, at: int, grid: InputGrid) -> Any:
        def mixed(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x, values = given[0], self._values
            if values is None:
                return given
            # The rounding error as it is: what the levels do to its own slope is of no account.
            off = restored_input(x.detach(), grid) - x.detach()
            return (x + values[:, at, None, None] * off,)

        return mixed


def _answer(said: Any, kind: Ending, pooling: str) -> Tensor:
    """Unit vectors [texts, width], or log-probabilities [texts, answers, labels]."""
    if kind == "embedding":
        states = said.last_hidden_state
        vector: Tensor = states[:, 0] if pooling == "cls" else states.mean(1)
        unit: Tensor = vector / vector.norm(dim=-1, keepdim=True)
        return unit
    logits: Tensor = said.logits.log_softmax(-1)
    return logits[:, None] if kind == "labels" else logits


def _aim(answer: Tensor, kind: Ending, draw: torch.Generator) -> Tensor:
    """A number of one text each, summed, whose squared slopes are the distance they cause."""
    if kind == "embedding":
        along: Tensor = (answer * torch.randn(answer.shape, generator=draw)).sum()
        return along
    flat = answer.detach().exp().flatten(0, 1)
    labels = torch.multinomial(flat, 1, generator=draw)
    picked = answer.flatten(0, 1).gather(1, labels)
    told: Tensor = picked.sum() / answer.shape[1] ** 0.5
    return told
