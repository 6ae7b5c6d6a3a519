"""Why a schedule is as it is, and what would make it another one, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.when.field import Field, Runs, made_g_per_s
from negawatt.decisions.when.records import Job

_SHOWN = 5e-4  # a saving below is none
_WORTH_TELLING = 0.01  # of what it emits: what a later deadline has to bring


def because(job: Job, ground: Field, runs: Runs, before: Runs, zone: str) -> str:
    """The reason, in a sentence or two."""
    ours, theirs = (_grams(job, ground, each) for each in (runs, before))
    if runs == before:
        return _now(job, ground, runs, zone)
    grams = (
        f"{ours:.3g} g instead of {theirs:.3g} g"
        if theirs <= 0
        else f"{ours:.3g} g instead of {theirs:.3g} g, {1 - ours / theirs:.1%} less"
    )
    told = (
        f"{_when(ground, runs)}: {zone} emits {_mean(ground, runs):.0f} g/kWh then, and"
        f" {_mean(ground, before):.0f} were it run at once. That is {grams}."
    )
    if ground.price is not None and ours > theirs:
        told += " It emits more than run now would, as the price counts too."
    waiting = _waiting(job, ground, runs)
    # a rest of rounding is no waiting
    return f"{told} {waiting:.3g} g of it are for waiting." if waiting > 1e-6 * abs(ours) else told


def _now(job: Job, ground: Field, runs: Runs, zone: str) -> str:
    slack = ground.end - (job.planned_s / job.work_s) * runs[-1].end
    if slack < 1.0:
        return "Runs at once: the deadline leaves no other time."
    free = _without_waiting(job, ground, runs)
    if free > 0:
        return (
            f"Runs at once: cleaner hours would save {free:.3g} g of electricity, and waiting for"
            " them on reserved hardware would emit more than that."
        )
    return f"Runs at once: no time until the deadline is cleaner in {zone}."


def _without_waiting(job: Job, ground: Field, runs: Runs) -> float:
    """What the lowest window would save were waiting free; 0 where it is. [gCO2e]"""
    if not (job.idle_w or job.embodied_g_per_h):
        return 0.0
    lasts = runs[-1].end
    latest = max(0.0, ground.end - lasts * job.planned_s / job.work_s)
    at = np.clip(ground.edges, 0.0, latest)
    cost = (ground.until(at + lasts) - ground.until(at)) * job.power_w * runs[0].nodes
    saved = float(cost[0] - cost.min())
    return saved if saved > 1e-9 * abs(float(cost[0])) else 0.0


def _when(ground: Field, runs: Runs) -> str:
    start, end = ground.moment(runs[0].start), ground.moment(runs[-1].end)
    stops = sum(after.start > before.end + 1e-6 for before, after in pairwise(runs))
    told = f"Runs from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    most = max(run.nodes for run in runs)
    if most > 1:
        told += f" on up to {most} nodes"
    return f"{told} with {stops} pause{'s' * (stops > 1)}" if stops else told


def _mean(ground: Field, runs: Runs) -> float:
    """Intensity over the running, by energy. [gCO2e/kWh]"""
    joules = _running(ground, runs)
    return float(joules @ ground.carbon / joules.sum()) * J_PER_KWH if joules.any() else 0.0


def _running(ground: Field, runs: Runs) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    watts = np.zeros(len(ground.rate))
    for run in runs:
        overlap = np.minimum(ground.edges[1:], run.end) - np.maximum(ground.edges[:-1], run.start)
        watts += run.nodes * np.clip(overlap, 0.0, None)
    return watts


def _grams(job: Job, ground: Field, runs: Runs) -> float:
    return float(ground.joules(job, runs) @ ground.carbon) + made_g_per_s(job) * runs[-1].end


def _waiting(job: Job, ground: Field, runs: Runs) -> float:
    """Emitted by idling, and of the making of the hardware while it does. [gCO2e]"""
    run = float(_running(ground, runs) @ ground.carbon) * job.power_w
    ran = sum(end - start for start, end, _ in runs)
    return _grams(job, ground, runs) - run - made_g_per_s(job) * ran


def would_change(
    job: Job,
    ground: Field,
    runs: Runs,
    before: Runs,
    later: Sequence[tuple[datetime, float]],
) -> tuple[str, ...]:
    """What would make the answer another one.

    Args:
        job: What is run.
        ground: What is known of the time.
        runs: When it is to run.
        before: Were it run at once.
        later: Deadlines that are later, and what it would emit with each. [gCO2e]
    """
    told = []
    ours, theirs = (_grams(job, ground, each) for each in (runs, before))
    apart = ground.joules(job, runs) - ground.joules(job, before)
    chosen = float(np.clip(apart, 0.0, None) @ ground.carbon)
    given_up = float(np.clip(-apart, 0.0, None) @ ground.carbon)
    if runs != before and theirs > ours and chosen > 0:
        less = theirs - ours
        cleaner = f", or those given up {less / given_up:.0%} cleaner" if given_up > less else ""
        told.append(
            f"Run now would be as good were the chosen hours {less / chosen:.0%} dirtier than"
            f" foreseen{cleaner}."
        )
    for deadline, grams in later:
        if ours > 0 and 1 - grams / ours > _WORTH_TELLING:
            more = timedelta(seconds=(deadline - ground.moment(ground.end)).total_seconds())
            hours = more.total_seconds() / 3600
            told.append(
                f"A deadline {hours:g} h later would bring it down to {grams:.3g} g,"
                f" {1 - grams / ours:.1%} less."
            )
            break
    return tuple(told)
