"""Rounding learnt by signed gradient steps.

Every weight carries an offset of at most half the way to the next level, added before it is
rounded, and every group a factor on its scale; both move by the sign of the gradient of the
layer's output error, in steps that shrink to nothing (Cheng et al. 2024, arXiv 2309.05516). Here the error is
that of the layer's outputs on the calibration text, whose gradient needs the Hessian of the
inputs alone, so no text is run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.levels import Levels
from negawatt.compress.methods.rtn import Weighted
from negawatt.compress.quantise import finite, fit_grid, pack, safe

if TYPE_CHECKING:
    from torch import Tensor

    from negawatt.compress.methods import Rounder
    from negawatt.core.records import Format, QuantisedWeight

_STEPS = 200
_RATE = 1 / _STEPS  # of the first step, in steps of the grid; the sum of all is half of one
_FACTOR_RATE = 0.2 * _RATE  # of the factors on scales
_DAMPING = 0.03  # of the mean Hessian diagonal: what the text does not show may still happen


class SignRound:
    """Signed-gradient rounding; embeddings are rounded to nearest."""

    name = "signround"
    reads = True

    def prepare(self, inputs: Tensor | None) -> Rounder:
        """Damp and scale the Hessian."""
        return Weighted() if inputs is None else _Learnt(finite(inputs))


class _Learnt:
    def __init__(self, inputs: Tensor) -> None:
        diagonal = inputs.diagonal()
        mean = float(diagonal.mean())
        self._importance = diagonal.clamp_min(mean * 1e-6 + 1e-12)
        self._hessian = inputs / mean if mean > 0 else torch.eye(len(inputs))
        self._hessian.diagonal().add_(_DAMPING)

    def quantise(self, weight: Tensor, fmt: Format) -> QuantisedWeight:
        weight = finite(weight)
        scale, zero = fit_grid(weight, fmt, self._importance)
        state = _State(weight, scale, zero, fmt)
        for step in range(_STEPS):
            state.step(self._hessian, 1.0 - step / _STEPS)
        return state.best()


class _State:
    """Offsets and factors on their way, and the best codes met so far, row by row."""

    def __init__(self, weight: Tensor, scale: Tensor, zero: Tensor, fmt: Format) -> None:
        rows = len(weight)
        self._fmt, self._levels = fmt, Levels(fmt)
        self._weight = weight
        self._groups = weight.reshape(rows, scale.shape[1], -1)
        self._scale, self._zero = scale, zero
        self._offset = torch.zeros_like(self._groups)
        self._factor = torch.ones_like(scale)
        self._least = torch.full((rows,), torch.inf)
        self._found = torch.zeros_like(self._groups)
        self._kept = scale.clone()

    def step(self, hessian: Tensor, share: float) -> None:
        """Look where the present offsets lead, and move them."""
        scale = safe(self._scale * self._factor)[..., None]
        zero = self._zero[..., None]
        steps = self._groups / scale
        gap = self._levels.gap(steps)
        wanted = steps + self._offset * gap
        inside = self._levels.within(wanted + zero, gap)
        found = self._levels.snap(wanted, zero)
        level = found - zero
        off = (level * scale).sub_(self._groups).reshape(self._weight.shape)
        pulled = off @ hessian
        self._keep((pulled * off).sum(1), found, scale[..., 0])
        slope = pulled.reshape(self._groups.shape)
        # A clipped weight does not follow its offset, and its group's scale in full.
        follows = torch.where(inside, level - steps, level)
        if not self._fmt.nested:  # nested scales hang together
            self._factor -= (
                share * _FACTOR_RATE * (slope * follows).sum(-1).mul_(self._scale).sign_()
            )
        moved = (slope * scale).sign_().mul_(inside)
        self._offset.sub_(moved, alpha=share * _RATE).clamp_(-0.5, 0.5)

    def _keep(self, error: Tensor, levels: Tensor, scale: Tensor) -> None:
        better = error < self._least
        self._least = torch.where(better, error, self._least)
        self._found = torch.where(better[:, None, None], levels, self._found)
        self._kept = torch.where(better[:, None], scale, self._kept)

    def best(self) -> QuantisedWeight:
        """The rows with the least error, each from its own step."""
        return pack(self._found.reshape(self._weight.shape), self._kept, self._zero, self._fmt)
