"""From a job and what is known of the grid to a schedule, with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.when.field import Field, Run, Runs, field, made_g_per_s
from negawatt.decisions.when.pieces import freely, room, stops_cost
from negawatt.decisions.when.reasons import because, would_change
from negawatt.decisions.when.records import Alternative, Job, Schedule
from negawatt.decisions.when.spread import spread
from negawatt.decisions.when.stops import programmed
from negawatt.decisions.when.through import now, through
from negawatt.decisions.when.unforeseen import schedule_without
from negawatt.signals.series import Series

Column = NDArray[np.float64]

_LATER = (timedelta(hours=6), timedelta(hours=12), timedelta(hours=24))
_ROUNDING = 1e-9
_TINY = 1e-5  # [s]
_NOUGHT = 1e-12  # of this many grams nothing is a share

NOW, THROUGH, PIECES, SPREAD = "run now", "not interrupted", "interrupted", "spread over nodes"


class Choice(NamedTuple):
    """One way of running a job.

    Args:
        what: In words.
        runs: The usual work. [s after the release]
        cost: By the rate that plans are chosen by. [gCO2e]
    """

    what: str
    runs: Runs
    cost: float


def schedule(
    job: Job,
    outlook: Series,
    *,
    price: Series | None = None,
    price_weight: float = 0.0,
    zone: str | None = None,
    explain: bool = True,
) -> Schedule:
    """When a job had best run.

    A job that may not be interrupted gets the lowest window; one that may, the best stretches; one
    that can be spread and interrupted, the best number of nodes at every time. The deadline is
    kept whatever the outlook says. Where the outlook is short or has gaps, what is known is used,
    and `fallback` says so; where it tells nothing at all, the job runs now.

    Args:
        job: What is to run.
        outlook: Intensity of the grid, at least a part of the time from release to deadline.
        price: Of electricity.
        price_weight: Grams that saving one unit of the currency is worth. [gCO2e/CUR]
        zone: Name to be shown; the outlook's when None.
        explain: Look at alternatives too, which takes some times as long.

    Raises:
        UsageError: the outlook is no intensity, or the price none.

    >>> from datetime import UTC, datetime
    >>> from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
    >>> midnight = datetime(2026, 1, 1, tzinfo=UTC)
    >>> outlook = Series(
    ...     zone="DE",
    ...     topic=Topic.CARBON,
    ...     unit=GRAMS_PER_KWH,
    ...     basis=Basis(),
    ...     source="file",
    ...     status=Status.MEASURED,
    ...     start=midnight,
    ...     step=timedelta(hours=1),
    ...     values=np.array([400.0, 300.0, 100.0, 100.0, 300.0, 400.0]),
    ... )
    >>> job = Job(
    ...     name="train",
    ...     work_s=7200,
    ...     power_w=1000,
    ...     release=midnight,
    ...     deadline=midnight + timedelta(hours=6),
    ... )
    >>> plan = schedule(job, outlook)
    >>> plan.start.hour, plan.end.hour, round(plan.grams.value), round(plan.saving.value, 3)
    (2, 4, 200, 0.714)
    """
    try:
        ground = field(job, outlook, price, price_weight)
    except LookupError as lack:
        return schedule_without(job, str(lack), zone=zone or outlook.zone)
    every = list(choices(job, ground))
    chosen = least(every)
    planned = described(job, ground, chosen, zone=zone or outlook.zone, source=outlook.source)
    if not explain:
        return planned
    later = list(_later(job, outlook, price, price_weight))
    looked = [other for other in every if other.what in {NOW, THROUGH}]
    if not job.interruptible and not job.scaling:
        freed = replace(job, interruptible=True, restart_s=0.0, checkpoint_s=0.0, min_run_s=0.0)
        looked += [
            each
            for each in choices(freed, ground)
            if each.what == PIECES and each.cost < chosen.cost - _ROUNDING * abs(chosen.cost)
        ]
    return replace(
        planned,
        alternatives=(
            *(_alternative(job, ground, other.what, other.runs) for other in looked),
            *(_alternative(moved, far, f"until {moved.deadline:%Y-%m-%d %H:%M} UTC", choice.runs)
              for moved, far, choice in later),
        ),
        would_change=would_change(
            job,
            ground,
            chosen.runs,
            every[0].runs,
            [(moved.deadline, _grams(moved, far, choice.runs)[1]) for moved, far, choice in later],
        ),
    )  # fmt: skip


def choices(job: Job, ground: Field) -> Iterator[Choice]:
    """All ways of running a job that its record allows, each at its best time, run now first."""
    inner = room(job, ground)
    for what, runs in (
        (NOW, now(job)),
        (THROUGH, through(job, ground)),
        (PIECES, _pieces(job, inner) if job.interruptible and len(job.scaling) < 2 else ()),
        (SPREAD, _spread(job, inner) if job.interruptible and len(job.scaling) > 1 else ()),
    ):
        if runs and planned_runs(job, runs)[-1].end <= ground.end + _TINY:
            yield Choice(what, runs, ground.cost(job, runs))


def _pieces(job: Job, inner: Field) -> Runs:
    if inner.end - job.work_s <= job.restart_s + job.checkpoint_s + _TINY:
        return ()  # no time for a pause
    return programmed(job, inner) if stops_cost(job) else freely(job, inner)


def _spread(job: Job, inner: Field) -> Runs:
    if inner.end - job.work_s / max(job.scaling) <= _TINY:
        return ()  # no time but for all nodes at once
    return spread(job, inner)


def best(job: Job, ground: Field) -> Choice:
    """The best way of running a job."""
    return least(list(choices(job, ground)))


def least(found: Sequence[Choice]) -> Choice:
    """The least of several; the one that is told first where two are alike."""
    kept = found[0]
    for other in found[1:]:
        if other.cost < kept.cost - _ROUNDING * abs(kept.cost):
            kept = other
    return kept


def planned_runs(job: Job, runs: Runs) -> Runs:
    """The runs with the time that the longest duration takes after them."""
    over = job.planned_s - job.work_s
    if not over:
        return runs
    last = runs[-1]
    if not job.scaling:
        return (*runs[:-1], Run(last.start, last.end + over, last.nodes))
    if len(runs) == 1:  # it keeps its nodes
        return (Run(last.start, last.end + over / job.scaling[last.nodes - 1], last.nodes),)
    most = int(np.argmax(job.scaling)) + 1
    return (*runs, Run(last.end, last.end + over / job.scaling[most - 1], most))


def described(job: Job, ground: Field, chosen: Choice, *, zone: str, source: str) -> Schedule:
    """A schedule of a choice, with its reason."""
    runs, before = chosen.runs, now(job)
    joules = ground.joules(job, runs)
    return Schedule(
        job=job,
        zone=zone,
        stretches=ground.stretches(planned_runs(job, runs)),
        grams=_estimate(ground, _grams(job, ground, runs), source),
        now=_estimate(ground, _grams(job, ground, before), source),
        saving=_saving(job, ground, runs, before, source),
        because=because(job, ground, runs, before, zone),
        source=source,
        fallback=ground.fallback,
        cost=None if ground.price is None else float(joules @ ground.price),
    )


def _grams(job: Job, ground: Field, runs: Runs) -> tuple[float, float, float]:
    """Least, expected and most; the most is of the longest duration. [gCO2e]"""
    joules, made = ground.joules(job, runs), made_g_per_s(job) * runs[-1].end
    longest = planned_runs(job, runs)
    most = float(ground.joules(job, longest) @ ground.high) + made_g_per_s(job) * longest[-1].end
    value = float(joules @ ground.carbon) + made
    return min(value, float(joules @ ground.low) + made), value, max(value, most)


def _estimate(ground: Field, grams: tuple[float, float, float], source: str) -> Estimate:
    low, value, high = grams
    return Estimate(
        value=value, low=low, high=high, unit="gCO2e", kind=_kind(ground), source=source
    )


def _kind(ground: Field) -> Kind:
    return Kind.ASSUMED if ground.unknown.any() else Kind.MODELLED


def _saving(job: Job, ground: Field, runs: Runs, before: Runs, source: str) -> Estimate:
    """Of run now, with the least and the most it can be within the intervals of the signal."""
    ours, theirs = ground.joules(job, runs), ground.joules(job, before)
    made = made_g_per_s(job)
    fixed = (made * runs[-1].end, made * before[-1].end)

    def share(values: Column) -> float:
        mine, other = float(ours @ values) + fixed[0], float(theirs @ values) + fixed[1]
        whole = other if other > _NOUGHT else max(abs(mine), abs(other))
        return (other - mine) / whole if whole else 0.0

    value = 0.0 if runs == before else share(ground.carbon)
    ends = [value, value]
    if runs != before:
        for place, (raised, lowered) in enumerate(
            ((ground.high, ground.low), (ground.low, ground.high))
        ):
            ratio = 1.0 - value
            for _ in range(20):  # Dinkelbach: the extreme of a ratio over a box
                at = np.where(ours > ratio * theirs, raised, lowered)
                if 1.0 - share(at) == ratio:
                    break
                ratio = 1.0 - share(at)
            ends[place] = 1.0 - ratio
    low, high = min(value, *ends), max(value, *ends)
    return Estimate(value=value, low=low, high=high, unit="1", kind=_kind(ground), source=source)


def _alternative(job: Job, ground: Field, what: str, runs: Runs) -> Alternative:
    joules = ground.joules(job, runs)
    return Alternative(
        what=what if len(job.scaling) < 2 or len(runs) > 1 else f"{what}, nodes: {runs[0].nodes}",
        start=ground.moment(runs[0].start),
        grams=_estimate(ground, _grams(job, ground, runs), "as planned"),
        cost=None if ground.price is None else float(joules @ ground.price),
    )


def _later(
    job: Job, outlook: Series, price: Series | None, weight: float
) -> Iterator[tuple[Job, Field, Choice]]:
    """The same with later deadlines, as far as the outlook reaches."""
    for more in _LATER:
        if job.deadline + more <= outlook.end:
            moved = replace(job, deadline=job.deadline + more)
            far = field(moved, outlook, price, weight)
            yield moved, far, best(moved, far)
