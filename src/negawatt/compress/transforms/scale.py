"""Factors between channels: activation-aware scaling, and balance for 8-bit activations.

A column that fires strongly is made larger before it is rounded, so that its relative error
shrinks, and what feeds it smaller by the same factor (Lin et al. 2023, arXiv 2306.00978). The
strength of the effect is searched for every group of layers that read one input. The other
transform evens out the largest activations of each channel against its largest weights, for
engines that round activations to 8 bits too (Xiao et al. 2022, arXiv 2211.10438).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from negawatt.compress.inputs import input_statistics
from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.compress.transforms.structure import Seam, scale_input, scale_output, seams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.core.records import Format, Layer

_POWERS = tuple(i / 10 for i in range(11))
_BALANCE = 0.5  # how the burden is shared between activations and weights
_LEAST = 1e-4  # of the mean strength: silent channels are not made much larger
_ROWS = 1024  # rounded at a time
_WATCHED = 8  # windows whose largest activations are looked for


class Awq:
    """Activation-aware scaling, with the power searched per seam by the error of the outputs."""

    name = "awq"
    unties = False

    def apply(
        self,
        model: Any,
        layers: Sequence[Layer],
        windows: NDArray[np.int64],
        fmt: Format,
        on_layer: Callable[[int, int], None],
    ) -> str:
        """Scale every seam where it pays; see `Transform`."""
        known = {seam.readers[0]: seam for seam in seams(model, layers, windows[0])}
        inside = [layer for layer in layers if layer.block is not None]
        done, moved = 0, 0
        for group, statistics in input_statistics(model, layers, inside, windows):
            for layer in group:
                seam = known.get(layer.name)
                if seam is not None:
                    factor = _searched(model, seam, statistics[layer.name], fmt)
                    if factor is not None:
                        moved += 1
                        apply_factor(model, seam, factor)
                done += 1
                on_layer(done, len(inside))
        return f"activation-aware scaling moved factors at {moved} of {len(known)} places"


class Smooth:
    """Balance between the largest activations and the largest weights of each channel."""

    name = "smooth"
    unties = False

    def apply(
        self,
        model: Any,
        layers: Sequence[Layer],
        windows: NDArray[np.int64],
        fmt: Format,
        on_layer: Callable[[int, int], None],
    ) -> str:
        """Scale every seam; see `Transform`."""
        known = seams(model, layers, windows[0])
        peaks = _largest_inputs(model, known, windows[:_WATCHED])
        for i, seam in enumerate(known):
            largest = torch.stack([_weight(model, name).abs().amax(0) for name in seam.readers])
            ratio = peaks[seam.readers[0]].clamp_min(1e-5) / largest.amax(0).clamp_min(1e-5)
            apply_factor(model, seam, _even(ratio.pow(_BALANCE), seam))
            on_layer(i + 1, len(known))
        return f"activations and weights were balanced at {len(known)} places"


def apply_factor(model: Any, seam: Seam, factor: Tensor) -> None:
    """Multiply what is read by `factor`, [channels of the writer], and divide what is written."""
    scale_output(model.get_submodule(seam.writer), 1.0 / factor)
    for name in seam.readers:
        scale_input(model.get_submodule(name), factor[seam.spread])


def _even(factor: Tensor, seam: Seam) -> Tensor:
    """One factor for each channel of the writer, around 1, [channels]."""
    count = int(seam.spread.max()) + 1
    total = torch.zeros(count).index_add_(0, seam.spread, factor.log())
    members = torch.zeros(count).index_add_(0, seam.spread, torch.ones_like(factor))
    level = total / members
    return (level - level.mean()).exp().clamp(1e-3, 1e3)


def _searched(model: Any, seam: Seam, inputs: Tensor, fmt: Format) -> Tensor | None:
    """The factors with the least error of the outputs after rounding; None when 1 is best."""
    fits = [name for name in seam.readers if fmt.fits(_weight(model, name).shape[1])]
    strength = inputs.diagonal().clamp_min(0).sqrt()
    if len(fits) < len(seam.readers) or not bool(strength.mean() > 0):
        return None
    strength = strength / strength.mean()
    best, least = None, torch.inf
    for power in _POWERS:
        factor = _even(strength.clamp_min(_LEAST).pow(power), seam)
        wide = factor[seam.spread]
        error = sum(_error(_weight(model, name), wide, inputs, fmt) for name in seam.readers)
        if error < least:
            best, least = (factor if power else None), error
    return best


def _error(weight: Tensor, factor: Tensor, inputs: Tensor, fmt: Format) -> float:
    importance = inputs.diagonal() / factor.square()
    total = 0.0
    for at in range(0, len(weight), _ROWS):
        part = weight[at : at + _ROWS]
        codes = round_to_nearest(part * factor, fmt, importance.clamp_min(1e-12))
        off = dequantise(codes).div_(factor).sub_(part)
        total += float((off @ inputs).mul_(off).sum())
    return total


def _largest_inputs(
    model: Any, known: Sequence[Seam], windows: NDArray[np.int64]
) -> Mapping[str, Tensor]:
    """Largest magnitude of every input channel of the first reader of each seam."""
    found: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def look(_: Any, given: tuple[Any, ...]) -> None:
            peak = given[0].abs().flatten(0, -2).amax(0)
            found[name] = torch.maximum(found[name], peak) if name in found else peak

        return look

    handles = [
        model.get_submodule(seam.readers[0]).register_forward_pre_hook(hook(seam.readers[0]))
        for seam in known
    ]
    try:
        with torch.no_grad():
            for window in windows:
                model(input_ids=torch.from_numpy(window)[None], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _weight(model: Any, name: str) -> Tensor:
    weight: Tensor = model.get_submodule(name).weight
    return weight.detach()
