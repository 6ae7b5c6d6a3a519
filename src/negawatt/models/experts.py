"""Mixtures of experts with every matrix as a layer of its own.

The library keeps the experts of a block as two arrays with three axes, which are no layers:
nothing can watch their inputs, replace one of them or give it a format. Checkpoints name them
one by one, and so does everything here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_STACKED = 3  # axes: expert, rows, columns


class Expert(nn.Module):
    """One gated feed-forward block.

    Args:
        gate_up: [2 inner, hidden], gate above up; its memory is used as it is.
        down: [hidden, inner]
        act: What the gate is bent by.
    """

    def __init__(self, gate_up: Tensor, down: Tensor, act: Any) -> None:
        super().__init__()
        gate, up = gate_up.chunk(2)
        self.gate_proj, self.up_proj, self.down_proj = map(_linear, (gate, up, down))
        self.act_fn = act

    def forward(self, states: Tensor) -> Tensor:
        """States [tokens, hidden] to [tokens, hidden]."""
        bent: Tensor = self.act_fn(self.gate_proj(states)) * self.up_proj(states)
        out: Tensor = self.down_proj(bent)
        return out


class Experts(nn.ModuleList):
    """The experts of a block, in the place of the library's own stack of them.

    Each is given the tokens that were sent to it. While a graph is traced or gradients are
    taken every expert is given every token, and what a token was not sent to counts nothing:
    the same values, without choices that a graph cannot hold.
    """

    def forward(self, states: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """The mixture for [tokens, hidden].

        Args:
            states: What enters the block.
            chosen: Experts each token is sent to, int64 [tokens, k].
            shares: How much each of them counts, [tokens, k].
        """
        out = torch.zeros_like(states)
        traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        if self.training or traced:
            numbers = torch.arange(len(self), device=chosen.device)
            weights = ((chosen[..., None] == numbers) * shares[..., None]).sum(1)  # [tokens, n]
            for i, one in enumerate(self):
                out = out + (one(states) * weights[:, i, None]).to(out.dtype)
            return out
        for number in sorted({*chosen.flatten().tolist()}):
            token, slot = (chosen == number).nonzero(as_tuple=True)
            given: Tensor = self[number](states[token]) * shares[token, slot, None]
            out.index_add_(0, token, given.to(out.dtype))
        return out


def apart(model: Any) -> Any:
    """The same model, changed in place, with a layer for every matrix of every expert.

    >>> block = nn.Module()
    >>> block.experts = nn.Module()
    >>> block.experts.gate_up_proj = nn.Parameter(torch.ones(2, 6, 4))
    >>> block.experts.down_proj = nn.Parameter(torch.ones(2, 4, 3))
    >>> block.experts.act_fn = nn.SiLU()
    >>> sorted(name for name, _ in apart(block).named_parameters())[:2]
    ['experts.0.down_proj.weight', 'experts.0.gate_proj.weight']
    """
    for name, module in list(model.named_modules()):
        both: Any = getattr(module, "gate_up_proj", None)
        if isinstance(both, nn.Parameter) and both.ndim == _STACKED:
            stack: Any = module
            pairs = zip(both.data, stack.down_proj.data, strict=True)
            parted = Experts(Expert(two, down, stack.act_fn) for two, down in pairs)
            model.set_submodule(name, parted.train(module.training))
    return model


def _linear(weight: Tensor) -> nn.Linear:
    rows, cols = weight.shape
    layer = nn.Linear(cols, rows, bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
