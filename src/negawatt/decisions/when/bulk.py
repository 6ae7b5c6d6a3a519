"""Many jobs without limits: the same plans as one by one, in a fraction of the time.

Jobs that run through share one running sum of the signal; those that stop at no cost share one
wavelet matrix. What neither fits (restarts, nodes, waiting that costs a job with stops, gaps in
its window) is planned one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.when.field import field
from negawatt.decisions.when.pieces import stops_cost
from negawatt.decisions.when.ranks import Ranks, Spans
from negawatt.decisions.when.records import Job
from negawatt.decisions.when.schedule import best
from negawatt.decisions.when.sums import Signal, Windows, signal_of
from negawatt.decisions.when.through import now
from negawatt.signals.series import Series

Column = NDArray[np.float64]
Places = NDArray[np.int64]

_WHOLE = 1e-9  # slots
_ROUNDING = 1e-9
_FIRST = 512  # slots in which the first that runs is mostly found


class Bulk(NamedTuple):
    """Columns over jobs: start and end after the release [s], grams as planned and at once."""

    start: Column
    end: Column
    grams: Column
    now: Column


class _Table(NamedTuple):
    """Jobs in slots of the outlook. [jobs] each."""

    release: Column
    deadline: Column
    work: Column
    planned: Column
    watts: Column
    idle: Column  # [W]
    made: Column  # [gCO2e] for each slot of reservation


def planned(jobs: Sequence[Job], outlook: Series) -> Bulk:
    """When each job has best run.

    Args:
        jobs: Any; those that the columns fit are planned together.
        outlook: Intensity of the grid, with at least one value.
    """
    signal, table = signal_of(outlook), _table(jobs, outlook)
    found = Bulk(*(np.full(len(jobs), np.nan) for _ in Bulk._fields))
    inside = (table.release >= 0) & (table.deadline <= len(outlook))
    first = np.clip(np.floor(table.release), 0, len(outlook)).astype(np.int64)
    after = np.clip(np.ceil(table.deadline), 0, len(outlook)).astype(np.int64)
    whole = inside & (signal.holes[first] == signal.holes[after])
    plain = np.array([len(job.scaling) < 2 for job in jobs], dtype=bool) & whole
    plain &= table.watts > 0
    stops = np.array([job.interruptible for job in jobs], dtype=bool)
    costly = np.array([stops_cost(job) for job in jobs], dtype=bool)
    waits = (table.idle > 0) | (table.made > 0)
    fits = np.ceil(table.release) < np.floor(table.deadline)
    pieces = plain & stops & ~costly & ~waits & fits
    through = plain & ~stops
    _through(np.flatnonzero(through), table, signal, found)
    _pieces(np.flatnonzero(pieces), table, signal, found)
    together = through | pieces
    _now(np.flatnonzero(together), table, signal, found)
    for place in np.flatnonzero(~together).tolist():
        job = jobs[place]
        ground = field(job, outlook)
        chosen = best(job, ground)
        found.start[place], found.end[place] = chosen.runs[0].start, chosen.runs[-1].end
        found.grams[place], found.now[place] = chosen.cost, ground.cost(job, now(job))
    _settled(np.flatnonzero(together), table, outlook.step_s, found)
    return found


def _table(jobs: Sequence[Job], outlook: Series) -> _Table:
    step, start = outlook.step_s, outlook.start
    rows = [
        (
            (job.release - start).total_seconds() / step,
            (job.deadline - start).total_seconds() / step,
            job.work_s / step,
            job.planned_s / step,
            job.power_w,
            job.idle_w,
            job.embodied_g_per_h * step / 3600.0,
        )
        for job in jobs
    ]
    return _Table(*np.array(rows, dtype=np.float64).reshape(-1, 7).T)


def _through(places: Places, table: _Table, signal: Signal, found: Bulk) -> None:
    """Lowest window of each: starts, and grams. Those that last as long follow each other."""
    works = table.work[places]
    windows = Windows(signal, works.tolist())
    for place in places[np.argsort(works, kind="stable")].tolist():
        release, work = float(table.release[place]), float(table.work[place])
        latest = max(release, float(table.deadline[place] - table.planned[place]))
        waiting = 0.0, 0.0
        if table.idle[place] or table.made[place]:
            watts = float(table.watts[place])
            waiting = float(table.idle[place]) / watts, float(table.made[place]) / watts
            waiting = waiting[0], waiting[1] / signal.grams
        best = windows.lowest(release, latest, work, waiting)
        found.start[place], found.grams[place] = best.start, best.cost


# ------------------------------------------------------------------- cheapest cells


def _pieces(places: Places, table: _Table, signal: Signal, found: Bulk) -> None:
    """The cheapest slots of each job that stops at no cost."""
    if not len(places):
        return
    ranks = Ranks(signal.values)
    over = table.planned[places] - table.work[places]
    release, deadline = table.release[places], table.deadline[places] - over
    first = np.ceil(release - _WHOLE).astype(np.int64)
    after = np.maximum(first, np.floor(deadline + _WHOLE).astype(np.int64))
    spans = Spans(first, after, np.clip(first - release, 0, 1), np.clip(deadline - after, 0, 1))
    chosen = ranks.cheapest(spans, table.work[places])
    found.grams[places] = chosen.cost
    for row, place in enumerate(places.tolist()):
        dearest = (int(chosen.rank[row]), float(chosen.rest[row]))
        found.start[place] = _first_run(ranks, spans, dearest, row)
        found.end[place] = _last_run(ranks, spans, dearest, row)


def _first_run(ranks: Ranks, spans: Spans, dearest: tuple[int, float], row: int) -> float:
    """Where the first slot that runs begins to; one that runs in part joins the next if it can."""
    first, after = int(spans.first[row]), int(spans.after[row])
    rank, rest = dearest
    before = float(spans.before[row])
    slot, room = first - 1, before
    if not (before > 0 and ranks.rank[slot] <= rank):
        slot, room = after, float(spans.behind[row])
        place = _first_at_most(ranks.rank[first:after], rank)
        if place >= 0:
            slot, room = first + place, 1.0
    begins = float(first) - before if slot == first - 1 else float(slot)
    joins = slot + 1 < after and ranks.rank[slot] == rank and ranks.rank[slot + 1] < rank
    return begins + room - rest if joins else begins


def _last_run(ranks: Ranks, spans: Spans, dearest: tuple[int, float], row: int) -> float:
    """Where the last slot that runs ends."""
    first, after = int(spans.first[row]), int(spans.after[row])
    rank, rest = dearest
    if spans.behind[row] > 0 and ranks.rank[after] <= rank:
        return after + (rest if ranks.rank[after] == rank else float(spans.behind[row]))
    place = _first_at_most(ranks.rank[first:after][::-1], rank)
    if place < 0:
        return float(first)
    return after - 1 - place + (rest if ranks.rank[after - 1 - place] == rank else 1.0)


def _first_at_most(column: Places, limit: int) -> int:
    """Place of the first value up to a limit, -1 where there is none; most stand near the start."""
    begin, size = 0, _FIRST
    while begin < len(column):
        low = column[begin : begin + size] <= limit
        place = int(low.argmax())
        if low[place]:
            return begin + place
        begin, size = begin + size, 4 * size
    return -1


# -------------------------------------------------------------------------- all


def _now(places: Places, table: _Table, signal: Signal, found: Bulk) -> None:
    """Of all that were planned together: run now in sums, and both as grams."""
    release, work = table.release[places], table.work[places]
    sums = signal.at(release + work) - signal.at(release)
    found.now[places] = sums * signal.grams * table.watts[places] + table.made[places] * work
    found.grams[places] *= signal.grams * table.watts[places]
    alike = found.grams[places] >= found.now[places] - _ROUNDING * np.abs(found.now[places])
    found.start[places[alike]] = release[alike]
    found.end[places[alike]] = np.nan
    found.grams[places[alike]] = found.now[places[alike]]


def _settled(places: Places, table: _Table, step_s: float, found: Bulk) -> None:
    """Starts and ends of those in seconds after their release."""
    start = found.start[places]
    end = np.where(np.isnan(found.end[places]), start + table.work[places], found.end[places])
    found.start[places] = (start - table.release[places]) * step_s
    found.end[places] = (end - table.release[places]) * step_s
