"""What codes stand for before zero point and scale: counts, or entries of a table.

Whoever chooses codes works on levels, which are ordinary numbers: rounding goes to the nearest
of them, errors are taken from them. They become codes when a matrix is packed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from negawatt.core.levels import TABLES
from negawatt.core.records import Format


class Levels:
    """The levels of one format.

    >>> uneven = Levels(Format(4, 32, levels="nl"))
    >>> level = uneven.snap(torch.tensor([0.4, -30.0, 500.0]))
    >>> level.tolist(), uneven.codes(level).tolist()
    ([1.0, -35.0, 113.0], [8, 5, 15])
    """

    def __init__(self, fmt: Format) -> None:
        top = 2**fmt.bits - 1
        table = TABLES[fmt.levels] if fmt.levels else (0, top)
        self.low, self.high = float(table[0]), float(table[-1])
        self._whole = not fmt.has_minimum  # zero points are codes
        self._table = torch.tensor(table, dtype=torch.float32) if fmt.levels else None
        if self._table is not None:
            # Halfway between whole numbers lie halves: one look-up finds the nearest entry.
            halves = torch.arange(2 * (table[-1] - table[0]) + 1) / 2 + self.low
            middles = (self._table[1:] + self._table[:-1]) / 2
            self._code = torch.bucketize(halves, middles, right=True).to(torch.uint8)
            self._nearest = self._table[self._code.long()]

    def snap(self, values: Tensor, zero: Tensor | float = 0.0) -> Tensor:
        """The levels nearest to `values + zero`; `values` may be written over."""
        if not self._whole:
            return values.add_(zero).round_().clamp_(self.low, self.high)
        if self._table is None:
            # Rounded before a whole number is added: halves then go where they always went.
            return values.round_().add_(zero).clamp_(self.low, self.high)
        at = self._half(values.add_(zero))
        return self._nearest.index_select(0, at.flatten()).reshape(values.shape)

    def _half(self, values: Tensor) -> Tensor:
        """Which half step above the lowest level values are in, int32; written over."""
        values.clamp_(self.low, self.high).sub_(self.low).mul_(2.0)
        return values.to(torch.int32)

    def gap(self, values: Tensor) -> Tensor | float:
        """Distance of the two levels that each value lies between, or of the outermost two."""
        if self._table is None:
            return 1.0
        above = torch.bucketize(values, self._table).clamp_(1, len(self._table) - 1)
        return self._table[above] - self._table[above - 1]

    def within(self, values: Tensor, gap: Tensor | float) -> Tensor:
        """Where values are no further outside than half a gap, so that rounding does not clip."""
        return (values >= self.low - gap / 2) & (values <= self.high + gap / 2)

    def codes(self, levels: Tensor) -> Tensor:
        """The codes of levels, uint8."""
        if self._table is None:
            return levels.to(torch.uint8)
        at = self._half(levels.clone())
        return self._code.index_select(0, at.flatten()).reshape(levels.shape)

    def of(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """The levels of uint8 codes, in memory of their own."""
        if self._table is None:
            return codes.to(dtype, copy=True)
        flat = codes.flatten().to(torch.int32)
        return self._table.to(dtype).index_select(0, flat).reshape(codes.shape)
