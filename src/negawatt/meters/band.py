"""Watts of a machine that has no counter: a band, never one guessed number.

    energy = wall time × power at rest of the visible share
           + CPU-seconds × joules of one more CPU-second

Both terms are linear, so cutting a window in two neither makes nor loses energy. Every
coefficient is a published fact with its ends (`data/devices/`); the ends of the band are the
products of the ends, so they hold even if every coefficient errs the same way.

Boundary: CPU package and main memory of the share this process can see, rest included; the
same things that a package and a memory counter would report. Not in it: accelerators, disks,
network, fans, power supply, cooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import Factor
from negawatt.meters.facts import CpuFacts, facts_of, table
from negawatt.meters.machine import Machine, here

BOUNDARY = "package+dram, visible share"
MARGINAL_BOUNDARY = "package, above rest"
BYTES_PER_GB = 1e9

_LOADS = (0.0, 0.1, 0.5, 1.0)  # share of the package's threads that are busy


def _curve() -> tuple[Factor, ...]:
    points = table("curve")
    return tuple(points[f"load_{round(load * 100)}"] for load in _LOADS)


def _slopes() -> tuple[float, float, float]:
    """TDP shares per unit of load: lowest, mean and highest over the curve. [1]

    The curve is concave: the first busy thread wakes the package and runs at the highest
    clock, the last one shares both. Where on the curve a guest's thread lands depends on its
    neighbours, so the steepest and the flattest stretch are the ends.
    """
    points = _curve()
    steps = [
        (after.value - before.value) / (load_after - load_before)
        for (before, after), (load_before, load_after) in zip(
            pairwise(points), pairwise(_LOADS), strict=True
        )
    ]
    rest, full = points[0], points[-1]
    lowest = min(steps) * full.low / full.value
    highest = max(steps) * full.high / full.value
    return lowest, full.value - rest.value, highest


@dataclass(frozen=True, slots=True)
class Band:
    """Modelled power of the visible share of one machine.

    Args:
        rest: Power of the visible share when it does nothing, memory included. [W]
        per_cpu_second: What one more CPU-second adds to rest. [J/s]
        full: Power with every usable thread busy, memory included. [W]
        source: Which facts were used.
        known: True when the CPU itself is in the table, False when a stand-in was used.
    """

    rest: Estimate
    per_cpu_second: Estimate
    full: Estimate
    source: str
    known: bool

    def energy(self, *, cpu_seconds: float, wall_seconds: float) -> Estimate:
        """Joules of work that took so much CPU time in so much wall time.

        The upper end never exceeds full power for the whole time.

        >>> from negawatt.meters import machine
        >>> joules = band_of(machine.here()).energy(cpu_seconds=1.0, wall_seconds=2.0)
        >>> joules.kind, joules.low < joules.value < joules.high
        (<Kind.MODELLED: 'modelled'>, True)
        """
        value = self.rest.value * wall_seconds + self.per_cpu_second.value * cpu_seconds
        steepest = self.rest.high * wall_seconds + self.per_cpu_second.high * cpu_seconds
        return Estimate(
            value=value,
            low=self.rest.low * wall_seconds + self.per_cpu_second.low * cpu_seconds,
            high=max(value, min(steepest, self.full.high * wall_seconds)),
            unit="J",
            kind=Kind.MODELLED,
            source=self.source,
            boundary=BOUNDARY,
            period_s=wall_seconds,
        )


def _modelled(
    ends: tuple[float, float, float], *, unit: str, source: str, boundary: str = BOUNDARY
) -> Estimate:
    low, value, high = ends
    return Estimate(
        value=value,
        low=low,
        high=high,
        unit=unit,
        kind=Kind.MODELLED,
        source=source,
        boundary=boundary,
    )


def band_of(machine: Machine, facts: CpuFacts | None = None) -> Band:
    """The band of a machine, from its CPU, its share of it and its memory."""
    cpu = facts or facts_of(machine.cpu)
    watts, dram = cpu.watts_per_thread, table("memory")["dram"]
    points, slopes = _curve(), _slopes()
    threads, memory_gb = machine.threads_usable, machine.memory_usable / BYTES_PER_GB
    source = f"band for {cpu.key}, {threads:g} threads, {memory_gb:.3g} GB"

    def share(point: Factor) -> tuple[float, float, float]:
        return (
            threads * watts.low * point.low + memory_gb * dram.low,
            threads * watts.value * point.value + memory_gb * dram.value,
            threads * watts.high * point.high + memory_gb * dram.high,
        )

    lowest, mean, highest = slopes
    return Band(
        rest=_modelled(share(points[0]), unit="W", source=source),
        per_cpu_second=_modelled(
            (watts.low * lowest, watts.value * mean, watts.high * highest),
            unit="J/s",
            source=source,
            boundary=MARGINAL_BOUNDARY,
        ),
        full=_modelled(share(points[-1]), unit="W", source=source),
        source=source,
        known=cpu.key not in {"unknown", "server-other"},
    )


@cache
def local() -> Band:
    """The band of this machine, worked out once."""
    return band_of(here())


def energy_of(cpu_seconds: float, wall_seconds: float, *, band: Band | None = None) -> Estimate:
    """Modelled joules of work on this machine, as if it had no counters. [J]

    Args:
        cpu_seconds: User and system CPU time of the work, all threads. [s]
        wall_seconds: How long it took. [s]
        band: Of another machine; this one's when None.

    >>> energy_of(2.0, 1.0).unit
    'J'
    """
    return (band or local()).energy(cpu_seconds=cpu_seconds, wall_seconds=wall_seconds)


def joules_per_cpu_second(*, band: Band | None = None) -> Estimate:
    """What one more CPU-second costs on this machine, above rest. [J/s]

    Modelled. Where a counter exists, `meters.marginal` measures it with the work itself.
    A ratio of two costs obtained with it does not depend on it: both carry the same factor.
    """
    return (band or local()).per_cpu_second
