"""The lowest windows of many lengths in one long column, each to the fraction of a slot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.when.windows import known
from negawatt.signals.series import Series

Column = NDArray[np.float64]
Places = NDArray[np.int64]

_FINE = 2.0**30  # steps between 0 and the largest value: sums of them are exact, so ties are
_WHOLE = 1e-9  # slots
_NOUGHT = 1e-9  # gCO2e/kWh: less is nothing
_ROUNDING = 1e-9
_LONG = 4096  # slots: shorter columns are gone through anew for every job
_BLOCKS = 4  # that a window is cut in, where a long column is looked over coarsely first
_LARGEST = 6  # slots of such a block


class Best(NamedTuple):
    """A start, and the sum of values of the window from there."""

    cost: float
    start: float


class Signal(NamedTuple):
    """An outlook in exact steps, and its running sum."""

    values: Column  # [slots], whole numbers
    total: Column  # [slots + 1], before each slot
    holes: Places  # [slots + 1], how many are not known before each
    grams: float  # of a watt in a slot, for a value of 1

    def at(self, slot: Column) -> Column:
        """Running sum up to any place between."""
        whole = np.clip(np.floor(slot), 0, len(self.values) - 1).astype(np.int64)
        return self.total[whole] + (slot - whole) * self.values[whole]


def signal_of(outlook: Series) -> Signal:
    """What the windows are sums of."""
    there = known(outlook.values)
    values = np.where(there, outlook.values, 0.0)
    scale = max(float(np.abs(values).max()), _NOUGHT) / _FINE
    values = np.rint(values / scale)
    total = np.concatenate([[0.0], np.cumsum(values)])
    holes = np.concatenate([[0], np.cumsum(~there)])
    return Signal(values, total, holes, scale * outlook.step_s / J_PER_KWH)


class Windows:
    """Lowest windows of one signal.

    Args:
        signal: Which.
        lengths: Of all windows that will be asked for; what several share is worked out once,
            when they are asked for one after the other. [slots]
    """

    def __init__(self, signal: Signal, lengths: Iterable[float]) -> None:
        self.signal = signal
        one, twice = set[float](), set[float]()
        for length in lengths:
            (twice if length in one else one).add(length)
        self._shared = twice
        self._length = -1.0
        self._size = 0
        self._padded = np.append(signal.values, np.inf)  # beyond the end nothing can be met
        self._kept: list[Column] = []

    def lowest(
        self, release: float, latest: float, work: float, waiting: tuple[float, float]
    ) -> Best:
        """Best start between two places; at the release unless another is better.

        Args:
            release: First start that is allowed. [slots]
            latest: Last one. [slots]
            work: Length of the window. [slots]
            waiting: Power while waiting over that of running, and what each slot of reservation
                costs on top.
        """
        costs, starts = self._ends(release, latest, work, waiting)
        best = Best(float(costs[0]), release)
        tried = [Best(float(costs[1]), float(starts[1]))]
        long = latest - release >= _LONG and work not in self._shared
        if long and not any(waiting):
            tried += self._coarsely(release, latest, work)
        else:
            tried += self._every(release, latest, work, waiting)
        least = min(tried)
        return least if least.cost < best.cost - _ROUNDING * abs(best.cost) else best

    def _ends(
        self, release: float, latest: float, work: float, waiting: tuple[float, float]
    ) -> tuple[Column, Column]:
        starts = np.array([release, latest])
        costs = self.signal.at(starts + work) - self.signal.at(starts)
        return self._waited(costs, starts, release, work, waiting), starts

    def _waited(
        self, costs: Column, starts: Column, release: float, work: float,
        waiting: tuple[float, float],
    ) -> Column:  # fmt: skip
        idle, made = waiting
        if not (idle or made):
            return costs
        before = self.signal.at(starts) - self.signal.at(np.array([release]))
        waited: Column = costs + idle * before + made * (starts + work - release)
        return waited

    def _every(
        self, release: float, latest: float, work: float, waiting: tuple[float, float]
    ) -> list[Best]:
        """Windows that begin at an edge, and those that end at one."""
        found = []
        for ends, shift in ((False, 0.0), (True, work)) if _parts(work)[1] else ((False, 0.0),):
            first, last = math.ceil(release + shift - _WHOLE), math.floor(latest + shift + _WHOLE)
            if first <= last:
                column = self._column(first, last, work, ends=ends)
                if any(waiting):
                    starts: Column = np.arange(first, last + 1, dtype=np.float64) - shift
                    column = self._waited(column, starts, release, work, waiting)
                place = int(column.argmin())
                start = min(max(first + place - shift, release), latest)
                found.append(Best(float(column[place]), start))
        return found

    def _column(self, first: int, last: int, work: float, *, ends: bool) -> Column:
        """Sums of windows that begin, or end, at each of these edges."""
        if last - first < _LONG or work not in self._shared:
            return self._between(first, last, work, ends=ends)
        slots, need = len(self.signal.values), math.ceil(work - _WHOLE)
        if self._length != work:
            self._length = work
            self._kept = [self._between(0, slots - need, work, ends=False)]
            if _parts(work)[1]:
                self._kept.append(self._between(need, slots, work, ends=True))
        from_ = need if ends else 0
        return self._kept[ends][first - from_ : last + 1 - from_]

    def _between(self, first: int, last: int, work: float, *, ends: bool) -> Column:
        total, values = self.signal.total, self.signal.values
        whole, part = _parts(work)
        if not ends:
            sums = total[first + whole : last + 1 + whole] - total[first : last + 1]
            return sums + part * values[first + whole : last + 1 + whole] if part else sums
        sums = total[first : last + 1] - total[first - whole : last + 1 - whole]
        return sums + part * values[first - whole - 1 : last - whole]

    def _coarsely(self, release: float, latest: float, work: float) -> list[Best]:
        """The same, looking closer only into blocks whose least may be the least of all.

        A window that moves on by a slot loses no more than the highest value it leaves, and gains
        no less than the lowest that it meets. Near the best one these are alike, so few blocks
        are left.
        """
        total, values = self.signal.total, self.signal.values
        whole, part = _parts(work)
        begin, end = math.floor(release), math.floor(latest)
        size = max(1, min(whole // _BLOCKS, _LARGEST))
        highest, lowest = self._ranges(size)
        here, there = slice(begin, end + 1, size), slice(begin + whole, end + whole + 1, size)
        sums = total[there] - total[here]
        if part:
            sums += part * self._padded[there]
        limit = sums[int(begin < release) :].min(initial=np.inf)
        sums -= size * np.maximum(highest[here] - lowest[there], 0.0)
        near = begin + size * np.flatnonzero(sums <= limit)
        at = (near[:, None] + np.arange(size)).reshape(-1)
        found = []
        inside = at[(at >= release) & (at <= latest)]
        if len(inside):
            sums = total[inside + whole] - total[inside]
            if part:
                sums += part * values[np.minimum(inside + whole, len(values) - 1)]
            place = int(sums.argmin())
            found.append(Best(float(sums[place]), float(inside[place])))
        ends = at + (1.0 - part)
        inside = at[(ends >= release) & (ends <= latest)] if part else at[:0]
        if len(inside):
            sums = total[inside + whole + 1] - total[inside + 1] + part * values[inside]
            place = int(sums.argmin())
            found.append(Best(float(sums[place]), float(inside[place]) + 1.0 - part))
        return found

    def _ranges(self, size: int) -> tuple[Column, Column]:
        """Highest of so many slots from each on, and lowest of one more; at the end of those left."""
        if self._size != size:
            self._size = size
            self._highest = -_sliding_minimum(np.append(-self.signal.values, np.inf), size)
            self._lowest = _sliding_minimum(self._padded, size + 1)
        return self._highest, self._lowest


def _sliding_minimum(row: Column, width: int) -> Column:
    """Lowest of the `width` values from each on, of fewer at the end; by doubling."""
    row, size = row.copy(), 1
    while size < width:
        more = min(size, width - size)
        row[: len(row) - more] = np.minimum(row[: len(row) - more], row[more:])
        size += more
    return row


def _parts(work: float) -> tuple[int, float]:
    """Whole slots, and the fraction of one more."""
    whole = math.floor(work + _WHOLE)
    return whole, work - whole if work - whole > _WHOLE else 0.0
