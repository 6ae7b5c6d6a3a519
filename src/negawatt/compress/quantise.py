"""Integer codes for one weight matrix: the grid they lie on, rounding to it, and the way back.

What chooses codes more cleverly than rounding stands in `negawatt.compress.methods`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.levels import Levels
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import Format, QuantisedWeight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

# Share of the full range that a scale may keep: clipping a few outliers often
# rounds the rest better. 1.0 is plain min-max.
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
# The same for uneven levels, whose outermost gaps are wide: an extreme may lie beyond or short.
_STRETCH = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7)
_LEAST_POWER, _FRACTION, _LARGEST = -24, 11, 65504.0  # 16 bits: least power of two, digits, end
_REFITS = 3  # of scales to the levels chosen, where these are uneven


def fit_grid(
    weight: Tensor, fmt: Format, importance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Choose scale and zero point for every group of a matrix.

    Each candidate range is scored by the squared rounding error, weighted by
    `importance`; the best of a few is kept per group. Uneven levels are not the
    same seen from both ends, so for them scales of both signs are tried, and the
    best is fitted to the levels it led to.

    Args:
        weight: float32, [rows, cols].
        fmt: A quantised format that `fits(cols)`.
        importance: Mean squared input per column, [cols]; equal when None.

    Returns:
        scale float32 and zero float32, both [rows, groups]; zero in levels, a whole number unless
        the format has a minimum.
    """
    rows, cols = weight.shape
    group = fmt.group or cols
    groups = weight.reshape(rows, cols // group, group)
    share = torch.ones(cols) if importance is None else importance / importance.mean()
    best = _Best(groups, share.reshape(cols // group, group), fmt)
    for scale, zero in _ranges(groups, fmt):
        best.offer(scale, zero)
    for _ in range(_REFITS if fmt.levels else 0):
        best.offer(best.refitted(), best.zero)
    if not bool(torch.isfinite(best.error).all()):
        raise BrokenWeights(
            "a matrix holds values too large for 16-bit scales",
            fix="leave this model at 16 bits; its weights are out of the usual range",
        )
    scale = kept(best.scale, fmt)
    if not fmt.has_minimum:
        return scale, best.zero
    return scale, _multiples(best.zero * best.scale, fmt).div_(scale)


class _Best:
    """The grid of least error so far, group by group.

    Args:
        groups: Weights, [rows, groups, columns of a group].
        share: How much each column counts, [groups, columns of a group].
        fmt: Their format.
    """

    def __init__(self, groups: Tensor, share: Tensor, fmt: Format) -> None:
        self._groups, self._share, self._levels = groups, share, Levels(fmt)
        self.error = torch.full(groups.shape[:2], torch.inf)
        self.scale = torch.ones_like(self.error)
        self.zero = torch.zeros_like(self.error)

    def offer(self, scale: Tensor, zero: Tensor) -> None:
        """Keep this grid where it is better."""
        level = self._snapped(scale, zero)
        off = level.sub_(zero[..., None]).mul_(scale[..., None]).sub_(self._groups)
        error = off.square_().mul_(self._share).sum(-1)
        better = error < self.error
        self.error = torch.where(better, error, self.error)
        self.scale = torch.where(better, scale, self.scale)
        self.zero = torch.where(better, zero, self.zero)

    def refitted(self) -> Tensor:
        """The scales of least error for the levels that the best ones lead to."""
        step = self._snapped(self.scale, self.zero).sub_(self.zero[..., None])
        counted = step * self._share
        power = (counted * step).sum(-1)
        fitted = counted.mul_(self._groups).sum(-1) / power
        return safe(torch.where(power > 0, fitted, self.scale))

    def _snapped(self, scale: Tensor, zero: Tensor) -> Tensor:
        return self._levels.snap(self._groups / scale[..., None], zero[..., None])


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
    level = Levels(fmt).snap(groups / scale[..., None], zero[..., None])
    return pack(level.reshape(rows, cols), scale, zero, fmt)


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
    if quantised.format.has_minimum:
        zero = zero.float() / scale.float()
    rows, cols = codes.shape
    groups = Levels(quantised.format).of(codes, dtype).reshape(rows, scale.shape[1], -1)
    groups = groups.sub_(zero[..., None].to(dtype)).mul_(scale[..., None].to(dtype))
    return groups.reshape(rows, cols)


def _ranges(groups: Tensor, fmt: Format) -> Iterator[tuple[Tensor, Tensor]]:
    """Scales and zero points worth trying."""
    if fmt.levels:
        levels = Levels(fmt)
        extreme = _heavier(groups)
        for reach in _STRETCH:
            for end in (levels.low, levels.high):
                scale = safe(extreme / (end * reach))
                yield scale, torch.zeros_like(scale)
        return
    # Wide codes lose little to outliers, so clipping is tried where it can pay.
    for shrink in _SHRINK if fmt.bits < 8 else _SHRINK[:1]:
        yield _range_to_grid(groups, fmt, shrink)


def _range_to_grid(groups: Tensor, fmt: Format, shrink: float) -> tuple[Tensor, Tensor]:
    if fmt.symmetric:
        half = 2 ** (fmt.bits - 1)
        # The extreme value lands on the longer, negative side of the codes.
        span = _heavier(groups) * shrink  # its sign is the scale's
        scale = span / -half if fmt.bits < 8 else span.abs() / (half - 1)
        return safe(scale), torch.full_like(scale, float(half))
    low = groups.amin(-1).clamp_max(0.0) * shrink
    high = groups.amax(-1).clamp_min(0.0) * shrink
    top = 2**fmt.bits - 1
    scale = safe((high - low) / top)
    zero = (-low / scale).clamp_(0, top)
    return scale, zero if fmt.has_minimum else zero.round_()


def _heavier(groups: Tensor) -> Tensor:
    """The value furthest from zero in each group, with its sign."""
    low, high = groups.amin(-1), groups.amax(-1)
    # Between two extremes of one size, that of the heavier side: it has more to lose.
    heavy = (high > -low) | ((high == -low) & (groups.sum(-1) > 0))
    return torch.where(heavy, high, low)


def safe(scale: Tensor) -> Tensor:
    """Keep scales away from zero and representable in 16 bits."""
    tiny = 6e-8  # smallest float16 subnormal
    least = torch.full_like(scale, tiny).copysign(scale)
    scale = torch.where(scale.abs() < tiny, least, scale)
    return scale.half().float()


def kept(scale: Tensor, fmt: Format) -> Tensor:
    """Scales [rows, groups] as the format keeps them: in 16 bits, or as nested multiples.

    >>> kept(torch.tensor([[1.0, 0.3]]), Format(6, 16, nested=2))
    tensor([[1.0020, 0.2988]])
    """
    scale = safe(scale)
    return _multiples(scale, fmt, least=1.0) if fmt.nested else scale


def _multiples(values: Tensor, fmt: Format, *, least: float = 0.0) -> Tensor:
    """The nearest multiples of one number in each set of groups, [rows, groups].

    The number has as few bits as leave each of its multiples exact in 16 bits, and is the least
    of these that reaches the largest value of the set.
    """
    most = fmt.most_multiples
    sets = values.reshape(len(values), -1, fmt.nested)
    wanted = sets.abs().amax(-1, keepdim=True) / most
    _, exponent = torch.frexp(wanted)
    last = (exponent - (_FRACTION - most.bit_length())).clamp_min(_LEAST_POWER).float().exp2_()
    unit = (wanted / last).ceil_().clamp_min_(1.0).mul_(last)
    times = (sets / unit).round_().abs_().clamp_(least, most)
    times = torch.minimum(times, (_LARGEST / unit).floor_())
    return times.copysign_(sets).mul_(unit).reshape(values.shape)


def pack(levels: Tensor, scale: Tensor, zero: Tensor, fmt: Format) -> QuantisedWeight:
    """Levels [rows, cols], scales and zero points [rows, groups] as they are stored."""
    return QuantisedWeight(
        format=fmt,
        codes=Levels(fmt).codes(levels).contiguous().numpy(),
        scale=scale.half().numpy(),
        zero=(zero * scale).half().numpy() if fmt.has_minimum else zero.to(torch.uint8).numpy(),
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
