"""The cheapest slots of many stretches of one column at once, without sorting any of them.

A wavelet matrix: the ranks of all slots, split bit by bit. Walking down its levels once finds, for
any number of stretches together, the sum of the cheapest slots that hold so much work and the rank
of the dearest of them; 10 000 stretches of a year take some tens of milliseconds, however long
they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Spans(NamedTuple):
    """Stretches of a column: whole slots, and parts of those before and after. [jobs] each.

    Args:
        first: First whole slot.
        after: Slot after the last whole one; not below `first`.
        before: How much of slot `first - 1` belongs to it. [slots]
        behind: How much of slot `after` does. [slots]
    """

    first: Places
    after: Places
    before: Column
    behind: Column


class Cheapest(NamedTuple):
    """What the cheapest slots come to. [jobs] each.

    Args:
        cost: Sum over them, each weighed by how much of it runs.
        rank: Of the dearest: slots of lower rank run wholly.
        rest: How much of the dearest runs. [slots]
    """

    cost: Column
    rank: Places
    rest: Column


@dataclass(frozen=True, eq=False)
class _Level:
    zeros: Places  # how many ranks before each place have the bit 0
    sums: Column  # and the sum of their values


class Ranks:
    """A column made ready to be asked for its cheapest slots.

    Args:
        values: [slots], all known. Of equal ones the earlier counts as cheaper.

    >>> ranks = Ranks(np.array([5.0, 1.0, 9.0, 3.0, 1.0]))
    >>> one = [np.array([each]) for each in (0, 5, 0.0, 0.0)]
    >>> found = ranks.cheapest(Spans(*one), np.array([2.5]))
    >>> found.cost.tolist(), found.rest.tolist(), ranks.rank.tolist()
    ([3.5], [0.5], [3, 0, 4, 2, 1])
    """

    def __init__(self, values: Column) -> None:
        order = np.argsort(values, kind="stable")
        self.values = values
        self.order = order
        self.rank = np.empty(len(values), dtype=np.int64)
        self.rank[order] = np.arange(len(values))
        self._levels: list[_Level] = []
        ranks = self.rank
        for bit in range(max(1, int(len(values) - 1).bit_length()) - 1, -1, -1):
            zero = (ranks >> bit) & 1 == 0
            counts = _before(zero.astype(np.float64)).astype(np.int64)
            sums = _before(np.where(zero, values[order[ranks]], 0.0))
            self._levels.append(_Level(counts, sums))
            ranks = np.concatenate([ranks[zero], ranks[~zero]])

    def cheapest(self, spans: Spans, work: Column) -> Cheapest:
        """The cheapest parts of spans that hold so much work, which each must have room for.

        Args:
            spans: Where to choose.
            work: How much. [slots], [jobs]
        """
        low, high = spans.first.copy(), spans.after.copy()
        last = len(self.values) - 1
        edges = [
            (np.clip(spans.first - 1, 0, last), spans.before),
            (np.clip(spans.after, 0, last), spans.behind),
        ]
        parts = [(self.rank[slot], weight, self.values[slot]) for slot, weight in edges]
        alive = [weight > 0 for _, weight in edges]
        need, cost, rank = work.copy(), np.zeros(len(work)), np.zeros(len(work), dtype=np.int64)
        for depth, level in enumerate(self._levels):
            bit = len(self._levels) - 1 - depth
            low_zeros, high_zeros = level.zeros[low], level.zeros[high]
            room = (high_zeros - low_zeros).astype(np.float64)
            worth = level.sums[high] - level.sums[low]
            ones = [(own >> bit) & 1 == 1 for own, _, _ in parts]
            for (_, weight, value), live, one in zip(parts, alive, ones, strict=True):
                share = np.where(live & ~one, weight, 0.0)
                room += share
                worth += share * value
            up = need > room + 1e-9
            need = np.where(up, need - room, need)
            cost = np.where(up, cost + worth, cost)
            rank = 2 * rank + up
            alive = [live & (one == up) for live, one in zip(alive, ones, strict=True)]
            zeros = int(level.zeros[-1])
            low = np.where(up, zeros + low - low_zeros, low_zeros)
            high = np.where(up, zeros + high - high_zeros, high_zeros)
        rank = np.minimum(rank, last)
        return Cheapest(cost + need * self.values[self.order[rank]], rank, need)


def _before(column: Column) -> Column:
    """Sums of all that stands before each place, and of all."""
    total = np.zeros(len(column) + 1)
    np.cumsum(column, out=total[1:])
    return total
