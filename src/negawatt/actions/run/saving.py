"""What a run emitted, beside having started at once: by the hours it ran in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from negawatt.actions.run.orders import Order, Part, Progress
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.grid import utc
from negawatt.core.quantities import J_PER_KWH
from negawatt.signals.series import Series

GRAMS = "gCO2e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What waiting for clean hours has saved, and of what that is made.

    `grams` and its parts add: saved by the time, less what restarts and waiting cost.

    Args:
        actual: Emissions as it was run, restarts and waiting included. [gCO2e]
        now: Those of the same work, begun at release and run through. [gCO2e]
        grams: `now` less `actual`. [gCO2e]
        share: `grams` over `now`; None where that is nothing. [1]
        time: Saved because other hours were cleaner. [gCO2e]
        restarts: Cost of going on after each pause, and of work that was lost. [gCO2e]
        waiting: Cost of what was drawn while it waited. [gCO2e]
        mean_run: Intensity of the hours it ran in. [gCO2e/kWh]
        mean_now: Of those it would have run in. [gCO2e/kWh]
        source: Of the intensities.
        remarks: What the figures rest on.
    """

    actual: Estimate
    now: Estimate
    grams: Estimate
    share: Estimate | None
    time: Estimate
    restarts: Estimate
    waiting: Estimate
    mean_run: float
    mean_now: float
    source: str
    remarks: tuple[str, ...] = ()


def mean_over(series: Series, start: datetime, end: datetime) -> float | None:
    """Mean of a series from one moment to another; None where any of that time has no value.

    >>> from datetime import UTC
    >>> from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
    >>> day = Series(
    ...     zone="DE", topic=Topic.CARBON, unit=GRAMS_PER_KWH, basis=Basis(), source="file",
    ...     status=Status.MEASURED, start=datetime(2026, 1, 1, tzinfo=UTC),
    ...     step=timedelta(hours=1), values=np.array([100.0, 200.0]),
    ... )
    >>> mean_over(day, day.start + timedelta(minutes=30), day.end)
    166.66666666666666
    """  # fmt: skip
    first = (utc(start) - series.start).total_seconds() / series.step_s
    last = (utc(end) - series.start).total_seconds() / series.step_s
    if first < 0 or last > len(series) or last < first:
        return None
    if last == first:
        return _known(series.values[min(int(first), len(series) - 1)])
    places = np.arange(int(first), min(len(series), int(np.ceil(last))))
    weights = np.minimum(places + 1, last) - np.maximum(places, first)
    return _known(float(np.dot(weights, series.values[places]) / weights.sum()))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def realised(order: Order, progress: Progress, series: Series) -> Saving | None:
    """What was saved; None where energy or an intensity that it takes is not known.

    The energy of each stretch is taken as spread evenly over it. In a replayed time the joules are
    those of the real, shorter run, and what is told per second of waiting or restarting is
    shortened with it.

    Args:
        order: What was asked.
        progress: What has become of it.
        series: Intensities over the time from release to the end. [gCO2e/kWh]
    """
    parts = [part for part in progress.parts if part.end > part.start]
    energies = [part.energy for part in parts]
    if not parts or None in energies:
        return None
    joules = [energy for energy in energies if energy is not None]
    means = [mean_over(series, part.start, part.end) for part in parts]
    ran = sum(_seconds(part) for part in parts if not part.lost)
    again = min(ran, progress.resumes * order.restart_s)
    through = utc(order.release) + timedelta(seconds=ran - again)
    mean_now = mean_over(series, order.release, through)
    idle = _idle(order, parts, series)
    if mean_now is None or idle is None or None in means:
        return None
    met = [mean for mean in means if mean is not None]
    share_again = again / ran if ran else 0.0

    def figures(pick: str) -> tuple[float, ...]:
        each = [float(getattr(energy, pick)) / J_PER_KWH for energy in joules]
        grams = [kwh * mean for kwh, mean in zip(each, met, strict=True)]
        kept = [not part.lost for part in parts]
        useful = sum(kwh for kwh, keep in zip(each, kept, strict=True) if keep)
        useful_g = sum(one for one, keep in zip(grams, kept, strict=True) if keep)
        work_g, now_g = useful_g * (1 - share_again), useful * (1 - share_again) * mean_now
        run_g = sum(grams)
        return now_g, run_g + idle, now_g - run_g - idle, now_g - work_g, run_g - work_g

    ends = [figures(pick) for pick in ("value", "low", "high")]
    kind = max((energy.kind for energy in joules), key=lambda one: one.weakness)
    source = f"energy: {joules[0].source}; intensity: {series.source}, {series.zone}"
    made = [_estimate(column, kind, source) for column in zip(*ends, strict=True)]
    now, actual, grams, time, restarts = made
    total = sum(energy.value for energy in joules)
    return Saving(
        actual=actual,
        now=now,
        grams=grams,
        share=_share(ends, kind, source),
        time=time,
        restarts=restarts,
        waiting=Estimate.exact(idle, unit=GRAMS, kind=Kind.ASSUMED, source="--idle-power"),
        mean_run=sum(e.value * m for e, m in zip(joules, met, strict=True)) / total if total else 0,
        mean_now=mean_now,
        source=f"{series.source}, {series.zone} ({series.basis}, {series.status})",
        remarks=_remarks(order, progress),
    )


def _seconds(part: Part) -> float:
    return (part.end - part.start).total_seconds()


def _estimate(ends: tuple[float, ...], kind: Kind, source: str) -> Estimate:
    value, *others = ends
    low, high = min(value, *others), max(value, *others)
    return Estimate(value=value, low=low, high=high, unit=GRAMS, kind=kind, source=source)


def _share(ends: Sequence[tuple[float, ...]], kind: Kind, source: str) -> Estimate | None:
    shares = tuple(one[2] / one[0] for one in ends if one[0] > 0)
    if not shares or not ends[0][0] > 0:
        return None
    low, high = min(shares), max(shares)
    return Estimate(value=shares[0], low=low, high=high, unit="1", kind=kind, source=source)


def _idle(order: Order, parts: Sequence[Part], series: Series) -> float | None:
    """Grams of what was drawn for it while it stood; None where an intensity lacks."""
    if not order.idle_w:
        return 0.0
    edges = [(utc(order.release), parts[0].start), *((a.end, b.start) for a, b in pairwise(parts))]
    total = 0.0
    for start, end in edges:
        seconds = order.pace.real_s((end - start).total_seconds())
        if seconds <= 0:
            continue
        mean = mean_over(series, start, end)
        if mean is None:
            return None
        total += order.idle_w * seconds / J_PER_KWH * mean
    return total


def _remarks(order: Order, progress: Progress) -> tuple[str, ...]:
    remarks = []
    if order.pace.replayed:
        remarks.append(
            "replayed: the joules are those of the real run, the hours and their intensities those"
            f" of the replay, {order.pace.speed:g} times as fast"
        )
    if any(not part.watched for part in progress.parts):
        remarks.append("for a part of the time nobody watched: its energy is modelled or assumed")
    if any(part.lost for part in progress.parts):
        remarks.append("work that was lost and done again is in what restarts cost")
    if order.restart_s and progress.resumes:
        remarks.append("the cost of a restart is the one that was told, at the run's own power")
    if not order.idle_w:
        remarks.append("what waits is taken to draw nothing for it (--idle-power says otherwise)")
    return tuple(remarks)
