"""Many jobs at once: each has a row of values from its release on, and is given weights of slots.

A row ends where the job must have ended; its room says how many slots that are. A weight is the
part of a slot that the job runs in, so that what it emits is the sum of weights times values,
whichever values those are: the ones it was planned by, or the ones that came. Of places that are
equally good the earliest is taken. A job whose row tells too little starts at once, so that a
missing forecast never costs a deadline.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from negawatt.decisions.when.windows import known

Matrix = NDArray[np.float64]
Counts = NDArray[np.intp]

_ROUNDING = 1e-12  # of the largest sum: what is nearer than this is equally good
_DIGITS = 12  # the same for single slots, as decimals of the largest
_WHOLE = 1e-9  # slots: 3.0000000001 slots are three
_UNKNOWN = 1e300  # dearer than any value, and cheaper than a slot after the deadline


class Plan(NamedTuple):
    """What a rule made of the rows.

    Args:
        weights: Part of each slot the job runs in. [jobs, slots]
        blind: Jobs that started at once because too little was known. [jobs]
    """

    weights: Matrix
    blind: NDArray[np.bool_]


def lengths(steps: Matrix) -> tuple[Counts, Matrix]:
    """Whole slots of each length, and the fraction of one more.

    >>> lengths(np.array([2.5, 3.0, 0.25]))
    (array([2, 3, 0]), array([0.5 , 0.  , 0.25]))
    """
    near = np.round(steps)
    whole = np.where(np.abs(steps - near) <= _WHOLE * np.maximum(1.0, steps), near, np.floor(steps))
    return whole.astype(np.intp), np.maximum(steps - whole, 0.0) * (np.abs(steps - whole) > _WHOLE)


def needed(steps: Matrix) -> Counts:
    """Slots that each length touches when it begins with one.

    >>> needed(np.array([2.5, 3.0, 0.25]))
    array([3, 3, 1])
    """
    whole, part = lengths(steps)
    return whole + (part > 0)


def rows(values: Matrix, starts: Counts, width: int) -> Matrix:
    """Values from each start on; NaN before the first of them and after the last.

    >>> rows(np.array([1.0, 2.0, 3.0]), np.array([0, 2]), 2)
    array([[ 1.,  2.],
           [ 3., nan]])
    """
    before = max(0, -int(starts.min(initial=0)))
    after = max(0, int(starts.max(initial=0)) + width - len(values))
    padded = np.pad(values, (before, after), constant_values=np.nan)
    return np.asarray(sliding_window_view(padded, width)[starts + before])


def at(offsets: Counts, steps: Matrix, width: int) -> Matrix:
    """Weights of jobs that run through from an offset on. [jobs, slots]

    >>> at(np.array([1]), np.array([1.5]), 4)
    array([[0. , 1. , 0.5, 0. ]])
    """
    whole, part = lengths(steps)
    place = np.arange(width)
    first, after = offsets[:, None], (offsets + whole)[:, None]
    weights = ((place >= first) & (place < after)).astype(np.float64)
    some = np.flatnonzero(part > 0)
    weights[some, (offsets + whole)[some]] = part[some]
    return weights


def sums(values: Matrix, steps: Matrix, room: Counts) -> Matrix:
    """Sum of the window that begins with each slot; infinity where it is unknown or ends too late.

    >>> sums(np.array([[5.0, 3.0, 1.0, 2.0]]), np.array([2.0]), np.array([3]))
    array([[ 8.,  4., inf, inf]])
    """
    jobs, width = values.shape
    whole, part = lengths(steps)
    need = needed(steps)
    place = np.arange(width)
    there = known(values) & (place < room[:, None])
    filled = np.where(there, values, 0.0)
    middle = filled.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    filled = np.where(there, filled - middle, 0.0)  # a flat row then sums to the same anywhere
    total = np.zeros((jobs, width + 1))
    np.cumsum(filled, axis=1, out=total[:, 1:])
    holes = np.zeros((jobs, width + 1), dtype=np.int32)
    np.cumsum(~there, axis=1, out=holes[:, 1:])
    end = np.minimum(place + whole[:, None], width)
    found = np.take_along_axis(total, end, axis=1) - total[:, :-1] + middle * steps[:, None]
    if part.any():
        after = np.take_along_axis(filled, np.minimum(end, width - 1), axis=1)
        found = found + part[:, None] * after
    last = np.minimum(place + need[:, None], width)
    gap = np.take_along_axis(holes, last, axis=1) > holes[:, :-1]
    late = place + need[:, None] > np.minimum(room, width)[:, None]
    return np.where(gap | late, np.inf, found)


def contiguous(values: Matrix, steps: Matrix, room: Counts) -> Plan:
    """Each job in one piece, in the lowest window that ends in time.

    Args:
        values: What is thought of each slot. [jobs, slots]
        steps: Length of each job in slots. [jobs]
        room: Slots from its release to its deadline. [jobs]

    >>> contiguous(np.array([[5.0, 3.0, 1.0, 2.0]]), np.array([2.0]), np.array([4])).weights
    array([[0., 0., 1., 1.]])
    """
    cost = sums(values, steps, room)
    least = cost.min(axis=1)
    blind = ~np.isfinite(least)
    finite = np.where(np.isfinite(cost), np.abs(cost), 0.0).max(axis=1)
    first = np.argmax(
        cost <= (np.where(blind, np.inf, least) + _ROUNDING * finite)[:, None], axis=1
    )
    return Plan(at(np.where(blind, 0, first), steps, values.shape[1]), blind)


def interruptible(values: Matrix, steps: Matrix, room: Counts) -> Plan:
    """Each job in the cheapest slots before its deadline, at no cost of going on.

    A slot that nothing is known of is taken after all known ones. The dearest slot holds the
    fraction of a length.

    >>> interruptible(np.array([[5.0, 1.0, 3.0, 1.0]]), np.array([2.5]), np.array([4])).weights
    array([[0. , 1. , 0.5, 1. ]])
    """
    jobs, width = values.shape
    whole, part = lengths(steps)
    place = np.arange(width)
    there = known(values)
    peak = np.abs(np.where(there, values, 0.0)).max(axis=1, keepdims=True)
    seen = np.where(there, np.round(values / np.where(peak > 0, peak, 1.0), _DIGITS), _UNKNOWN)
    seen = np.where(place < room[:, None], seen, np.inf)
    order = np.argsort(seen, axis=1, kind="stable")
    rank = np.broadcast_to(place, (jobs, width))
    by_rank = (rank < whole[:, None]).astype(np.float64)
    some = np.flatnonzero(part > 0)
    by_rank[some, whole[some]] = part[some]
    weights = np.zeros((jobs, width))
    np.put_along_axis(weights, order, by_rank, axis=1)
    blind = (there & (place < room[:, None])).sum(axis=1) < needed(steps)
    weights[blind] = at(np.zeros(int(blind.sum()), dtype=np.intp), steps[blind], width)
    return Plan(weights, blind)


def lowest_slot(values: Matrix, steps: Matrix, room: Counts) -> Plan:
    """Each job in one piece from the lowest single slot on, as some tools choose.

    The slots after the first are not looked at, so that a long job may begin in the one clean
    half-hour before a dirty night. It is here to be compared with.

    >>> lowest_slot(np.array([[5.0, 1.0, 9.0, 2.0, 2.0]]), np.array([2.0]), np.array([5])).weights
    array([[0., 1., 1., 0., 0.]])
    """
    last = np.minimum(room, values.shape[1]) - needed(steps)
    place = np.arange(values.shape[1])
    open_ = known(values) & (place <= np.maximum(last, 0)[:, None])
    blind = np.asarray(~open_.any(axis=1))
    first = np.argmin(np.where(open_, values, np.inf), axis=1)
    return Plan(at(np.where(blind, 0, first), steps, values.shape[1]), blind)


def threshold(seen: Matrix, limits: Matrix, steps: Matrix, room: Counts) -> Plan:
    """Each job in one piece from the first slot on that is low enough, else as late as it may.

    Args:
        seen: What is known last when each slot begins, so no forecast. [jobs, slots]
        limits: What is low enough, for each job. [jobs]
        steps: Length of each job in slots. [jobs]
        room: Slots from its release to its deadline. [jobs]

    >>> row, length = np.array([[5.0, 1.0, 3.0, 4.0]]), np.array([2.0])
    >>> threshold(row, np.array([2.0]), length, np.array([4])).weights
    array([[0., 1., 1., 0.]])
    >>> threshold(row, np.array([0.5]), length, np.array([4])).weights
    array([[0., 0., 1., 1.]])
    """
    width = seen.shape[1]
    last = np.maximum(np.minimum(room, width) - needed(steps), 0)
    low = seen <= limits[:, None]  # False where either is not known
    blind = ~np.isfinite(limits)
    first = np.where(low.any(axis=1), np.argmax(low, axis=1), last)
    return Plan(at(np.where(blind, 0, np.minimum(first, last)), steps, width), blind)


def stop_and_go(seen: Matrix, limits: Matrix, steps: Matrix, room: Counts) -> Plan:
    """Each job in the slots that are low enough, and in all of the rest once time runs out.

    >>> row, length = np.array([[5.0, 1.0, 3.0, 1.0, 9.0]]), np.array([2.0])
    >>> stop_and_go(row, np.array([2.0]), length, np.array([5])).weights
    array([[0., 1., 0., 1., 0.]])
    >>> stop_and_go(row, np.array([2.0]), length, np.array([3])).weights
    array([[0., 1., 1., 0., 0.]])
    """
    jobs, width = seen.shape
    weights = np.zeros((jobs, width))
    left = steps.astype(np.float64).copy()
    room = np.minimum(room, width)
    blind = ~np.isfinite(limits)
    low = (seen <= limits[:, None]) | blind[:, None]
    for place in range(width):
        must = room - place <= np.ceil(left - _WHOLE)
        share = np.where((low[:, place] | must) & (left > _WHOLE), np.minimum(left, 1.0), 0.0)
        weights[:, place] = share
        left -= share
    return Plan(weights, blind)
