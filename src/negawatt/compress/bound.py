"""What rounding and grading a decoder block by block holds in memory, told beforehand.

Every term is a count of values that the code is seen to hold, not a fit. The largest of the
stages decides: two stages never hold theirs at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from negawatt.compress.calibrate import LARGE, rows_at_once
from negawatt.compress.inputs import grouped
from negawatt.core.records import Layer

_WIDE, _HALF, _DOUBLE = 4, 2, 8  # bytes of a value
_TENSORS = 12  # of the size of a piece of rows, that a method holds while it rounds one
_CHUNK = 128  # positions whose logits are looked at together
_SLACK = 64 * 2**20  # what the allocator and the arithmetic library keep [B]


@dataclass(frozen=True, slots=True)
class Bound:
    """Memory that a model adds to the libraries', at most. [B]

    Args:
        block: The largest block, or embedding or head where those are larger.
        statistics: Sums of outer products that are held at a time, single precision.
        method: What is made of them, and pieces of rows on their way through a method.
        states: Hidden states in memory.
        inside: What a block makes of one text on the way.
        grading: Logits of some positions.
        spilled: Hidden states on disk.
    """

    block: int
    statistics: int
    method: int
    states: int
    inside: int
    grading: int
    spilled: int = 0

    @property
    def total(self) -> int:
        """Of the stage that holds most.

        >>> Bound(block=10, statistics=5, method=7, states=2, inside=3, grading=1).total
        67108884
        """
        walking = self.block + self.statistics + self.states + self.inside
        rounding = self.statistics + self.states + self.method
        graded = self.block + self.states + max(self.inside, self.grading)
        return _SLACK + max(walking, rounding, graded)

    def told(self, libraries: int) -> str:
        """For people.

        Args:
            libraries: What is held before any model. [B]
        """
        parts = {
            "the largest block": self.block,
            "sums over its inputs": self.statistics,
            "rounding": self.method,
            "hidden states": self.states,
        }
        listed = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in parts.items())
        disk = f"; {self.spilled / 1e6:,.0f} MB of hidden states go to disk" if self.spilled else ""
        return (
            f"memory: at most {(self.total + libraries) / 1e6:,.0f} MB until the artifacts: libraries "
            f"{libraries / 1e6:,.0f}, the model {self.total / 1e6:,.0f} ({listed}; not all at once){disk}"
        )


def bound(
    layers: Sequence[Layer],
    config: Mapping[str, Any],
    tokens: tuple[int, int, int],
    room: int,
    threads: int | None = None,
    *,
    wide: bool = False,
) -> Bound:
    """What `fill_bank` and grading will hold at most beside the libraries.

    Args:
        layers: Of the decoder.
        config: Its `config.json`.
        tokens: Of calibration text, of text to grade on, and of the longest of either's windows.
        room: For hidden states in memory. [B]
        threads: That round side by side; those of PyTorch when None.
        wide: Texts go through the blocks in 32 bits; see `negawatt.models.halves`.
    """
    threads = threads or torch.get_num_threads()
    calibration, graded, window = tokens
    size = _WIDE if wide else _HALF
    hidden = next(layer.cols for layer in layers if layer.kind == "embedding")
    widest = max(max(layer.cols, layer.rows) for layer in layers if layer.block is not None)
    heads = int(config.get("num_attention_heads") or 1)
    states = size * hidden * max(calibration, graded)
    outer = [layer for layer in layers if layer.block is None]
    head = max(layer.rows * layer.cols for layer in outer)
    vocabulary = max(layer.rows for layer in outer)
    in_attention = window * window * heads * (2 * _WIDE + 2 * size) + 8 * _WIDE * hidden * window
    # What is widened is read from a mapped file, one matrix at a time.
    mapped = _HALF * max(layer.rows * layer.cols for layer in layers) if wide else 0
    return Bound(
        block=mapped + size * max(head, *_blocks(layers).values()),
        statistics=max(
            [
                _sums(group, hidden)
                for group in grouped([one for one in layers if one.block is not None])
            ]
        ),
        method=_method(layers, threads),
        states=min(states, room),
        inside=in_attention + (4 * size + _WIDE) * widest * window,
        grading=4 * _WIDE * _CHUNK * vocabulary,
        spilled=max(0, states - room),
    )


def _blocks(layers: Sequence[Layer]) -> dict[int | None, int]:
    """How many weights each has."""
    sizes: dict[int | None, int] = {}
    for layer in layers:
        if layer.block is not None:
            sizes[layer.block] = sizes.get(layer.block, 0) + layer.rows * layer.cols
    return sizes


def _sums(group: Sequence[Layer], hidden: int) -> int:
    """Of one group: layers of a block that are fed alike share one sum.

    In a usual block there are three that read the stream (q, k and v together, gate and up, and
    what attention gave), one that reads the widest rows, and for values a second sum with the
    two that are added.
    """
    blocks = {layer.block for layer in group}
    wide = {
        layer.block: max(one.cols for one in group if one.block == layer.block) for layer in group
    }
    return sum(_WIDE * (6 * hidden**2 + wide[block] ** 2) for block in blocks)


def _method(layers: Sequence[Layer], threads: int) -> int:
    """While layers are rounded: large ones alone, small ones side by side."""

    def piece(layer: Layer) -> int:
        return _TENSORS * _WIDE * min(layer.rows, rows_at_once(layer.cols)) * layer.cols

    def alone(layer: Layer) -> int:
        square = 0 if layer.kind == "embedding" else layer.cols**2
        factoring = (_DOUBLE + _WIDE) * square
        side_by_side = _WIDE * square + threads * (_WIDE * square + piece(layer))
        return max(factoring, side_by_side) + layer.rows * layer.cols

    def beside(layer: Layer) -> int:
        return (_DOUBLE + 2 * _WIDE) * layer.cols**2 + piece(layer) + layer.rows * layer.cols

    large = [alone(one) for one in layers if one.rows * one.cols >= LARGE]
    small = sorted(beside(one) for one in layers if one.rows * one.cols < LARGE)
    return max([*large, sum(small[-threads:])])
