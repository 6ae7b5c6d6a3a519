"""Turning the residual stream, so that no channel stands out (Ashkboos et al. 2024, arXiv 2404.00456).

A root-mean-square norm does not see a rotation once its weight has moved into the layers it
feeds. So everything that writes into the stream may be turned, and everything that reads from
it turned back, by one orthogonal matrix: signs and a Hadamard matrix of the largest power of two
in the width, times a random rotation for what is left of it. The price: the weight of the last
norm moves into the head, so head and embedding can no longer be one matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from scipy.linalg import hadamard
from torch import nn

from negawatt.compress.transforms.structure import is_norm, offset_of, seams
from negawatt.core.errors import UnsupportedArchitecture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.core.records import Format, Layer

_WRITERS = ("o_proj", "down_proj")
_SEED = 0


class Rotate:
    """One orthogonal matrix for the whole residual stream."""

    name = "rotate"
    unties = True

    def apply(
        self,
        model: Any,
        layers: Sequence[Layer],
        windows: NDArray[np.int64],
        fmt: Format,
        on_layer: Callable[[int, int], None],
    ) -> str:
        """Fold the norms and turn; see `Transform`."""
        head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
        width = embedding.weight.shape[1]
        known = [one for one in seams(model, layers, windows[0]) if "norm" in one.writer]
        final = _refuse_others(model, layers, {one.writer for one in known}, width)
        if head.weight is embedding.weight:
            head.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
            model.config.tie_word_embeddings = False
        readers = [(one.writer, one.readers) for one in known]
        for writer, fed in readers:
            _fold(model.get_submodule(writer), [model.get_submodule(name) for name in fed])
        _fold(final, [head])
        turn = rotation(width, _SEED)
        inside = [layer for layer in layers if layer.block is not None]
        reading = {name for _, fed in readers for name in fed}
        with torch.no_grad():
            embedding.weight.copy_(embedding.weight @ turn)
            head.weight.copy_(head.weight @ turn)
            for i, layer in enumerate(inside):
                module = model.get_submodule(layer.name)
                if layer.name in reading:
                    module.weight.copy_(module.weight @ turn)
                elif layer.name.endswith(_WRITERS):
                    module.weight.copy_(turn.T @ module.weight)
                    if module.bias is not None:
                        module.bias.copy_(turn.T @ module.bias)
                on_layer(i + 1, len(inside))
        return f"the residual stream of {width} channels was rotated; head and embedding are apart"


def rotation(width: int, seed: int) -> Tensor:
    """An orthogonal matrix that spreads every channel over all others, float32 [width, width].

    >>> turn = rotation(24, 0)
    >>> bool(torch.allclose(turn @ turn.T, torch.eye(24), atol=1e-5))
    True
    """
    generator = torch.Generator().manual_seed(seed)
    power = width & -width
    rest = torch.randn(width // power, width // power, generator=generator, dtype=torch.float64)
    small, _ = torch.linalg.qr(rest)
    large = torch.from_numpy(hadamard(power)).double() / power**0.5
    signs = torch.randint(0, 2, (width,), generator=generator).double() * 2 - 1
    return (signs[:, None] * torch.kron(small.contiguous(), large.contiguous())).float()


def _refuse_others(model: Any, layers: Sequence[Layer], folded: set[str], width: int) -> nn.Module:
    """The last norm, when all others on the stream are seen to feed linear layers alone.

    Raises:
        UnsupportedArchitecture: a norm subtracts a mean, or stands behind a layer.
    """
    del layers
    left = [
        (name, module)
        for name, module in model.named_modules()
        if is_norm(module) and module.weight.numel() == width and name not in folded
    ]
    means = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    if means or len(left) != 1:
        what = means[0] if means else left[0][0] if left else "the last norm"
        raise UnsupportedArchitecture(
            f"{what} does not let the residual stream be rotated",
            fix="leave rotate out; awq and smooth work on this model",
        )
    return left[0][1]  # type: ignore[no-any-return]


def _fold(norm: Any, readers: Sequence[Any]) -> None:
    """Move the weight of a norm into what it feeds."""
    offset = offset_of(norm)
    with torch.no_grad():
        factor = norm.weight + offset
        for reader in readers:
            reader.weight.mul_(factor)
        norm.weight.fill_(1.0 - offset)
