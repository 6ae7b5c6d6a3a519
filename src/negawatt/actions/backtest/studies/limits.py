"""On the limitations of carbon-aware shifting (Sukprasert et al., EuroSys 2024): upper bounds.

A job is released in every hour of a year in each of many zones, and everything is known. Deferral
is the lowest window within the slack, interruption what the cheapest hours save besides. The
published figure is the mean over hours of what all zones save over what all would have emitted.
Two other means stand beside it, because they differ: over all grams, and over zones counted alike.
A window that reaches beyond the year is cut there, as published.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from negawatt.actions.backtest.beliefs import kept
from negawatt.actions.backtest.paired import intervals
from negawatt.actions.backtest.policies import Choice, Shape
from negawatt.actions.backtest.records import DAY_S, HOUR_S, Column, Matrix, Place
from negawatt.core.errors import UsageError
from negawatt.decisions.backtests import Limits, Means
from negawatt.decisions.when import rows
from negawatt.decisions.when.windows import scan, scan_cheapest, window_sums
from negawatt.signals.series import Series


def limits(
    zones: Sequence[Series],
    duration: timedelta,
    slack: timedelta,
    forecasts: Sequence[str] = (),
) -> Limits:
    """Upper bounds of shifting in time and of one move, over zones.

    Args:
        zones: Signals of one kind over the same time; those with gaps are left out, and told.
        duration: Of the job: whole steps.
        slack: How much later it may begin: whole steps. As long as the signal, or longer, means
            until its end, as in the published study with a slack of a year.
        forecasts: Ways of foreseeing to set beside the bound: "mean28", "own", ...

    Raises:
        UsageError: signals differ in kind or time, none is whole, or a length is no whole step.
    """
    whole = [series for series in zones if series.complete]
    if not whole:
        raise UsageError("no zone is known throughout", fix="give signals without gaps")
    for series in whole:
        whole[0].same_signal(series)
        if (series.start, series.step, len(series)) != _shape(whole[0]):
            raise UsageError(
                f"{series.zone} and {whole[0].zone} tell other times",
                fix="cut both to the same time: --from and --to",
            )
    job, wait = (_steps(each, whole[0].step) for each in (duration, slack))
    values = np.stack([series.values for series in whole])
    now, best, cheapest = bounds(values, job, wait)
    deferral = _means(now, now - best, job, whole[0])
    interruption = _means(now, best - cheapest, job, whole[0])
    foreseen = {}
    for name in forecasts:
        late = np.stack([_foreseen(series, name, job, wait, now.shape[1]) for series in whole])
        foreseen[name] = _means(now, now - late, job, whole[0])
    means = values.mean(axis=1)
    where = int(means.argmin())
    mean = float(means.mean())
    one = mean - float(means[where])
    anywhere = float((means - values.min(axis=0).mean()).mean())
    there = float((now[where] - cheapest[where]).mean()) / job
    return Limits(
        zones=tuple(series.zone for series in whole),
        left_out=tuple(series.zone for series in zones if not series.complete),
        hours=duration.total_seconds() / HOUR_S,
        slack_h=slack.total_seconds() / HOUR_S,
        starts=now.shape[1],
        mean=mean,
        deferral=deferral,
        interruption=interruption,
        foreseen=foreseen,
        lowest=whole[where].zone,
        one_move_g=one,
        any_move_g=anywhere,
        one_move=one / mean,
        any_move=anywhere / mean,
        both=(one + there) / mean,
        by_zone={
            series.zone: (
                float(means[at]),
                float((now[at] - best[at]).sum() / now[at].sum()),
                float((best[at] - cheapest[at]).sum() / now[at].sum()),
            )
            for at, series in enumerate(whole)
        },
    )


def _shape(series: Series) -> tuple[object, object, int]:
    return series.start, series.step, len(series)


def _steps(length: timedelta, step: timedelta) -> int:
    if length % step or length < timedelta(0):
        raise UsageError(
            f"{length} is no whole number of steps of {step}", fix="give whole steps of the signal"
        )
    return length // step


def bounds(values: Matrix, job: int, slack: int) -> tuple[Matrix, Matrix, Matrix]:
    """Sums when run now, of the lowest window, and of the cheapest slots. [zones, starts] each

    Every slot but the last that a job fits into is a start, as published; with no limit of slack
    the last is one too.

    Raises:
        UsageError: the job does not fit.

    >>> now, best, cheapest = bounds(np.array([[3.0, 1.0, 2.0, 5.0]]), 1, 1)
    >>> now.tolist(), best.tolist(), cheapest.tolist()
    ([[3.0, 1.0, 2.0]], [[1.0, 1.0, 2.0]], [[1.0, 1.0, 2.0]])
    """
    count = values.shape[1]
    if not 0 < job < count:
        raise UsageError(
            f"a job of {job} steps does not fit into {count}", fix="give a shorter one"
        )
    if slack >= count:
        now = window_sums(values, job)
        best = np.minimum.accumulate(now[:, ::-1], axis=1)[:, ::-1]
        return now, best, np.stack([_cheapest_to_the_end(row, job) for row in values])
    padded = np.concatenate([values, np.full((len(values), slack), np.nan)], axis=1)
    starts = count - job
    now, best = scan(padded, job, slack)
    cheapest = scan_cheapest(padded, job, slack)
    return now[:, :starts], best[:, :starts], cheapest[:, :starts]


def _cheapest_to_the_end(row: Column, job: int) -> Column:
    """Sum of the cheapest slots from each start to the end."""
    kept = (-row[-job:]).tolist()
    heapq.heapify(kept)  # the dearest on top
    total = float(row[-job:].sum())
    found = [total]
    for value in row[-job - 1 :: -1].tolist():
        total += value + heapq.heappushpop(kept, -value)
        found.append(total)
    return np.array(found[::-1])


def _means(now: Matrix, saved: Matrix, job: int, like: Series) -> Means:
    base = now.sum(axis=0)
    hourly = saved.sum(axis=0) / np.where(base > 0, base, np.inf)
    days = np.arange(len(hourly)) // max(1, round(DAY_S / like.step_s))
    low, high = intervals(days, np.ones(len(hourly)), [1.0 - hourly])[0]
    of_zone = saved.sum(axis=1) / np.where(now.sum(axis=1) > 0, now.sum(axis=1), np.inf)
    return Means(
        published=float(hourly.mean()),
        low=low,
        high=high,
        pooled=float(saved.sum() / base.sum()) if base.sum() > 0 else 0.0,
        zones=float(of_zone.mean()),
        grams=float(saved.mean()) / job,
    )


def _foreseen(series: Series, forecast: str, job: int, slack: int, starts: int) -> Column:
    """Sums of the windows that a forecast thinks lowest. [starts]"""
    release = np.arange(starts)
    width = min(job + slack, len(series))
    belief = next(Choice(Shape.CONTIGUOUS, forecast).beliefs(Place(series)))
    belief = kept(belief, release, width)
    room = np.minimum(width, len(series) - release)
    offset = np.zeros(starts, dtype=np.intp)
    block = max(1, (1 << 21) // width)
    for at in range(0, starts, block):
        some = slice(at, at + block)
        steps = np.full(len(release[some]), float(job))
        plan = rows.contiguous(belief.rows(release[some], width), steps, room[some])
        offset[some] = np.argmax(plan.weights > 0, axis=1)
    return np.asarray(window_sums(series.values, job)[release + offset])
