"""Gated layers: a model whose weights are a differentiable mixture of candidates.

Each layer computes with `W + Σ_k g_k (W_k - W)`, where `W_k` is candidate `k`
from the weight bank and `g` a row of gates. With every gate at zero it is the
base model; with one gate at one it is exactly that candidate. The mixture is
rebuilt from disk in the forward and again in the backward pass, so memory
holds the base weights and one layer's temporaries, whatever the number of
candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from negawatt.compress.quantise import dequantise
from negawatt.models.halves import product

if TYPE_CHECKING:
    from negawatt.compress.bank import WeightBank
    from negawatt.core.records import Format
    from negawatt.energy.units import Unit

_ROWS = 4096  # rows handled at a time, so that a large head needs no large temporary
_SILENT = 1e-3  # gates below this are left out of the mixture, not of the gradient


class Deltas:
    """Differences between a layer's candidates and its base weights, read on demand."""

    def __init__(
        self, bank: WeightBank, layer: str, formats: Sequence[Format], weight: Tensor
    ) -> None:
        self._bank, self._layer, self._formats, self._weight = bank, layer, formats, weight

    def __len__(self) -> int:
        return len(self._formats)

    def block(self, k: int, rows: slice) -> Tensor:
        """Rows of `W_k - W`, in the base's own type, [rows, cols]."""
        quantised = self._bank.get(self._layer, self._formats[k], rows)
        return dequantise(quantised, self._weight.dtype).sub_(self._weight[rows])

    def take(self, k: int, index: Tensor) -> Tensor:
        """The rows named by `index`, [*index.shape, cols]."""
        return self.block(k, slice(None))[index]


class _GatedProduct(torch.autograd.Function):
    """x (W + Σ g_k D_k)ᵀ, with gradients for x and for the gates of every sequence."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gates: Tensor, weight: Tensor, deltas: Deltas) -> Tensor:
        ctx.save_for_backward(x, gates)
        ctx.weight, ctx.deltas = weight, deltas
        return torch.cat(
            [product(x, block.T) for _, block in _mixed(weight, gates, deltas)], dim=-1
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (grad,) = grads  # [batch, positions, rows]
        x, gates = ctx.saved_tensors
        grad_x, grad_gates = torch.zeros_like(x), torch.zeros_like(gates)
        for rows, block in _mixed(ctx.weight, gates, ctx.deltas):
            part = grad[..., rows]
            grad_x += product(part, block)
            for k in range(gates.shape[-1]):
                # <grad, x D^T> at every position, summed over those that share a gate
                pulled = product(part, ctx.deltas.block(k, rows))
                found = (pulled * x).sum(-1, dtype=torch.float32)  # [batch, positions]
                grad_gates[..., k] += found.view(*gates.shape[:2], -1).sum(-1)
        return grad_x, grad_gates, None, None


def _mixed(weight: Tensor, gates: Tensor, deltas: Deltas) -> Iterator[tuple[slice, Tensor]]:
    """The mixture in blocks of rows; all sequences and positions share their gates' values."""
    shares = gates[0, 0].tolist()
    for start in range(0, weight.shape[0], _ROWS):
        rows = slice(start, min(start + _ROWS, weight.shape[0]))
        block = weight[rows]
        for k, share in enumerate(shares):
            if abs(share) > _SILENT:
                block = block.add(deltas.block(k, rows), alpha=share)
        yield rows, block


class _Gated(nn.Module):
    """What both kinds of gated layer share: base weights, candidates and current gates."""

    def __init__(self, base: nn.Module, deltas: Deltas) -> None:
        super().__init__()
        self.base = base
        self.weight = cast("Tensor", base.weight)
        self.deltas = deltas
        self.gates: Tensor | None = None  # [batch, positions or 1, candidates], float32


class _GatedLinear(_Gated):
    def forward(self, x: Tensor) -> Tensor:
        if self.gates is None:
            return cast("Tensor", self.base(x))
        product = cast("Any", _GatedProduct.apply)(x, self.gates, self.weight, self.deltas)
        bias = cast("Tensor | None", self.base.bias)
        return cast("Tensor", product if bias is None else product + bias)


