"""Starts that are nearly best and not all the same, so that jobs do not all run in one hour.

Everybody who plans by the same forecast picks the same lowest window, and a grid answers that with
its dirtiest plants. A seed, such as a number made of the job's name, picks among all plans that
emit hardly more than the best. The same seed always picks the same.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.decisions.when.field import Field, Run, Runs, field
from negawatt.decisions.when.records import Job, Schedule
from negawatt.decisions.when.schedule import Choice, best, described
from negawatt.decisions.when.through import starts
from negawatt.decisions.when.unforeseen import schedule_without
from negawatt.signals.series import Series

Column = NDArray[np.float64]

_MASK = 2**64 - 1


def seed_of(name: str) -> int:
    """A number made of a name, the same on every machine.

    >>> seed_of("train") == seed_of("train") != seed_of("train 2")
    True
    """
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def jittered(
    job: Job,
    outlook: Series,
    *,
    seed: int,
    within: float = 0.02,
    price: Series | None = None,
    price_weight: float = 0.0,
) -> Schedule:
    """A schedule that costs at most so much more than the best, picked by a seed.

    A job that runs through starts anywhere its window is low enough, to the second. For one that
    stops or is spread, the hours that are nearly alike are told apart by the seed. The deadline is
    kept like that of any schedule.

    Args:
        job: What is to run.
        outlook: Intensity of the grid.
        seed: Any whole number; `seed_of` makes one of a name.
        within: How much more than the best it may cost. [1]
        price: Of electricity.
        price_weight: Grams that saving one unit of the currency is worth. [gCO2e/CUR]

    Raises:
        UsageError: `within` is below 0, the outlook no intensity, or the price none.
    """
    if not 0 <= within < np.inf:
        raise UsageError(f"within {within:g} of the best", fix="give a share of 0 or more: 0.02")
    try:
        ground = field(job, outlook, price, price_weight)
    except LookupError as lack:
        return schedule_without(job, str(lack), zone=outlook.zone)
    chosen = best(job, ground)
    if len(chosen.runs) == 1:
        runs = _anywhere_low(job, ground, chosen, seed, within)
    else:
        runs = _among_alike(job, ground, chosen, seed, within)
    picked = Choice(chosen.what, runs, ground.cost(job, runs))
    told = described(job, ground, picked, zone=outlook.zone, source=outlook.source)
    if runs == chosen.runs:
        return told
    more = f" It was moved within {within:.0%} of the best, away from others that plan alike."
    return replace(told, because=told.because + more)


def _anywhere_low(job: Job, ground: Field, chosen: Choice, seed: int, within: float) -> Runs:
    """A start at which the window costs little enough, all seconds of them being as likely."""
    (best_run,) = chosen.runs
    at, cost = starts(job, ground, best_run.nodes)
    limit = cost.min() + within * abs(cost.min()) if len(at) else 0.0
    if len(at) < 2 or chosen.cost > limit:
        return chosen.runs
    rise = np.diff(cost)
    crossing = np.divide(limit - cost[:-1], rise, out=np.ones_like(rise), where=rise != 0)
    crossing = at[:-1] + np.clip(crossing, 0.0, 1.0) * np.diff(at)
    low, high = cost[:-1] <= limit, cost[1:] <= limit  # between two starts it is a straight line
    begin = np.where(low, at[:-1], crossing)
    end = np.where(high, at[1:], np.where(low, crossing, begin))
    begin = np.where(high & ~low, crossing, begin)
    seconds = np.cumsum(end - begin)
    if not seconds[-1] > 0:
        return chosen.runs
    wanted = float(_shares(seed, 1)[0]) * float(seconds[-1])
    part = int(np.searchsorted(seconds, wanted, side="right"))
    start = float(end[part] - (seconds[part] - wanted))
    return (Run(start, start + best_run.end - best_run.start, best_run.nodes),)


def _among_alike(job: Job, ground: Field, chosen: Choice, seed: int, within: float) -> Runs:
    """The best plan for rates that are raised here and there, by less than what is allowed."""
    raised = 1.0 + within * _shares(seed, len(ground.rate))
    rate = np.where(ground.rate > 0, ground.rate * raised, ground.rate)
    runs = best(job, replace(ground, rate=rate)).runs
    limit = chosen.cost + within * abs(chosen.cost)
    return runs if ground.cost(job, runs) <= limit else chosen.runs


def _shares(seed: int, count: int) -> Column:
    """Numbers from 0 to 1 that follow from the seed and look like chance: SplitMix64."""
    found = np.empty(count)
    for place in range(count):
        mixed = (seed + (place + 1) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        found[place] = (mixed ^ (mixed >> 31)) / 2.0**64
    return found
