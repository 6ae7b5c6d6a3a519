"""Lowest windows and cheapest slots of a column of values: what every choice of a time rests on.

A length is a number of slots and need not be whole: 2.5 slots are two, and half of the one after.
What is not known (NaN, or no number that a signal could have) is never chosen. Of places that are
equally good the earliest is taken, so that a flat signal moves nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from negawatt.core.errors import UsageError

Column = NDArray[np.float64]
Places = NDArray[np.intp]

#: Values beyond are no reading of anything, and sums of them would overflow.
ABSURD = 1e15
_ROUNDING = 1e-12  # of the largest sum: what is nearer than this is equally good
_WHOLE = 1e-9  # slots: 3.0000000001 slots are three
_BLOCK = 1 << 21  # values sorted at a time, so that memory stays small


class Scan(NamedTuple):
    """Sums of windows for every start. [..., starts]

    Args:
        now: Of the window that begins at once.
        best: Of the lowest that may be chosen within the slack.
    """

    now: Column
    best: Column


def split(steps: float) -> tuple[int, float]:
    """Whole slots of a length, and the fraction of one more.

    Raises:
        UsageError: it is no length.

    >>> split(2.5), split(3), split(0.25)
    ((2, 0.5), (3, 0.0), (0, 0.25))
    """
    if not 0 < steps < math.inf:
        raise UsageError(f"a window of {steps} slots is none", fix="give a length above 0")
    near = round(steps)
    if near and abs(steps - near) <= _WHOLE * max(1.0, steps):
        return near, 0.0
    return int(steps), steps - int(steps)


def known(values: Column) -> NDArray[np.bool_]:
    """Where a value is one."""
    return np.abs(values) < ABSURD  # False for NaN


def window_sums(values: Column, steps: float) -> Column:
    """Sum of every window of so many slots, by its first; NaN where one of them is not known.

    Args:
        values: [..., slots].
        steps: Length of the window in slots; of the last one its fraction counts.

    Returns:
        [..., starts], one for each window that lies within.

    Raises:
        UsageError: the column is shorter than the window.

    >>> window_sums(np.array([1.0, 2.0, 4.0, np.nan]), 1.5)
    array([ 2.,  4., nan])
    """
    sums = _sums(np.asarray(values, dtype=np.float64), steps)
    return np.where(np.isinf(sums), np.nan, sums)


def _sums(values: Column, steps: float) -> Column:
    """The same, with infinity where a value is not known."""
    whole, part = split(steps)
    need = whole + (part > 0)
    starts = values.shape[-1] - need + 1
    if starts < 1:
        raise UsageError(
            f"a window of {steps:g} slots does not fit into {values.shape[-1]}",
            fix="give a longer time to choose from, or a shorter job",
        )
    there = known(values)
    complete = bool(there.all())
    filled = values if complete else np.where(there, values, 0.0)
    middle = filled.mean(axis=-1, keepdims=True)  # so that a flat column sums to the same anywhere
    filled = filled - middle
    sums = middle * (whole + part) + (part * filled[..., whole:][..., :starts] if part else 0.0)
    if whole:
        total = _running(filled)
        sums = sums + (total[..., whole : whole + starts] - total[..., :starts])
    if not complete:
        holes = _running((~there).astype(np.int32))
        sums = np.where(holes[..., need : need + starts] > holes[..., :starts], np.inf, sums)
    return np.broadcast_to(sums, (*values.shape[:-1], starts))


def _running(column: Column) -> Column:
    total = np.zeros((*column.shape[:-1], column.shape[-1] + 1))
    np.cumsum(column, axis=-1, out=total[..., 1:])
    return total


def contiguous(values: Column, steps: float, first: int = 0, last: int | None = None) -> int:
    """First slot of the lowest window whose slots all lie in `first` to `last`.

    Args:
        values: [slots].
        steps: Length of the window in slots.
        first: Earliest slot.
        last: Slot after the latest; the end of the column when None.

    Raises:
        UsageError: none fits, or none is known throughout.

    >>> contiguous(np.array([5.0, 3.0, 1.0, 2.0, 9.0, 0.0]), 2)
    2
    >>> contiguous(np.full(24, 0.1), 5, first=3)
    3
    """
    start, stop, _ = slice(first, last).indices(len(values))
    sums = _sums(np.asarray(values[start:stop], dtype=np.float64), steps)
    least = float(sums.min())
    if math.isinf(least):
        raise UsageError(
            f"no window of {steps:g} slots is known throughout",
            fix="fill the gaps of the signal, or plan without one",
        )
    finite = sums[np.isfinite(sums)]
    rounding = _ROUNDING * float(np.abs(finite).max())
    return start + int(np.argmax(sums <= least + rounding))


def cheapest(values: Column, steps: float, first: int = 0, last: int | None = None) -> Places:
    """The cheapest slots of `first` to `last` that hold so much work, cheapest first.

    A fraction of a slot belongs to the last of them, which is the dearest. Slots that cost the
    same are taken in their order. `np.sort` brings them into the order of time.

    Raises:
        UsageError: fewer slots than that are known.

    >>> cheapest(np.array([5.0, 1.0, np.nan, 3.0, 1.0]), 2.5)
    array([1, 4, 3])
    """
    start, stop, _ = slice(first, last).indices(len(values))
    column = np.asarray(values[start:stop], dtype=np.float64)
    whole, part = split(steps)
    need = whole + (part > 0)
    there = np.flatnonzero(known(column))
    if len(there) < need:
        raise UsageError(
            f"{len(there)} slots are known, and {steps:g} are needed",
            fix="give a longer time to choose from, or plan without a signal",
        )
    order = np.argsort(column[there], kind="stable")[:need]
    return there[order] + start


def cost(values: Column, places: Places, steps: float) -> float:
    """Sum of chosen slots, the last of which counts by the fraction of `steps`.

    >>> cost(np.array([5.0, 1.0, 9.0, 3.0, 1.0]), np.array([1, 4, 3]), 2.5)
    3.5
    """
    _, part = split(steps)
    chosen = values[places]
    return float(chosen.sum() - (1.0 - part) * chosen[-1] if part else chosen.sum())


def scan(values: Column, steps: float, slack: int) -> Scan:
    """Run now beside the lowest window within the slack, for every start at once.

    Args:
        values: [..., slots], for example [zones, hours of a year].
        steps: Length of the job in slots.
        slack: How many slots later it may begin.

    Returns:
        Sums for each start from which slack and window fit; NaN where run now, or every window, is
        not known.

    Raises:
        UsageError: the slack is below 0, or none fits.

    >>> scan(np.array([[3.0, 2.0, 1.0, 4.0]]), 1, 2)
    Scan(now=array([[3., 2.]]), best=array([[1., 1.]]))
    """
    sums = _sums(np.asarray(values, dtype=np.float64), steps)
    starts = _starts(sums.shape[-1], slack)
    best = np.empty((*sums.shape[:-1], starts))
    for zone in np.ndindex(sums.shape[:-1]):  # a row at a time stays in the cache
        best[zone] = _sliding_minimum(sums[zone], slack + 1)
    now = sums[..., :starts]
    return Scan(*(np.where(np.isinf(each), np.nan, each) for each in (now, best)))


def scan_cheapest(values: Column, steps: float, slack: int) -> Column:
    """Sum of the cheapest slots, for every start: what interrupting at no cost comes to.

    The job may use any slots between its start and the latest end that `scan` allows it. That is
    also the oracle's figure where the values are what happened.

    Returns:
        [..., starts], in the places of `scan`; NaN where too few slots are known.

    Raises:
        UsageError: the slack is below 0, or none fits.

    >>> scan_cheapest(np.array([[3.0, 1.0, 5.0, 2.0, 4.0]]), 2, 2)
    array([[3., 3.]])
    """
    column = np.asarray(values, dtype=np.float64)
    whole, part = split(steps)
    need = whole + (part > 0)
    starts = _starts(column.shape[-1] - need + 1, slack)
    rows = np.where(known(column), column, np.inf).reshape(-1, column.shape[-1])
    best = np.empty((len(rows), starts))
    block = max(1, _BLOCK // (need + slack))
    for row, out in zip(rows, best, strict=True):
        spans = sliding_window_view(row, need + slack)
        for at in range(0, starts, block):
            lowest = np.partition(spans[at : at + block], need - 1, axis=-1)[:, :need]
            out[at : at + block] = lowest[:, :whole].sum(axis=-1)
            if part:  # after a partition the last of them is the dearest
                out[at : at + block] += part * lowest[:, -1]
    return np.where(np.isinf(best), np.nan, best).reshape(*column.shape[:-1], starts)


def _starts(sums: int, slack: int) -> int:
    starts = sums - slack
    if slack < 0 or starts < 1:
        raise UsageError(
            f"a slack of {slack} slots leaves no start",
            fix="give 0 or more, and a time that holds slack and job",
        )
    return starts


def _sliding_minimum(row: Column, width: int) -> Column:
    """Lowest of each `width` values in a row, by doubling."""
    size = 1
    while 2 * size <= width:
        row = np.minimum(row[:-size], row[size:])
        size *= 2
    rest = width - size
    return np.minimum(row[: len(row) - rest], row[rest:]) if rest else row
