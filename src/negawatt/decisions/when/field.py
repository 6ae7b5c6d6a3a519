"""What a joule emits and costs from a job's release to its deadline: the ground plans are laid on.

Time is counted in seconds from the release. Between two edges nothing changes; edges lie where the
signal or the price takes its next step, so that a plan may begin and end anywhere between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.grid import Topic
from negawatt.core.quantities import J_PER_KWH
from negawatt.decisions.when.records import Job, Stretch
from negawatt.decisions.when.windows import known
from negawatt.signals.series import Series

Column = NDArray[np.float64]

_PER_JOULE = {"kWh": 1 / J_PER_KWH, "MWh": 1e-3 / J_PER_KWH}


class Run(NamedTuple):
    """Running from one second after the release to another, on so many nodes."""

    start: float
    end: float
    nodes: int = 1


Runs = tuple[Run, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Field:
    """Rates between edges, all for the time from release to deadline.

    Args:
        release: Second 0.
        edges: [cells + 1], the first 0, the last the deadline. [s]
        carbon: What a joule emits. [gCO2e/J]
        low: The least it may. [gCO2e/J]
        high: The most. [gCO2e/J]
        price: What it costs, where that is told. [CUR/J]
        rate: What plans are chosen by: carbon, and price by its weight. [gCO2e/J]
        unknown: Where the outlook tells nothing and its mean stands in. [cells]
        fallback: What had to be filled in; empty where nothing was.
        step_s: Of the outlook. [s]
    """

    release: datetime
    edges: Column
    carbon: Column
    low: Column
    high: Column
    price: Column | None
    rate: Column
    unknown: NDArray[np.bool_]
    fallback: str
    step_s: float

    @property
    def end(self) -> float:
        """The deadline. [s]"""
        return float(self.edges[-1])

    @cached_property
    def lengths(self) -> Column:
        """Of the cells. [s]"""
        return np.diff(self.edges)

    @cached_property
    def total(self) -> Column:
        """Integral of the rate from release to each edge. [gCO2e s/J]"""
        return np.concatenate([[0.0], np.cumsum(self.rate * self.lengths)])

    def until(self, seconds: Column) -> Column:
        """The same up to any seconds."""
        return np.interp(seconds, self.edges, self.total)

    def cost(self, job: Job, runs: Runs) -> float:
        """What runs cost in all, by the rate plans are chosen by. [gCO2e]"""
        starts, ends, nodes = (
            np.array(column, dtype=np.float64) for column in zip(*runs, strict=True)
        )
        run = self.until(ends) - self.until(starts)
        busy = float(nodes @ run) * job.power_w
        last = runs[-1].end
        waited = float(self.until(np.array([last]))[0] - run.sum())
        return busy + job.idle_w * waited + made_g_per_s(job) * last

    def joules(self, job: Job, runs: Runs) -> Column:
        """What runs, and waiting for and between them, draw in each cell. [J]"""
        last = runs[-1].end
        watts = np.clip(np.minimum(self.edges[1:], last) - self.edges[:-1], 0.0, None) * job.idle_w
        for run in runs:
            first = max(0, int(np.searchsorted(self.edges, run.start, side="right")) - 1)
            after = min(len(watts), int(np.searchsorted(self.edges, run.end, side="left")))
            overlap = np.minimum(self.edges[first + 1 : after + 1], run.end) - np.maximum(
                self.edges[first:after], run.start
            )
            watts[first:after] += overlap * (run.nodes * job.power_w - job.idle_w)
        return watts

    def until_deadline(self, seconds: float) -> Field:
        """The field cut at an earlier end."""
        after = int(np.searchsorted(self.edges, seconds, side="left"))
        if after >= len(self.edges) or after == 0:
            return self
        edges = np.append(self.edges[:after], seconds)
        cut = {
            name: None if column is None else column[:after]
            for name in ("carbon", "low", "high", "price", "rate", "unknown")
            for column in (getattr(self, name),)
        }
        return replace(self, edges=edges, **cut)  # type: ignore[arg-type]

    def moment(self, seconds: float) -> datetime:
        """When that is."""
        return self.release + timedelta(seconds=seconds)

    def stretches(self, runs: Runs) -> tuple[Stretch, ...]:
        """Runs as times of day."""
        return tuple(
            Stretch(self.moment(start), self.moment(min(end, self.end)), nodes)
            for start, end, nodes in runs
        )


def made_g_per_s(job: Job) -> float:
    """Share in the making of what is reserved. [gCO2e/s]"""
    return job.embodied_g_per_h / 3600.0


def field(
    job: Job, outlook: Series, price: Series | None = None, price_weight: float = 0.0
) -> Field:
    """What is known of the time a job may run in.

    Where the outlook tells nothing, or something absurd, the mean of what it tells of that time
    stands in, and of all it tells where that is nothing.

    Args:
        job: Gives release and deadline.
        outlook: Intensity of the grid.
        price: Of the electricity, in a currency per kWh or MWh.
        price_weight: Grams that saving one unit of the currency is worth. [gCO2e/CUR]

    Raises:
        UsageError: the outlook is no intensity, the price none, or the weight is below 0.
        LookupError: the outlook tells nothing at all.
    """
    if outlook.topic is not Topic.CARBON:
        raise UsageError(
            f"{outlook.source} tells {outlook.topic}, and plans are made by carbon",
            fix="give an intensity as outlook, and a price as price",
        )
    if price_weight < 0 or (price_weight and price is None):
        raise UsageError(
            f"a price weight of {price_weight:g}" + ("" if price else " without a price"),
            fix="give a price, and 0 or more grams for each unit of its currency",
        )
    edges = _edges(job, outlook, price)
    carbon, unknown = _sampled(outlook.values, outlook, job, edges)
    low, high = (
        carbon
        if column is None or not known(column).any()
        else _sampled(column, outlook, job, edges)[0]
        for column in (outlook.low, outlook.high)
    )
    low, high = np.minimum(low, carbon), np.maximum(high, carbon)
    if unknown.any() and not unknown.all():  # what is not known may be anything that is
        low = np.where(unknown, low[~unknown].min(), low)
        high = np.where(unknown, high[~unknown].max(), high)
    scale = 1 / J_PER_KWH
    fallback, paid = _told(outlook, unknown, np.diff(edges)), None
    if price is not None:
        per_joule = _per_joule(price)
        if known(price.values).any():
            column, lacks = _sampled(price.values, price, job, edges)
            paid = column * per_joule
            fallback = "; ".join(filter(None, (fallback, _told(price, lacks, np.diff(edges)))))
        else:
            told = f"{price.source} tells no price, so it does not count"
            fallback = "; ".join(filter(None, (fallback, told)))
    carbon, low, high = carbon * scale, low * scale, high * scale
    return Field(
        release=job.release,
        edges=edges,
        carbon=carbon,
        low=low,
        high=high,
        price=paid,
        rate=carbon if paid is None or not price_weight else carbon + price_weight * paid,
        unknown=unknown,
        fallback=fallback,
        step_s=outlook.step_s,
    )


def _per_joule(price: Series) -> float:
    factor = _PER_JOULE.get(price.unit.rpartition("/")[2])
    if price.topic is not Topic.PRICE or factor is None:
        raise UsageError(
            f"{price.source} tells {price.topic} in {price.unit}, which is no price of energy",
            fix="give a price per kWh or per MWh",
        )
    return factor


def _edges(job: Job, *signals: Series | None) -> Column:
    """Release, deadline, and where a signal takes a step between them. [s]"""
    end = (job.deadline - job.release).total_seconds()
    parts = [np.array([0.0, end])]
    for signal in signals:
        if signal is not None:
            begins = (signal.start - job.release).total_seconds()
            first = max(0, int(-begins // signal.step_s))
            last = min(len(signal), int((end - begins) // signal.step_s) + 1)
            steps = begins + signal.step_s * np.arange(first, max(first, last + 1))
            parts.append(steps[(steps > 0) & (steps < end)])
    edges = np.unique(np.concatenate(parts))
    keep = np.diff(edges, append=np.inf) > 1e-6  # two grids that meet, but for rounding
    keep[0] = keep[-1] = True
    return edges[keep]


def _sampled(
    column: Column, signal: Series, job: Job, edges: Column
) -> tuple[Column, NDArray[np.bool_]]:
    """A column by cells, and where it had to be filled."""
    begins = (signal.start - job.release).total_seconds()
    places = np.floor(((edges[1:] + edges[:-1]) / 2 - begins) / signal.step_s).astype(np.int64)
    there = (places >= 0) & (places < len(column))
    values = np.where(there, column[np.clip(places, 0, len(column) - 1)], np.nan)
    good = known(values)
    if good.all():
        return values, ~good
    every = column[known(column)]
    if not len(every):
        raise LookupError(f"{signal.source} tells nothing of {signal.zone}")
    weights = np.diff(edges)[good]
    mean = float(values[good] @ weights / weights.sum()) if len(weights) else float(every.mean())
    return np.where(good, values, mean), ~good


def _told(signal: Series, unknown: NDArray[np.bool_], lengths: Column) -> str:
    if not unknown.any():
        return ""
    lacks = timedelta(seconds=round(float(lengths[unknown].sum())))
    whole = timedelta(seconds=round(float(lengths.sum())))
    mean = "all it tells" if unknown.all() else "what it tells of that time"
    short = f", as it ends {signal.end:%Y-%m-%d %H:%M} UTC" if unknown[-1] else ""
    return (
        f"{signal.source} tells no {signal.topic} for {lacks} of the {whole} to choose from{short}:"
        f" the mean of {mean} stands in"
    )
