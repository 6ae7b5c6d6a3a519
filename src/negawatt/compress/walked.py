"""A decoder with rounded weights, asked about known texts while one block of it is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from negawatt.compress.calibrate import rows_at_once
from negawatt.compress.inputs import block_paths
from negawatt.compress.quantise import dequantise
from negawatt.models.halves import reading_dtype
from negawatt.models.mapped import Mapped
from negawatt.models.walked import WalkedSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from negawatt.compress.bank import BankView
    from negawatt.core.records import Layer


def opened(
    folder: Path,
    layers: Sequence[Layer],
    weights: BankView | None,
    texts: tuple[Sequence[Sequence[int]], Path, Callable[[int, int], None]],
    *,
    exact: bool,
) -> WalkedSession:
    """A session about `texts`.

    Args:
        folder: Of a prepared decoder.
        layers: Of it.
        weights: Codes that stand in the place of its weights; its own when None.
        texts: Token numbers, a folder for hidden states that do not fit into memory, and who is
            told how many blocks of how many the texts are through.
        exact: Computed in float32, else in bfloat16 where that is quick.
    """
    shapes = {layer.name: (layer.rows, layer.cols) for layer in layers}
    dtype = torch.float32 if exact else reading_dtype()

    def decoded(name: str) -> torch.Tensor | None:
        if weights is None or name not in weights:
            return None
        rows, cols = shapes[name]
        found, step = torch.empty(rows, cols, dtype=dtype), rows_at_once(cols)
        for at in range(0, rows, step):  # all at once would take four times as much
            found[at : at + step] = dequantise(weights.part(name, slice(at, at + step)))
        return found

    return WalkedSession(Mapped(folder, dtype, decoded), block_paths(layers), *texts)
