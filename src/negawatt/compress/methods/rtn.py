"""Rounding to nearest, with the scale of every group searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from negawatt.compress.quantise import finite, round_to_nearest

if TYPE_CHECKING:
    from torch import Tensor

    from negawatt.compress.methods import Rounder
    from negawatt.core.records import Format, QuantisedWeight


class Rtn:
    """Each value goes to its nearest level; columns that fire more count more for the scale."""

    name = "rtn"
    reads = True

    def prepare(self, inputs: Tensor | None) -> Rounder:
        """Keep how strongly each column fires."""
        return Weighted(None if inputs is None else _strength(finite(inputs)))


class Weighted:
    """Rounding with scales that spare the columns named important.

    Args:
        importance: Mean squared input per column, [cols]; equal when None.
    """

    def __init__(self, importance: Tensor | None = None) -> None:
        self._importance = importance

    def quantise(self, weight: Tensor, fmt: Format) -> QuantisedWeight:
        """Round [rows, cols] weights."""
        return round_to_nearest(weight, fmt, self._importance)


def _strength(inputs: Tensor) -> Tensor:
    """How strongly columns fire, with a floor for those that never do, [cols]."""
    diagonal = inputs.diagonal()
    return diagonal.clamp_min(diagonal.mean() * 1e-6 + 1e-12)
