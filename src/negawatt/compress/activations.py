"""8-bit activations: how what enters each layer of an encoder is rounded, and who bears the burden.

The levels are the same for every text, so an engine has nothing to look for when it runs. A few
channels are often much larger than all others; a range for the largest leaves the others few
levels. Channels can be divided by factors that their weights are multiplied by (Xiao et al. 2022,
arXiv 2211.10438), with the power of the factors searched layer by layer. The range is not cut:
the largest values belong to a few tokens that attention looks at from everywhere, and cutting them
where the squared error of one layer's outputs is least was measured to hurt the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from negawatt.compress.quantise import dequantise, round_to_nearest
from negawatt.core.errors import BrokenWeights
from negawatt.core.records import InputGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.core.records import Format, Layer

_ROWS = 768  # of inputs that are kept of every layer
_POWERS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_LEAST = 1e-5  # of a largest value, before it is divided by
_TOP = 255


@dataclass(slots=True)
class _Seen:
    """What entered layers that read one and the same input."""

    names: list[str]
    rows: list[Tensor] = field(default_factory=list)  # a sample, [rows, cols] each
    low: Tensor | None = None  # least value of every channel, or 0, [cols]
    high: Tensor | None = None  # largest, or 0, [cols]

    def add(self, given: Tensor, share: int) -> None:
        """Take in one text's input, of which `share` rows are kept."""
        x = given.detach().float().flatten(0, -2)
        low, high = x.amin(0).clamp_max(0), x.amax(0).clamp_min(0)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        picked = torch.linspace(0, len(x) - 1, min(share, len(x))).long()
        self.rows.append(x[picked])


def input_grids(
    model: Any,
    layers: Sequence[Layer],
    windows: NDArray[np.int64],
    fmt: Format,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
    *,
    balance: bool = False,
) -> dict[str, InputGrid]:
    """How to round what enters every linear layer inside the blocks of an encoder.

    Args:
        model: In float32; left as it is.
        layers: Of the model.
        windows: Calibration text, int64 [windows, positions].
        fmt: Of the weights.
        on_layer: Told how many layers of how many are done.
        balance: Whether channels may be divided by factors.

    Returns:
        By layer name. Layers that read one input share its grid.

    Raises:
        BrokenWeights: a layer is fed values that are not finite numbers, or nothing but zeros.
    """
    inside = [layer.name for layer in layers if layer.block is not None and layer.kind == "linear"]
    found: dict[str, InputGrid] = {}
    for seen in _watch(model, inside, windows):
        weight = torch.cat([_weight(model, name) for name in seen.names])
        grid = _grid(seen, weight, fmt, balance=balance)
        found |= dict.fromkeys(seen.names, grid)
        on_layer(len(found), len(inside))
    return {name: found[name] for name in inside if name in found}


def balanced(model: Any, grids: Mapping[str, InputGrid]) -> None:
    """Divide what enters layers by the factors of `grids`, and multiply their weights, in place."""
    for name, grid in grids.items():
        if not grid.factor:
            continue
        module = model.get_submodule(name)
        factor = torch.tensor(grid.factor)
        with torch.no_grad():
            module.weight = torch.nn.Parameter(module.weight * factor, requires_grad=False)
        module.register_forward_pre_hook(lambda _, given, f=factor: (given[0] / f,))


def rounded_input(x: Tensor, grid: InputGrid) -> Tensor:
    """`x` on the levels of `grid`, its channels divided by the factors: what the codes stand for."""
    if grid.factor:
        x = x / torch.tensor(grid.factor)
    return _levels(x, grid.scale, grid.zero)


def restored_input(x: Tensor, grid: InputGrid) -> Tensor:
    """The same with the division undone: what a layer with its own weights would have to be fed.

    >>> x = torch.tensor([[8.0, 1.0]])
    >>> restored_input(x, InputGrid(0.0, 2.0, (4.0, 0.5))).tolist()
    [[8.0, 1.0]]
    """
    codes = rounded_input(x, grid)
    return codes * torch.tensor(grid.factor) if grid.factor else codes


def _watch(model: Any, names: Sequence[str], windows: NDArray[np.int64]) -> Iterable[_Seen]:
    """What enters these layers, gathered by input."""
    share = max(1, -(-_ROWS // len(windows)))
    owners: dict[str, _Seen] = {}
    last: tuple[Tensor | None, _Seen] = (None, _Seen([]))

    def hook(name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def look(_: Any, given: tuple[Any, ...]) -> None:
            nonlocal last
            if given[0] is last[0]:
                if name not in owners:
                    owners[name] = last[1]
                    last[1].names.append(name)
                return
            seen = owners.setdefault(name, _Seen([name]))
            seen.add(given[0], share)
            last = given[0], seen

        return look

    handles = [model.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        with torch.no_grad():
            for window in windows:
                model(input_ids=torch.from_numpy(window)[None])
    finally:
        for handle in handles:
            handle.remove()
    return {id(seen): seen for seen in owners.values()}.values()


def _grid(seen: _Seen, weight: Tensor, fmt: Format, *, balance: bool) -> InputGrid:
    if seen.low is None or seen.high is None:
        raise BrokenWeights(f"{seen.names[0]} was fed nothing", fix="give more calibration text")
    low, high = seen.low, seen.high
    peak = torch.maximum(-low, high)
    if not bool(torch.isfinite(peak).all()) or not bool(peak.max() > 0):
        raise BrokenWeights(
            f"{seen.names[0]} is fed nothing but zeros, or values that are not finite numbers",
            fix="leave --activations out for this model, or give other calibration text",
        )
    best = InputGrid(*_ends(float(low.min()), float(high.max())))
    if not balance:
        return best
    x = torch.cat(seen.rows)
    wanted = x @ weight.T
    least = _error(x, weight, wanted, best, fmt)
    largest = weight.abs().amax(0).clamp_min(_LEAST)
    for power in _POWERS:
        factor = peak.clamp_min(_LEAST).pow(power) / largest.pow(1 - power)
        factor = (factor / factor.log().mean().exp()).clamp(1e-3, 1e3)
        ends = _ends(float((low / factor).min()), float((high / factor).max()))
        trial = InputGrid(*ends, tuple(factor.tolist()))
        error = _error(x, weight, wanted, trial, fmt)
        if error < least:
            best, least = trial, error
    return best


def _ends(low: float, high: float) -> tuple[float, float]:
    """A range with 0 on one of its levels; never empty."""
    scale = max(high - low, _LEAST) / _TOP
    zero = min(max(round(-low / scale), 0), _TOP)
    return -zero * scale, (_TOP - zero) * scale


def _levels(x: Tensor, scale: float, zero: int) -> Tensor:
    codes = torch.round(x / scale).add_(zero).clamp_(0, _TOP)
    return codes.sub_(zero).mul_(scale)


def _error(x: Tensor, weight: Tensor, wanted: Tensor, grid: InputGrid, fmt: Format) -> float:
    """Squared error of the outputs with both sides rounded."""
    scaled = weight * torch.tensor(grid.factor) if grid.factor else weight
    codes = dequantise(round_to_nearest(scaled, fmt))
    return float((rounded_input(x, grid) @ codes.T).sub_(wanted).square_().sum())


def _weight(model: Any, name: str) -> Tensor:
    weight: Tensor = model.get_submodule(name).weight
    return weight.detach()
