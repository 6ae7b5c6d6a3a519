"""The same work several times: the mean of its figures, and how far the runs differ.

>>> runs = repeat(lambda: sum(range(1000)), times=3, meters=())
>>> len(runs.runs), runs.energy.unit
(3, 'J')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, weakest
from negawatt.core.protocols import PowerMeter
from negawatt.meters.span import Span
from negawatt.meters.window import measure

SURE = 0.95  # two-sided


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of runs, its interval widened by what the runs say about it.

    The ends of the single figures (an error of the meter, which all runs share) are averaged. To
    them comes the 95 % interval of the mean of so few runs (Student's t). A single run says nothing
    about how far runs differ, and its source says so.

    Args:
        estimates: One figure a run, all of one unit; at least one.

    Raises:
        UsageError: there is none, or their units differ.

    >>> told = mean([Estimate.exact(x, unit="J", source="meter") for x in (9.0, 10.0, 11.0)])
    >>> str(told), told.source
    ('10 J (7.516 to 12.48, measured)', 'meter, mean of 3 runs, 95 %')
    """
    if len({estimate.unit for estimate in estimates}) != 1:
        raise UsageError("these runs have no mean", fix="give figures of one unit, at least one")
    count = len(estimates)
    low, value, high = (
        fmean(getattr(estimate, end) for estimate in estimates) for end in ("low", "value", "high")
    )
    reach = _reach([estimate.value for estimate in estimates])
    sources = ", ".join(dict.fromkeys(estimate.source for estimate in estimates))
    told = f"mean of {count} runs, 95 %" if count > 1 else "one run: how far runs differ is unknown"
    return replace(
        estimates[0],
        value=value,
        low=max(min(0.0, low), low - reach),
        high=high + reach,
        kind=weakest(estimate.kind for estimate in estimates),
        source=f"{sources}, {told}",
        period_s=None,
    )


def _reach(values: Sequence[float]) -> float:
    """Half the width of the interval of a mean; nothing from a single value."""
    if len(values) < 2 or not (spread := stdev(values)):
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(len(values) - 1, (1 + SURE) / 2)) * spread / math.sqrt(len(values))


@dataclass(frozen=True, slots=True)
class Repeats:
    """Several runs of one work; its figures are those of a single run, on average.

    Args:
        name: What was measured.
        runs: What each run took; at least one.

    Raises:
        UsageError: there are no runs.
    """

    name: str
    runs: tuple[Span, ...]

    def __post_init__(self) -> None:
        if not self.runs:
            raise UsageError("there are no runs", fix="run the work at least once")

    @property
    def energy(self) -> Estimate:
        """Everything known. [J]"""
        return mean([run.energy for run in self.runs])

    @property
    def energies(self) -> Mapping[str, Estimate]:
        """Measured energy of each boundary that was read in every run. [J]"""
        each = [run.energies for run in self.runs]
        shared = [key for key in each[0] if all(key in one for one in each)]
        return {key: mean([one[key] for one in each]) for key in shared}

    @property
    def cpu_seconds(self) -> Estimate:
        """User and system CPU time. [s]"""
        return mean([run.cpu_seconds for run in self.runs])

    @property
    def wall_seconds(self) -> Estimate:
        """Time from start to end. [s]"""
        return mean([run.wall_seconds for run in self.runs])

    @property
    def unread(self) -> tuple[str, ...]:
        """What could not be read, and why, in any of the runs."""
        return tuple(dict.fromkeys(word for run in self.runs for word in run.unread))

    def __str__(self) -> str:
        return f"{self.name}: {self.energy}, {self.cpu_seconds}, {len(self.runs)} runs"


def repeat(
    work: Callable[[], object],
    *,
    times: int = 5,
    warmup: int = 0,
    name: str | None = None,
    meters: tuple[PowerMeter, ...] | None = None,
) -> Repeats:
    """Run work several times, each in a window of its own.

    Args:
        work: Called without arguments.
        times: How often it is measured; 2 or more for an interval.
        warmup: How often it is run before, unmeasured.
        name: What to call it; the name of `work` when None.
        meters: Counters to read; every one found on this machine when None.

    Raises:
        UsageError: it is to run less than once.
    """
    if times < 1 or warmup < 0:
        raise UsageError(f"{times} runs cannot be measured", fix="measure 1 or more")
    called = name or str(getattr(work, "__name__", "work"))
    for _ in range(warmup):
        work()
    runs = []
    for _ in range(times):
        with measure(called, meters=meters) as window:
            work()
        runs.append(window.result)
    return Repeats(called, tuple(runs))
