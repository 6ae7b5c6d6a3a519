"""Watts of a machine that has no counter: a band, never one guessed number.

    energy = wall time × power at rest of the visible share
           + CPU-seconds × joules of one more CPU-second

Both terms are linear, so cutting a window in two neither makes nor loses energy, whatever ran in
which half. The measured curves of servers are not: the first busy threads wake the package, the
last ones raise its clock. So the price is their average, by the line through rest that errs least
over all loads, and its ends hold the average up to any load. Following the curve itself would need
the load of a whole host, which a guest cannot see, and would make the energy of a window depend on
where it is cut.

Every coefficient has its ends (`data/devices/`, fitted and tried by `bench/band.py`); the ends of
the band are the products of the ends, so they hold even if every coefficient errs the same way.

Boundary: CPU package and main memory of the share this process can see, rest included; the
same things that a package and a memory counter would report. Not in it: accelerators, disks,
network, fans, power supply, cooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from negawatt.core.estimate import Estimate, Kind
from negawatt.meters.facts import CpuFacts, facts_of, table
from negawatt.meters.machine import Machine, here

BOUNDARY = "package+dram, visible share"
MARGINAL_BOUNDARY = "package, above rest"
BYTES_PER_GB = 1e9

#: Entries of the CPU table on whose kind the stated coverage was tried: x86 servers.
_TRIED = ("epyc", "xeon")


@dataclass(frozen=True, slots=True)
class Band:
    """Modelled power of the visible share of one machine.

    Args:
        rest: Power of the visible share when it does nothing, memory included. [W]
        per_cpu_second: What one more CPU-second adds to rest. [J/s]
        full: Power with every usable thread busy, memory included. [W]
        source: Which facts were used.
        known: True when the CPU itself is in the table, False when a stand-in was used.
        covers: Share of servers not used for the fit that lie wholly inside; None where it was
            not tried: other kinds of processor, and stand-ins. [1]
    """

    rest: Estimate
    per_cpu_second: Estimate
    full: Estimate
    source: str
    known: bool
    covers: float | None = None

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
    watts, dram, shares = cpu.watts_per_thread, table("memory")["dram"], table("band")
    threads, memory_gb = machine.threads_usable, machine.memory_usable / BYTES_PER_GB
    covers = shares["coverage"].value if cpu.key.startswith(_TRIED) else None
    source = f"band for {cpu.key}, {threads:g} threads, {memory_gb:.3g} GB"
    if covers is not None:
        source += f"; covers {covers:.0%} of held-out servers"

    def power(name: str) -> Estimate:
        """Of the visible share, memory included. [W]"""
        share = shares[name]
        ends = (
            threads * watts.low * share.low + memory_gb * dram.low,
            threads * watts.value * share.value + memory_gb * dram.value,
            threads * watts.high * share.high + memory_gb * dram.high,
        )
        return _modelled(ends, unit="W", source=source)

    price = shares["price"]
    each = (watts.low * price.low, watts.value * price.value, watts.high * price.high)
    return Band(
        rest=power("rest"),
        per_cpu_second=_modelled(each, unit="J/s", source=source, boundary=MARGINAL_BOUNDARY),
        full=power("full"),
        source=source,
        known=cpu.key not in {"unknown", "server-other"},
        covers=covers,
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
