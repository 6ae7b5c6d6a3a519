"""Limits of moving work: one move to the cleanest zone, and place beside time over a year."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.decisions.when import scan as scan_windows

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneMove:
    """Every zone's work moved once, to the cleanest zone it may go to.

    Args:
        to: Where each zone's work goes.
        saved: Mean intensity before less after, zone by zone. [gCO2e/kWh]
    """

    to: Mapping[str, str]
    saved: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Unweighted over the zones. [gCO2e/kWh]"""
        return float(np.mean(list(self.saved.values())))


def one_move(
    means: Mapping[str, float], reach: Mapping[str, Collection[str]] | None = None
) -> OneMove:
    """Move the work of every zone once, for good.

    Args:
        means: Mean intensity of each zone. [gCO2e/kWh]
        reach: Zones that the work of a zone may go to, by zone; any when None. Each may stay.

    Raises:
        UsageError: there is no zone, a mean is not known, or a zone in `reach` is unknown.

    >>> found = one_move({"PL": 700.0, "FR": 60.0, "SE": 30.0}, {"PL": ["FR"]})
    >>> found.to["PL"], found.to["FR"], round(found.mean)
    ('FR', 'FR', 213)
    """
    if not means:
        raise UsageError("there is no zone to move between", fix="give a mean for each zone")
    unknown = [zone for zone, mean in means.items() if not np.isfinite(mean)]
    if unknown:
        raise UsageError(
            f"the mean of {', '.join(unknown)} is not known", fix="leave out what is not known"
        )
    to = {}
    for zone in means:
        near = means if reach is None else {zone, *reach.get(zone, ())}
        lost = [name for name in near if name not in means]
        if lost:
            raise UsageError(
                f"{zone} reaches {', '.join(sorted(lost))}, of which no mean is known",
                fix=f"name some of {', '.join(means)}",
            )
        to[zone] = min(near, key=lambda name: (means[name], name != zone))
    return OneMove(to=to, saved={zone: means[zone] - means[to[zone]] for zone in means})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """One job at every hour of a time and from every zone, in means over both. [gCO2e/kWh]

    Args:
        now: Run at once at home.
        time: The best window within the slack, at home.
        place: At once, in the zone whose mean is lowest.
        both: The best window there.
        best: The best window of any zone, looked for anew at every start.
        zone: Whose mean is lowest.
    """

    now: float
    time: float
    place: float
    both: float
    best: float
    zone: str


def scan(zones: Sequence[str], traces: Column, steps: float, slack: int) -> Scanned:
    """Place beside time: what each saves a job that may start at any step, from any zone.

    Args:
        zones: Their names.
        traces: [zones, steps], intensities. [gCO2e/kWh]
        steps: Length of the job in steps.
        slack: How many steps later it may begin.

    Raises:
        UsageError: names and traces do not fit, values are not known, or no start fits.

    >>> found = scan(["DE", "SE"], np.array([[400.0, 200.0, 300.0], [30.0, 20.0, 40.0]]), 1, 1)
    >>> found.now, found.time, found.place, found.both, found.zone
    (162.5, 110.0, 25.0, 20.0, 'SE')
    """
    if traces.ndim != 2 or len(zones) != len(traces):
        raise UsageError(
            f"{len(zones)} names and traces of shape {traces.shape} do not fit",
            fix="give one row for each zone",
        )
    lost = [zone for zone, row in zip(zones, traces, strict=True) if not np.isfinite(row).all()]
    if lost:
        raise UsageError(f"{', '.join(lost)} have gaps", fix="fill them, or leave the zones out")
    sums = scan_windows(traces, steps, slack)
    now, best = sums.now / steps, sums.best / steps
    lowest = int(np.argmin(traces.mean(axis=1)))
    return Scanned(
        now=float(now.mean()),
        time=float(best.mean()),
        place=float(now[lowest].mean()),
        both=float(best[lowest].mean()),
        best=float(best.min(axis=0).mean()),
        zone=zones[lowest],
    )
