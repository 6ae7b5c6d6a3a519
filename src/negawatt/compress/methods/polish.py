"""Better codes and scales for the same inputs, from those that a first pass has found.

A first pass fixes scales before it knows the codes, and each code before it knows those
after it. Here scales are fitted again, all groups of a row together, in closed form; then
each code is moved to where it is best given all others, once around. Neither step
can make the error of the layer's outputs larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.levels import Levels

if TYPE_CHECKING:
    from torch import Tensor

    from negawatt.core.records import Format

_DAMPING = 0.03  # of the mean Hessian diagonal: what the text does not show may still happen
_STEADY = 1e-4  # of a group's own share, added so that groups that hardly fire keep their scale
_ROWS = 256  # of which scales are fitted at a time
_BLOCK = 128  # columns moved before the rest hears of it
_TINY = 6e-8  # smallest number of 16 bits


def polished(
    weight: Tensor, found: tuple[Tensor, Tensor, Tensor], fmt: Format, hessian: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes and scales with no larger an error of the outputs.

    Args:
        weight: float32, [rows, cols].
        found: Levels (codes, where these are even) [rows, cols], scales and zero points
            [rows, groups], float32.
        fmt: What they are in.
        hessian: float32, [cols, cols], the sum of outer products of the inputs.

    Returns:
        Levels [rows, cols] and scales [rows, groups], float32.
    """
    levels, scale, zero = found
    mean = hessian.diagonal().mean()
    if not bool(mean > 0):
        return levels, scale  # inputs that never fire say nothing
    damped = hessian.clone()
    damped.diagonal().add_(_DAMPING * mean)
    fitted = scale  # nested ones hang together, so that none can be fitted by itself
    if not fmt.nested:
        pieces = range(0, len(weight), _ROWS)
        fitted = torch.cat(
            [_fitted_scales(weight[at : at + _ROWS], _part(found, at), damped) for at in pieces]
        )
    moved = _moved(weight, (levels, fitted, zero), fmt, damped)
    # Scales are narrowed to 16 bits after they are fitted, so a row may come out worse.
    before = _row_errors(weight, found, damped)
    better = (_row_errors(weight, (moved, fitted, zero), damped) <= before)[:, None]
    return torch.where(better, moved, levels), torch.where(better, fitted, scale)


def _row_errors(weight: Tensor, found: tuple[Tensor, Tensor, Tensor], hessian: Tensor) -> Tensor:
    """Squared error of each output over the text, [rows]."""
    levels, scale, zero = found
    steps = levels.reshape(*scale.shape, -1) - zero[..., None]
    off = (steps * scale[..., None]).reshape(weight.shape).sub_(weight)
    return (off @ hessian).mul_(off).sum(1)


def _part(found: tuple[Tensor, Tensor, Tensor], at: int) -> tuple[Tensor, Tensor, Tensor]:
    levels, scale, zero = (one[at : at + _ROWS] for one in found)
    return levels, scale, zero


def _fitted_scales(weight: Tensor, found: tuple[Tensor, Tensor, Tensor], hessian: Tensor) -> Tensor:
    """Scales with the least error of the outputs for these levels, [rows, groups]."""
    levels, scale, zero = found
    rows, groups = scale.shape
    steps = levels.reshape(rows, groups, -1) - zero[..., None]
    width = steps.shape[-1]
    tiles = hessian.reshape(groups, width, groups, width)
    normal = torch.empty(rows, groups, groups)
    for i in range(groups):
        pulled = torch.einsum("rw,wgv->rgv", steps[:, i], tiles[i])
        normal[:, i] = pulled.mul_(steps).sum(-1)
    wanted = (weight @ hessian).reshape(rows, groups, width).mul_(steps).sum(-1)
    # Pull each scale a little towards what it was, for groups that decide nothing.
    own = normal.diagonal(dim1=1, dim2=2)
    hold = own * _STEADY + own.mean(1, keepdim=True) * _STEADY**2 + 1e-12
    wanted = wanted + hold * scale
    normal = normal + torch.diag_embed(hold)
    solved, failed = torch.linalg.solve_ex(normal, wanted)
    usable = (failed[:, None] == 0) & torch.isfinite(solved) & (solved.abs() > _TINY)
    narrow = torch.where(usable, solved, scale).half().float()
    return torch.where(torch.isfinite(narrow) & (narrow != 0), narrow, scale)


def _moved(
    weight: Tensor, found: tuple[Tensor, Tensor, Tensor], fmt: Format, hessian: Tensor
) -> Tensor:
    """Every level moved once to where the error is least, the others staying as they are."""
    cols = weight.shape[1]
    group = torch.arange(cols) // (fmt.group or cols)
    now, (scale, zero) = found[0].T.contiguous(), (one.T[group] for one in found[1:])
    levels = Levels(fmt)
    # How fast the error would fall with each weight, [cols, rows].
    slope = hessian @ (weight.T - (now - zero) * scale)
    for start in range(0, cols, _BLOCK):
        stop = min(start + _BLOCK, cols)
        tile, near = hessian[start:stop, start:stop], slope[start:stop]
        moves = torch.empty_like(near)
        for i in range(stop - start):
            at = start + i
            best = near[i] / tile[i, i] / scale[at]
            level = levels.snap(best.add_(now[at]))
            moves[i] = (level - now[at]) * scale[at]
            now[at] = level
            near.addr_(tile[i], moves[i], alpha=-1.0)
        slope[stop:].addmm_(hessian[stop:, start:stop], moves, alpha=-1.0)
    return now.T
