"""The best times for a job whose interruptions cost time, or may not come too soon.

A dynamic program over quanta of time and of work finds the least there is: exact where all times
of the job and the field are whole quanta. Where they are not, everything is rounded up, so that
the plan can always be kept, and what was rounded is taken back from the dearest end.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negawatt.decisions.when.field import Field, Run, Runs, made_g_per_s
from negawatt.decisions.when.records import Job

Column = NDArray[np.float64]
Codes = NDArray[np.uint8]

_EXACT_STATES = 2_000_000  # of the program: about a tenth of a second
_MOST_STATES = 100_000_000  # two bytes each
_ROUNDING = 1e-12  # of grams: no reason to end later
_TINY = 1e-6  # a microsecond is no time [s]
_FIRST, _AGAIN, _ON = 1, 2, 3  # a running state: by a first block, a later block, or going on


class _Quanta(NamedTuple):
    """A job in whole quanta of time."""

    start: float  # [s]
    length: float  # [s]
    slots: int
    work: int
    restart: int
    checkpoint: int
    shortest: int

    @property
    def first(self) -> int:
        """Work of a first block: with a checkpoint it is long enough."""
        return max(1, self.shortest - self.checkpoint)

    @property
    def again(self) -> int:
        """Work of a later block, which begins with the restart."""
        return max(1, self.shortest - self.checkpoint - self.restart)


class _Steps(NamedTuple):
    """How each state was come by, and where the best plan ends."""

    running: Codes  # [slots + 1, work + 1]
    waiting: Codes  # 1 where it was stopped just then
    end: int  # -1 where no plan was found
    inside: int  # work done in a last block that was cut short by the end of all work


def programmed(job: Job, field: Field) -> Runs:
    """The stretches of least cost for the usual work; empty where the field is too short."""
    quanta = _quanta(job, field)
    if quanta is None:
        return ()
    runs = _walk_back(_program(job, field, quanta), quanta)
    return _trimmed(job, field, runs) if runs else ()


def _quanta(job: Job, field: Field) -> _Quanta | None:
    """The finest quantum that can be gone through: one that divides all times where it can."""
    own = [job.work_s, job.restart_s, job.checkpoint_s, job.min_run_s]
    millis = np.round(1000 * np.concatenate([own, field.lengths])).astype(np.int64)
    exact = np.allclose(millis[:4], 1000 * np.array(own), rtol=0, atol=1e-3)
    common = int(np.gcd.reduce(millis)) / 1000 if exact else 0.0

    def states(length: float) -> float:
        return (field.end / length) * (job.work_s / length + 1)

    start, length = 0.0, common
    if not common or states(common) > _EXACT_STATES:
        finer = max(1, int(field.step_s / math.sqrt(field.end * job.work_s / _EXACT_STATES)))
        length = field.step_s / finer
        while states(length) > _MOST_STATES:
            length *= 2
        inner = float(field.edges[1]) if len(field.edges) > 2 else 0.0
        start = inner % length if length - inner % length > _TINY else 0.0
    rounded = [math.ceil(each / length - 1e-9) for each in own]
    slots = int((field.end - start) / length + 1e-9)
    return _Quanta(start, length, slots, *rounded) if slots >= rounded[0] else None


def _program(job: Job, field: Field, q: _Quanta) -> _Steps:
    """Least cost of having done so much work by then, waiting or running, quantum by quantum.

    A stretch begins with a block: the restart, and as much work as makes it long enough to be
    stopped. Then it goes on quantum by quantum, until a checkpoint stops it. Only the last
    stretch may be shorter than a block, as it is not stopped but ends.
    """
    at = np.minimum(q.start + q.length * np.arange(q.slots + 1), field.end)
    grams = field.until(at)
    made = made_g_per_s(job) * at
    busy, idle = job.power_w * grams + made, job.idle_w * grams + made
    block, depth = q.restart + q.again, max(q.first, q.restart + q.again) + 1
    wait = np.full((depth, q.work + 1), np.inf)  # the last few rows: [then, work]
    run = np.full((q.checkpoint + 1, q.work + 1), np.inf)
    running = np.zeros((q.slots + 1, q.work + 1), dtype=np.uint8)
    waiting = np.zeros((q.slots + 1, q.work + 1), dtype=np.uint8)
    wait[0, 0] = 0.0
    least, end, inside = math.inf, -1, 0
    short = np.arange(1, min(q.again, q.work))
    for t in range(1, q.slots + 1):
        fresh, how = np.full(q.work + 1, np.inf), running[t]
        fresh[1:] = run[(t - 1) % len(run)][:-1] + (busy[t] - busy[t - 1])
        how[1:] = _ON
        if t >= q.first and q.first <= q.work:
            value = wait[(t - q.first) % depth, 0] + (busy[t] - busy[t - q.first])
            if value <= fresh[q.first]:
                fresh[q.first], how[q.first] = value, _FIRST
        if t > block and q.again < q.work:
            value = wait[(t - block) % depth, 1 : -q.again] + (busy[t] - busy[t - block])
            better = value < fresh[1 + q.again :]
            fresh[1 + q.again :][better] = value[better]
            how[1 + q.again :][better] = _AGAIN
        done, left = fresh[q.work], 0
        if len(short) and t > q.restart + 1:
            lefts = short[: t - q.restart - 1]
            since = t - q.restart - lefts
            values = wait[since % depth, q.work - lefts] + (busy[t] - busy[since])
            place = int(np.argmin(values))
            if values[place] < done:
                done, left = values[place], int(lefts[place])
        if done < least and least - done > _ROUNDING * abs(done):
            least, end, inside = float(done), t, left
        run[t % len(run)] = fresh
        row = wait[(t - 1) % depth] + (idle[t] - idle[t - 1])
        if t > q.checkpoint:
            then = t - q.checkpoint
            stopped = run[then % len(run)] + (busy[t] - busy[then])
            waiting[t] = stopped < row
            row = np.minimum(row, stopped)
        wait[t % depth] = row
    return _Steps(running, waiting, end, inside)


def _walk_back(steps: _Steps, q: _Quanta) -> Runs:
    """The stretches that led to the best end."""
    t, work, found = steps.end, q.work, list[Run]()
    if t < 0:
        return ()

    def add(begin: int, end: int) -> None:
        run = Run(q.start + q.length * begin, q.start + q.length * end)
        if found and found[-1].start == run.end:  # stopped for nothing, at a rate below 0
            run = Run(run.start, found.pop().end)
        found.append(run)

    end, runs = t, not steps.inside
    if steps.inside:
        t, work = t - q.restart - steps.inside, work - steps.inside
        add(t, end)
    while work:
        if not runs:
            if steps.waiting[t, work]:
                end, t, runs = t, t - q.checkpoint, True
            else:
                t -= 1
        elif steps.running[t, work] == _ON:
            t, work = t - 1, work - 1
        else:
            first = steps.running[t, work] == _FIRST
            t -= q.first if first else q.restart + q.again
            work -= q.first if first else q.again
            add(t, end)
            runs = False
    return tuple(found[::-1])


def _trimmed(job: Job, field: Field, runs: Runs) -> Runs:
    """Without the time that rounding up to quanta added, taken from the dearest ends."""
    kept = list(runs)
    lost = (len(kept) - 1) * (job.restart_s + job.checkpoint_s)
    over = sum(run.end - run.start for run in kept) - job.work_s - lost
    while over > _TINY:
        cuts = [cut for place in range(len(kept)) for cut in _cuts(job, field, kept, place)]
        if not cuts:
            break  # it ends early, as the program had planned it
        _, _, place, first, most = max(cuts)
        take = min(over, most)
        run = kept[place]
        kept[place] = Run(run.start + take, run.end) if first else Run(run.start, run.end - take)
        over -= take
    return tuple(kept)


def _cuts(
    job: Job, field: Field, runs: list[Run], place: int
) -> list[tuple[float, int, int, bool, float]]:
    """What both ends of a stretch cost by the second, and how much of each may go."""
    run, last = runs[place], place == len(runs) - 1
    least = job.restart_s * (place > 0) + job.checkpoint_s * (not last)
    spare = run.end - run.start - max(least + _TINY, 0.0 if last else job.min_run_s)
    if spare <= _TINY:
        return []
    begin = int(np.searchsorted(field.edges, run.start + _TINY, side="right")) - 1
    end = int(np.searchsorted(field.edges, run.end - _TINY, side="left")) - 1
    gain = job.power_w - (0.0 if last else job.idle_w)
    made = made_g_per_s(job) if last else 0.0
    return [
        (
            (job.power_w - job.idle_w) * float(field.rate[begin]),
            -place, place, True, min(spare, float(field.edges[begin + 1]) - run.start),
        ),
        (
            gain * float(field.rate[end]) + made,
            -place, place, False, min(spare, run.end - float(field.edges[end])),
        ),
    ]  # fmt: skip
