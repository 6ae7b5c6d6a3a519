"""Turning one weight matrix into integer codes, with and without second-order correction.

`round_to_nearest` needs the weights alone. `gptq` also takes the Hessian of
the layer's inputs and pushes each column's rounding error into the columns
not yet rounded (Frantar et al. 2023, arXiv 2210.17323), with scales fixed
beforehand so that columns may be visited in order of importance. What comes
out of it is then polished; see `negawatt.compress.polish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.polish import polished
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import Format, QuantisedWeight

if TYPE_CHECKING:
    from torch import Tensor

# Share of the full range that a scale may keep: clipping a few outliers often
# rounds the rest better. 1.0 is plain min-max.
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
_DAMPING = 0.03  # of the mean Hessian diagonal; more than GPTQ's 0.01, for the text is short
_FINE = 8  # bits from which there is nothing left to polish
_BLOCK = 128  # columns corrected together before the rest is updated


def fit_grid(
    weight: Tensor, fmt: Format, importance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Choose scale and zero point for every group of a matrix.

    Each candidate range is scored by the squared rounding error, weighted by
    `importance`; the best of a few is kept per group.

    Args:
        weight: float32, [rows, cols].
        fmt: A quantised format that `fits(cols)`.
        importance: Mean squared input per column, [cols]; equal when None.

    Returns:
        scale float32 and zero float32 (whole numbers), both [rows, groups].
    """
    rows, cols = weight.shape
    group = fmt.group or cols
    groups = weight.reshape(rows, cols // group, group)
    share = torch.ones(cols) if importance is None else importance / importance.mean()
    share = share.reshape(cols // group, group)
    best_error = torch.full(groups.shape[:2], torch.inf)
    best_scale = torch.ones_like(best_error)
    best_zero = torch.zeros_like(best_error)
    # Wide codes lose little to outliers, so clipping is tried where it can pay.
    for shrink in _SHRINK if fmt.bits < 8 else _SHRINK[:1]:
        scale, zero = _range_to_grid(groups, fmt, shrink)
        error = _round(groups, scale[..., None], zero[..., None], fmt.bits)
        error = error.sub_(zero[..., None]).mul_(scale[..., None]).sub_(groups).square_()
        total = error.mul_(share).sum(-1)
        better = total < best_error
        best_error = torch.where(better, total, best_error)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    if not bool(torch.isfinite(best_error).all()):
        raise BrokenWeights(
            "a matrix holds values too large for 16-bit scales",
            fix="leave this model at 16 bits; its weights are out of the usual range",
        )
    return best_scale, best_zero


def round_to_nearest(
    weight: Tensor, fmt: Format, importance: Tensor | None = None
) -> QuantisedWeight:
    """Quantise by rounding each value to its nearest level.

    Raises:
        BrokenWeights: the matrix holds NaN or infinite values.
    """
    weight = _finite(weight)
    rows, cols = weight.shape
    scale, zero = fit_grid(weight, fmt, importance)
    groups = weight.reshape(rows, scale.shape[1], -1)
    codes = _round(groups, scale[..., None], zero[..., None], fmt.bits).reshape(rows, cols)
    return _pack(codes, scale, zero, fmt)


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
        hessian = _finite(hessian)
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
        weight = _finite(weight)
        scale, zero = fit_grid(weight, fmt, self._importance)
        codes = _compensated_codes(weight, self._factor, self._order, (scale, zero), fmt)
        if self._polish and fmt.bits < _FINE:
            codes, scale = polished(weight, (codes, scale, zero), fmt, self._hessian)
        return _pack(codes, scale, zero, fmt)


def gptq(weight: Tensor, hessian: Tensor, fmt: Format) -> QuantisedWeight:
    """Quantise with second-order error compensation alone, as in the paper; see `SecondOrder`.

    Raises:
        BrokenWeights: weights or Hessian hold NaN or infinite values.
    """
    return SecondOrder(hessian, polish=False).quantise(weight, fmt)


def dequantise(quantised: QuantisedWeight, dtype: torch.dtype = torch.float32) -> Tensor:
    """The matrix that the codes stand for, [rows, cols].

    >>> weight = torch.linspace(-1, 1, 64).reshape(2, 32)
    >>> back = dequantise(round_to_nearest(weight, Format(8)))
    >>> bool((back - weight).abs().max() < 0.005)
    True
    """
    codes = torch.as_tensor(quantised.codes)
    scale = torch.as_tensor(quantised.scale)
    zero = torch.as_tensor(quantised.zero)
    rows, cols = codes.shape
    groups = codes.reshape(rows, scale.shape[1], -1).to(dtype)
    groups = groups.sub_(zero[..., None].to(dtype)).mul_(scale[..., None].to(dtype))
    return groups.reshape(rows, cols)


def _compensated_codes(
    weight: Tensor, factor: Tensor, order: Tensor, grid: tuple[Tensor, Tensor], fmt: Format
) -> Tensor:
    """Round column after column, moving each error into the columns still to come."""
    cols = weight.shape[1]
    group = (torch.arange(cols) // (fmt.group or cols))[order]
    scale, zero = (part.T.contiguous()[group] for part in grid)  # [cols, rows]
    work = weight.T.contiguous()[order]  # one column of the matrix per row, contiguous
    codes = torch.empty_like(work)
    top = float(2**fmt.bits - 1)
    for start in range(0, cols, _BLOCK):
        stop = min(start + _BLOCK, cols)
        block, inner = work[start:stop], factor[start:stop, start:stop]
        errors = torch.empty_like(block)
        for i in range(stop - start):
            s, z, column = scale[start + i], zero[start + i], block[i]
            code = torch.div(column, s).round_().add_(z).clamp_(0.0, top)
            codes[start + i] = code
            errors[i] = code.sub_(z).mul_(s).sub_(column).mul_(-1.0 / inner[i, i])
            block[i + 1 :].addr_(inner[i, i + 1 :], errors[i], alpha=-1.0)
        work[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1.0)
    restored = torch.empty_like(codes)
    restored[order] = codes
    return restored.T


def _inverse_factor(hessian: Tensor, order: Tensor) -> Tensor | None:
    """Upper Cholesky factor of the damped inverse, columns in visiting order, if there is one."""
    damped = hessian[order][:, order].double()
    diagonal = damped.diagonal()
    diagonal.copy_(_mended(diagonal))
    for strength in (_DAMPING, 10 * _DAMPING, 100 * _DAMPING):
        trial = damped.clone()
        trial.diagonal().add_(strength * diagonal.mean())
        lower, failed = torch.linalg.cholesky_ex(trial)
        if not failed:
            inverse = torch.cholesky_inverse(lower)
            del lower, trial  # the widest layers make these the job's largest matrices
            upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
            if not failed:
                return torch.as_tensor(upper, dtype=torch.float32)
    return None


def _plain_factor(diagonal: Tensor) -> Tensor:
    """What the factor is when inputs have nothing to do with each other."""
    return torch.diag(_mended(diagonal).rsqrt()).float()


def _mended(diagonal: Tensor) -> Tensor:
    """Inputs that never fire are taken to fire as others do."""
    dead = diagonal == 0
    usual = 1.0 if bool(dead.all()) else float(diagonal[~dead].mean())
    return torch.where(dead, usual, diagonal)


def _range_to_grid(groups: Tensor, fmt: Format, shrink: float) -> tuple[Tensor, Tensor]:
    if fmt.symmetric:
        half = 2 ** (fmt.bits - 1)
        # The extreme value lands on the longer, negative side of the codes.
        low, high = groups.amin(-1), groups.amax(-1)
        # Between two extremes of one size, that of the heavier side: it has more to lose.
        heavy = (high > -low) | ((high == -low) & (groups.sum(-1) > 0))
        span = torch.where(heavy, high, low) * shrink  # its sign is the scale's
        scale = span / -half if fmt.bits < 8 else span.abs() / (half - 1)
        return _safe(scale), torch.full_like(scale, float(half))
    low = groups.amin(-1).clamp_max(0.0) * shrink
    high = groups.amax(-1).clamp_min(0.0) * shrink
    top = 2**fmt.bits - 1
    scale = _safe((high - low) / top)
    return scale, torch.round(-low / scale).clamp_(0, top)


def _safe(scale: Tensor) -> Tensor:
    """Keep scales away from zero and representable in 16 bits."""
    tiny = 6e-8  # smallest float16 subnormal
    least = torch.full_like(scale, tiny).copysign(scale)
    scale = torch.where(scale.abs() < tiny, least, scale)
    return scale.half().float()


def _round(groups: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    return torch.round(groups / scale).add_(zero).clamp_(0.0, float(2**bits - 1))


def _pack(codes: Tensor, scale: Tensor, zero: Tensor, fmt: Format) -> QuantisedWeight:
    return QuantisedWeight(
        format=fmt,
        codes=codes.to(torch.uint8).contiguous().numpy(),
        scale=scale.half().numpy(),
        zero=zero.to(torch.uint8).numpy(),
    )


def _finite(values: Tensor) -> Tensor:
    values = values.detach().float()
    if not bool(torch.isfinite(values).all()):
        raise BrokenWeights(
            "a matrix holds values that are not finite numbers",
            fix="download the model again, or repair the layer before compressing it",
        )
    return values
