"""Second-order error compensation: what one column loses, the columns after it make up for.

The Hessian of the layer's inputs says how much an error in one column can be undone by the
others, so each column's rounding error is pushed into those not yet rounded (Frantar et al.
2023, arXiv 2210.17323). Scales are fixed beforehand, so that columns may be visited in order
of importance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.levels import Levels
from negawatt.compress.methods.factor import inverse_factor
from negawatt.compress.methods.polish import polished
from negawatt.compress.methods.rtn import Weighted
from negawatt.compress.quantise import finite, fit_grid, pack

if TYPE_CHECKING:
    from torch import Tensor

    from negawatt.compress.methods import Rounder
    from negawatt.core.records import Format, QuantisedWeight

_DAMPING = 0.03  # of the mean Hessian diagonal; more than GPTQ's 0.01, for the text is short
_FINE = 8  # bits from which there is nothing left to polish
_BLOCK = 128  # columns corrected together before the rest is updated


class Gptq:
    """The compensation alone, as in the paper; embeddings are rounded to nearest."""

    name = "gptq"
    reads = True

    def prepare(self, inputs: Tensor | None) -> Rounder:
        """Factor the Hessian once for all formats."""
        return Weighted() if inputs is None else SecondOrder(inputs, polish=False)


class Polished:
    """The compensation, and codes and scales improved afterwards; see `polish`."""

    name = "polished"
    reads = True

    def prepare(self, inputs: Tensor | None) -> Rounder:
        """Factor the Hessian once for all formats."""
        return Weighted() if inputs is None else SecondOrder(inputs)


class SecondOrder:
    """What the inputs of a layer say about rounding it: Hessian, factored once for all formats.

    Args:
        hessian: float32, [cols, cols], the sum of outer products of the
            layer's inputs. Inputs that never fire (a zero diagonal) are
            rounded plainly.
        polish: Whether to improve codes and scales afterwards.

    Raises:
        BrokenWeights: the Hessian holds NaN or infinite values.
    """

    def __init__(self, hessian: Tensor, *, polish: bool = True) -> None:
        hessian = finite(hessian)
        diagonal = hessian.diagonal()
        self._order = torch.argsort(diagonal, descending=True, stable=True)
        factor = _inverse_factor(hessian, self._order)
        # A Hessian that no damping mends says nothing beyond its diagonal.
        self._factor = _plain_factor(diagonal[self._order]) if factor is None else factor
        self._polish = polish and factor is not None
        self._importance = diagonal.clamp_min(diagonal.mean() * 1e-6 + 1e-12)
        self._hessian = hessian

    def quantise(self, weight: Tensor, fmt: Format) -> QuantisedWeight:
        """Quantise [rows, cols] weights; `fmt` must fit their columns.

        Raises:
            BrokenWeights: the matrix holds NaN or infinite values.
        """
        weight = finite(weight)
        scale, zero = fit_grid(weight, fmt, self._importance)
        levels = _compensated(weight, self._factor, self._order, (scale, zero), fmt)
        if self._polish and fmt.bits < _FINE:
            levels, scale = polished(weight, (levels, scale, zero), fmt, self._hessian)
        return pack(levels, scale, zero, fmt)


def _compensated(
    weight: Tensor, factor: Tensor, order: Tensor, grid: tuple[Tensor, Tensor], fmt: Format
) -> Tensor:
    """Levels, column after column, each error moved into the columns still to come."""
    cols = weight.shape[1]
    group = (torch.arange(cols) // (fmt.group or cols))[order]
    scale, zero = (part.T.contiguous()[group] for part in grid)  # [cols, rows]
    work = weight.T.contiguous()[order]  # one column of the matrix per row, contiguous
    found, levels = torch.empty_like(work), Levels(fmt)
    for start in range(0, cols, _BLOCK):
        stop = min(start + _BLOCK, cols)
        block, inner = work[start:stop], factor[start:stop, start:stop]
        errors = torch.empty_like(block)
        for i in range(stop - start):
            s, z, column = scale[start + i], zero[start + i], block[i]
            level = levels.snap(torch.div(column, s), z)
            found[start + i] = level
            errors[i] = level.sub_(z).mul_(s).sub_(column).mul_(-1.0 / inner[i, i])
            block[i + 1 :].addr_(inner[i, i + 1 :], errors[i], alpha=-1.0)
        work[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1.0)
    restored = torch.empty_like(found)
    restored[order] = found
    return restored.T


def _inverse_factor(hessian: Tensor, order: Tensor) -> Tensor | None:
    """Upper Cholesky factor of the damped inverse, columns in visiting order, if there is one."""
    diagonal = _mended(hessian.diagonal()[order]).double()
    for strength in (_DAMPING, 10 * _DAMPING, 100 * _DAMPING):
        damped = _ordered(hessian, order)
        damped.diagonal().copy_(diagonal + strength * diagonal.mean())
        factor = inverse_factor(damped)
        if factor is not None:
            return factor
    return None


def _ordered(hessian: Tensor, order: Tensor) -> Tensor:
    """Rows and columns in visiting order, float64, without a copy beside it."""
    found = torch.empty(hessian.shape, dtype=torch.float64)
    for at in range(0, len(order), _BLOCK):
        found[at : at + _BLOCK] = hessian[order[at : at + _BLOCK]][:, order]
    return found


def _plain_factor(diagonal: Tensor) -> Tensor:
    """What the factor is when inputs have nothing to do with each other."""
    return torch.diag(_mended(diagonal).rsqrt()).float()


def _mended(diagonal: Tensor) -> Tensor:
    """Inputs that never fire are taken to fire as others do."""
    dead = diagonal == 0
    usual = 1.0 if bool(dead.all()) else float(diagonal[~dead].mean())
    return torch.where(dead, usual, diagonal)