class _GatedEmbedding(_Gated):
    def forward(self, index: Tensor) -> Tensor:
        rows = cast("Tensor", self.base(index))
        if self.gates is None:
            return rows
        # Some families multiply the rows they read: their differences alike.
        factor = getattr(self.base, "scalar_embed_scale", 1.0)
        for k in range(len(self.deltas)):
            gate = (factor * self.gates[..., k, None]).to(rows.dtype)
            rows = rows + gate * self.deltas.take(k, index)
        return rows


class GatedModel:
    """A Hugging Face decoder with gates in front of every unit that has candidates.

    Args:
        model: Its modules are replaced in place; give it up afterwards.
        parts: The units to gate, in order; the layers of one share its gates.
        formats: Candidates; a unit gets those that fit all its layers, and
            stays plain when none does.
        bank: Where the candidates are.
        reach: How far below the top the engine computes logits of a narrow head again; see
            `Runtime.second_look`. [nat]
    """

    def __init__(
        self,
        model: nn.Module,
        parts: Sequence[Unit],
        formats: Sequence[Format],
        bank: WeightBank,
        *,
        reach: float | None = None,
    ) -> None:
        self.model = model.requires_grad_(requires_grad=False)
        self.candidates = {
            unit.name: fitting for unit in parts if (fitting := unit.candidates(formats))
        }
        self._modules: dict[str, list[_Gated]] = {}
        for unit in parts:
            for layer in unit.layers if unit.name in self.candidates else ():
                base = model.get_submodule(layer.name)
                deltas = Deltas(bank, layer.name, self.candidates[unit.name], _weight(base))
                kind = _GatedEmbedding if layer.kind == "embedding" else _GatedLinear
                gated = kind(base, deltas)
                model.set_submodule(layer.name, gated)
                self._modules.setdefault(unit.name, []).append(gated)
        self._head = cast("nn.Module", cast("Any", model).get_output_embeddings())
        self._reach = reach if isinstance(self._head, _GatedLinear) else None
        # Blocks are run again in the backward pass instead of keeping what they computed.
        cast("Any", model).activation_checkpointing_enable({"use_reentrant": False})
        model.train()

    @property
    def options(self) -> list[tuple[str, Format]]:
        """Every (unit, candidate) pair in the order of the gates' columns."""
        return [(name, fmt) for name, formats in self.candidates.items() for fmt in formats]

    def set_gates(self, gates: Tensor | None) -> None:
        """Use these gates from now on; the base model when None.

        Args:
            gates: float32, [batch, options], or [batch, positions, options];
                rows must be equal in value, and may each ask for a gradient
                of their own.
        """
        if gates is not None and gates.ndim == 2:
            gates = gates[:, None]
        at = 0
        for name, formats in self.candidates.items():
            width = len(formats)
            part = None if gates is None else gates[..., at : at + width]
            for module in self._modules[name]:
                module.gates = part
            at += width

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final hidden states of int64 [batch, positions], [batch, positions, width]."""
        body = cast("Any", self.model).base_model
        return cast("Tensor", body(input_ids=tokens, use_cache=False).last_hidden_state)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of some hidden states, float32, [batch, positions, vocabulary]."""
        found = cast("Tensor", self._head(hidden)).float()
        if self._reach is None or cast("_Gated", self._head).gates is None:
            return found
        return self._looked_again(hidden, found, self._reach)

    def _looked_again(self, hidden: Tensor, found: Tensor, reach: float) -> Tensor:
        """Leading logits as the base has them.

        A second look takes them from 8 bits or more, whose own loss is left out here: it is
        a fiftieth of that of 4 bits.
        """
        weight = cast("_Gated", self._head).weight
        with torch.no_grad():
            base = hidden @ weight.T
            near = base > base.amax(-1, keepdim=True) - reach
            rows = near.flatten(0, -2).any(0).nonzero()[:, 0]
        again = (hidden @ weight[rows].T).float()
        mended = torch.where(near[..., rows], again, found[..., rows])
        return found.index_copy(-1, rows, mended)


def _weight(module: nn.Module) -> Tensor:
    return cast("Tensor", module.weight).detach()
