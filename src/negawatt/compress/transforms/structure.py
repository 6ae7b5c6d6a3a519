"""Where a channel leaves one module and enters others: what a factor can be moved between."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.core.records import Layer

_GATED_PAIR = ("up_proj", "down_proj")  # what up gives is multiplied, never bent, on its way
_VALUE_PAIR = ("v_proj", "o_proj")  # attention mixes values with weights that sum to one


@dataclass(frozen=True, slots=True)
class Seam:
    """Readers whose input channels are, one by one, what a norm or a linear layer gives.

    Args:
        writer: Name of the module whose output channels can be scaled.
        readers: Names of all linear layers that are fed by it, and by nothing else.
        spread: For each channel of the readers, the channel of the writer, int64 [cols].
    """

    writer: str
    readers: tuple[str, ...]
    spread: Tensor


def is_norm(module: nn.Module) -> bool:
    """True for a layer that normalises and scales single channels."""
    weight = getattr(module, "weight", None)
    return "Norm" in type(module).__name__ and weight is not None and weight.ndim == 1


def offset_of(norm: nn.Module) -> float:
    """What a norm adds to its weight before it multiplies: 1 in some families, else 0."""
    weight: Any = norm.weight
    kept = weight.detach().clone()
    given = torch.randn(1, weight.numel(), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight.zero_()
        bare = norm(given.to(weight.dtype)).abs().max()
        weight.copy_(kept)
    return 1.0 if float(bare) > 1e-3 and getattr(norm, "bias", None) is None else 0.0


def scale_output(module: nn.Module, factor: Tensor) -> None:
    """Multiply every output channel of a norm or a linear layer, in place."""
    weight: Any = module.weight
    with torch.no_grad():
        if weight.ndim == 1:
            offset = offset_of(module)
            weight.add_(offset).mul_(factor).sub_(offset)
        else:
            weight.mul_(factor[:, None])
        bias: Any = getattr(module, "bias", None)
        if bias is not None:
            bias.mul_(factor)


def scale_input(module: nn.Module, factor: Tensor) -> None:
    """Multiply every input channel of a linear layer, in place."""
    weight: Any = module.weight
    with torch.no_grad():
        weight.mul_(factor)


@contextmanager
def _hooked(
    model: nn.Module, chosen: Callable[[nn.Module], bool], hook: Callable[[str], Any]
) -> Iterator[None]:
    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if chosen(module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def seams(model: nn.Module, layers: Sequence[Layer], window: NDArray[np.int64]) -> list[Seam]:
    """Every seam inside the blocks of a decoder, in execution order.

    Which layers a norm feeds is seen while a text runs through: they are given the very
    tensor that it returned. A norm that feeds anything else as well is left out.

    Args:
        model: In float32.
        layers: Of the model.
        window: Some tokens, int64 [positions].
    """
    gave: dict[int, str] = {}
    held: list[Tensor] = []  # so that no address is used twice
    fed: dict[str, list[str]] = {}
    names = {layer.name for layer in layers if layer.block is not None}

    def norm_hook(name: str) -> Any:
        def keep(_: nn.Module, __: Any, out: Tensor) -> None:
            gave[id(out)] = name
            held.append(out)

        return keep

    def linear_hook(name: str) -> Any:
        def look(_: nn.Module, given: tuple[Any, ...], __: Any) -> None:
            source = gave.get(id(given[0]))
            if source is not None:
                fed.setdefault(source, []).append(name)

        return look

    with (
        torch.no_grad(),
        _hooked(model, is_norm, norm_hook),
        _hooked(model, lambda module: isinstance(module, nn.Linear), linear_hook),
    ):
        model(input_ids=torch.from_numpy(window)[None], use_cache=False)
    found = []
    for writer, readers in fed.items():
        if set(readers) <= names:  # the last norm feeds the head, which may share its weights
            cols = _weight(model, readers[0]).shape[1]
            found.append(Seam(writer, tuple(readers), torch.arange(cols)))
    return [*found, *_inner(model, names)]


def _inner(model: nn.Module, names: set[str]) -> Iterator[Seam]:
    """Seams between two linear layers of one block."""
    for name in sorted(names):
        place, _, last = name.rpartition(".")
        for writer, reader in (_GATED_PAIR, _VALUE_PAIR):
            partner = f"{place}.{writer}"
            if last != reader or partner not in names:
                continue
            cols = _weight(model, name).shape[1]
            rows = _weight(model, partner).shape[0]
            if rows == cols:
                yield Seam(partner, (name,), torch.arange(cols))
            elif writer == _VALUE_PAIR[0]:  # several query heads read one value head
                width = int(model.get_submodule(place).head_dim)  # type: ignore[arg-type]
                head = torch.arange(cols) // width // (cols // rows)
                yield Seam(partner, (name,), head * width + torch.arange(cols) % width)


def _weight(model: nn.Module, name: str) -> Tensor:
    weight: Any = model.get_submodule(name).weight
    return weight  # type: ignore[no-any-return]
