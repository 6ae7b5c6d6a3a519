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
_SMALL_CODE = 24  # steps from zero; bfloat16 keeps 8 bits, so what lies further drifts off
_FEWEST, _SPREAD = 6, 1.5  # values a block must have, and how widely, in steps
_BLOCKS_SEEN = 4  # fewer blocks prove nothing
_AGREEMENT = 0.8


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
        if re.match(r"[IT]?Q\d|MXFP4", kind):
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
        if _few_levels(blocks):
            return name, _FEW
        levels = _even_levels(blocks)
        if levels:
            return name, levels
    return None


def _few_levels(blocks: npt.NDArray[np.float32]) -> bool:
    """True when no block has more different values than a 4-bit code, zeros left aside."""
    telling = blocks[(blocks != 0).sum(axis=1) >= 1.5 * _FEW]
    if len(telling) < max(_BLOCKS_SEEN, len(blocks) / 2):
        return False
    ordered = np.sort(telling, axis=1)
    levels = 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1) - (telling == 0).any(axis=1)
    return int(levels.max()) <= _FEW


def _even_levels(blocks: npt.NDArray[np.float32]) -> int:
    """Levels of an evenly spaced grid under every block; 0 when there is none.

    Symmetric codes put the largest magnitude on their last step, codes with an
    offset put the smallest and largest value on the first and last.
    """
    peak = np.abs(blocks).max(axis=1, keepdims=True)
    span = np.ptp(blocks, axis=1, keepdims=True)
    for bits in (4, 5, 6, 8):
        half = 1 << (bits - 1)
        steps = (peak / (half - 1), peak / half, span / (2 * half - 1))
        if any(_on_steps(blocks / step) for step in steps):
            return 2 * half
    return 0


def _on_steps(codes: npt.NDArray[np.float32]) -> bool:
    """True when the values of most blocks, in steps, differ by whole numbers.

    As angles they then all point one way: their mean has length 1, against
    about 1/sqrt(n) for values that know no step. Blocks whose values crowd
    within a step or two would point one way without a grid and do not count;
    nor do zeros, which a pruned model has for another reason.
    """
    inner = (np.abs(codes) <= _SMALL_CODE) & (codes != 0)
    count = inner.sum(axis=1)
    held = np.where(inner, codes, 0.0).astype(np.float64)
    mean = held.sum(axis=1) / np.maximum(count, 1)
    spread = np.sqrt((held**2).sum(axis=1) / np.maximum(count, 1) - mean**2)
    telling = (count >= _FEWEST) & (spread >= _SPREAD)
    if telling.sum() < max(_BLOCKS_SEEN, len(codes) / 2):
        return False
    angles = np.where(inner, np.exp(2j * np.pi * held), 0.0).sum(axis=1)
    return float(np.median(np.abs(angles[telling]) / count[telling])) > _AGREEMENT
