"""Integer codes for one weight matrix: the grid they lie on, rounding to it, and the way back.

What chooses codes more cleverly than rounding stands in `negawatt.compress.methods`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.core.errors import BrokenWeights
from negawatt.core.records import Format, QuantisedWeight

if TYPE_CHECKING:
    from torch import Tensor

# Share of the full range that a scale may keep: clipping a few outliers often
# rounds the rest better. 1.0 is plain min-max.
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


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
        error = rounded(groups, scale[..., None], zero[..., None], fmt.bits)
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
    weight = finite(weight)
    rows, cols = weight.shape
    scale, zero = fit_grid(weight, fmt, importance)
    groups = weight.reshape(rows, scale.shape[1], -1)
    codes = rounded(groups, scale[..., None], zero[..., None], fmt.bits).reshape(rows, cols)
    return pack(codes, scale, zero, fmt)


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


def _range_to_grid(groups: Tensor, fmt: Format, shrink: float) -> tuple[Tensor, Tensor]:
    if fmt.symmetric:
        half = 2 ** (fmt.bits - 1)
        # The extreme value lands on the longer, negative side of the codes.
        low, high = groups.amin(-1), groups.amax(-1)
        # Between two extremes of one size, that of the heavier side: it has more to lose.
        heavy = (high > -low) | ((high == -low) & (groups.sum(-1) > 0))
        span = torch.where(heavy, high, low) * shrink  # its sign is the scale's
        scale = span / -half if fmt.bits < 8 else span.abs() / (half - 1)
        return safe(scale), torch.full_like(scale, float(half))
    low = groups.amin(-1).clamp_max(0.0) * shrink
    high = groups.amax(-1).clamp_min(0.0) * shrink
    top = 2**fmt.bits - 1
    scale = safe((high - low) / top)
    return scale, torch.round(-low / scale).clamp_(0, top)


def safe(scale: Tensor) -> Tensor:
    """Keep scales away from zero and representable in 16 bits."""
    tiny = 6e-8  # smallest float16 subnormal
    least = torch.full_like(scale, tiny).copysign(scale)
    scale = torch.where(scale.abs() < tiny, least, scale)
    return scale.half().float()


def rounded(groups: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """Codes of the nearest levels, as float32 of the shape of `groups`."""
    return torch.round(groups / scale).add_(zero).clamp_(0.0, float(2**bits - 1))


def pack(codes: Tensor, scale: Tensor, zero: Tensor, fmt: Format) -> QuantisedWeight:
    """Codes [rows, cols], scales and zero points [rows, groups] as they are stored."""
    return QuantisedWeight(
        format=fmt,
        codes=codes.to(torch.uint8).contiguous().numpy(),
        scale=scale.half().numpy(),
        zero=zero.to(torch.uint8).numpy(),
    )


def finite(values: Tensor) -> Tensor:
    """The values in float32, apart from any graph.

    Raises:
        BrokenWeights: some are NaN or infinite.
    """
    values = values.detach().float()
    if not bool(torch.isfinite(values).all()):
        raise BrokenWeights(
            "a matrix holds values that are not finite numbers",
            fix="download the model again, or repair the layer before compressing it",
        )
    return values
