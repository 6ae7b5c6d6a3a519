"""Find weights that were quantised before: they lie on a grid that a quantiser finds again.

A model that was stored in 4 bits and turned back into floats looks lossless
to a 4-bit quantiser with the same groups. That says the quantiser is right
and nothing about its quality, so the user is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from negawatt.core.records import Layer
from negawatt.models.checkpoint import Weights

_BLOCKS = (32, 64, 128)
_SAMPLE_ROWS = 8
_FEW = 16  # levels of a 4-bit code
_EVEN = 0.1  # mean distance to a step; 0.25 for weights that know no step
_SMALL_CODE = 24  # bfloat16 keeps 8 bits, so larger codes drift off their step


@dataclass(frozen=True, slots=True)
class GridFinding:
    """Layers that lie on one kind of grid.

    Args:
        layers: Names of the layers.
        block: Neighbours along a row that share a scale; 0 for the whole row.
        levels: Values a weight can take within a block, at most.
        evidence: `GGUF type Q4_1`, or what was counted.
    """

    layers: tuple[str, ...]
    block: int
    levels: int
    evidence: str

    def __str__(self) -> str:
        span = f"blocks of {self.block}" if self.block else "whole rows"
        what = "1 matrix" if len(self.layers) == 1 else f"{len(self.layers)} matrices"
        return f"{what} in {span} with {self.levels} levels ({self.evidence})"


def from_types(layers: Sequence[Layer], types: Mapping[str, str]) -> tuple[GridFinding, ...]:
    """What the storage types of a GGUF file say, by type name.

    >>> layer = Layer("model.layers.0.mlp.up_proj", "linear", 64, 64, 0)
    >>> str(from_types([layer], {"model.layers.0.mlp.up_proj.weight": "Q4_1"})[0])
    '1 matrix in blocks of 32 with 16 levels (GGUF type Q4_1)'
    """
    groups: dict[str, list[str]] = {}
    for layer in layers:
        kind = types.get(f"{layer.name}.weight", "F32")
        if re.match(r"I?T?Q\d", kind):
            groups.setdefault(kind, []).append(layer.name)
    return tuple(
        GridFinding(tuple(names), _block_of(kind), _levels_of(kind), f"GGUF type {kind}")
        for kind, names in sorted(groups.items())
    )


def _levels_of(kind: str) -> int:
    digits = re.search(r"\d", kind)
    return 1 << int(digits[0]) if digits else 0


def _block_of(kind: str) -> int:
    """Weights that share one scale; K-types nest blocks of 16 or 32 in blocks of 256."""
    return 16 if kind in {"Q2_K", "Q3_K", "Q6_K"} else 32


def from_values(layers: Sequence[Layer], weights: Weights) -> tuple[GridFinding, ...]:
    """What a sample of rows of every stored matrix says."""
    groups: dict[tuple[int, int], list[str]] = {}
    for layer in layers:
        name = f"{layer.name}.weight"
        if layer.tied_to is None and name in weights.shapes:
            rows = np.linspace(0, layer.rows - 1, min(_SAMPLE_ROWS, layer.rows)).astype(np.int64)
            found = find_grid(weights.read(name, np.unique(rows)).numpy())
            if found:
                groups.setdefault(found, []).append(layer.name)
    return tuple(
        GridFinding(tuple(names), block, levels, f"seen in {_SAMPLE_ROWS} rows of each")
        for (block, levels), names in sorted(groups.items())
    )


def find_grid(rows: npt.NDArray[np.float32]) -> tuple[int, int] | None:
    """(block, levels) of the grid that float32 [rows, cols] lies on, or None.

    A block of 0 is the whole row. Small blocks are tried last: what fits a
    whole row fits its parts.

    >>> rng = np.random.default_rng(0)
    >>> find_grid(rng.normal(size=(8, 256)).astype(np.float32)) is None
    True
    >>> codes = rng.integers(0, 16, (8, 256)).astype(np.float32)
    >>> scale = np.repeat(rng.normal(size=(8, 8)), 32, axis=1).astype(np.float32)
    >>> find_grid(codes * scale + 0.25)
    (32, 16)
    """
    cols = rows.shape[1]
    spans = [cols, *(block for block in reversed(_BLOCKS) if block < cols and cols % block == 0)]
    for span in spans:
        blocks = rows.reshape(-1, span)
        blocks = blocks[np.ptp(blocks, axis=1) > 0]
        if len(blocks) == 0:
            return None
        name = 0 if span == cols else span
        if span >= 2 * _FEW and _distinct(blocks) <= _FEW:
            return name, _FEW
        levels = _even_levels(blocks)
        if levels:
            return name, levels
    return None


def _distinct(blocks: npt.NDArray[np.float32]) -> int:
    """The most distinct values in any block."""
    ordered = np.sort(blocks, axis=1)
    return int((np.diff(ordered, axis=1) != 0).sum(axis=1).max()) + 1


def _even_levels(blocks: npt.NDArray[np.float32]) -> int:
    """Levels of an evenly spaced grid through the ends of every block; 0 when there is none.

    Symmetric codes put the largest magnitude on their last step, codes with an
    offset put the smallest and largest value on the first and last.
    """
    peak = np.abs(blocks).max(axis=1, keepdims=True)
    low, span = blocks.min(axis=1, keepdims=True), np.ptp(blocks, axis=1, keepdims=True)
    for bits in (4, 5, 6, 8):
        half = 2 ** (bits - 1)
        tries = (
            blocks / peak * (half - 1),
            blocks / peak * half,
            (blocks - low) / span * (2 * half - 1),
        )
        if any(_on_steps(codes) for codes in tries):
            return int(2 * half)
    return 0


def _on_steps(codes: npt.NDArray[np.float32]) -> bool:
    # Zeros and the ends lie on any grid by construction and prove nothing.
    inner = codes[(np.abs(codes) <= _SMALL_CODE) & (np.abs(codes) > 0.3)]
    if len(inner) < 2 * len(codes):
        return False
    return float(np.abs(inner - np.rint(inner)).mean()) < _EVEN
