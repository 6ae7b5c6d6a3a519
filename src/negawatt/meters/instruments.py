"""What a window reads at both of its ends: counters and clocks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.errors import MeterUnavailable
from negawatt.core.protocols import PowerMeter
from negawatt.meters import inventory
from negawatt.meters.band import Band
from negawatt.meters.integrate import Integral, Integrated
from negawatt.meters.pulse import Pulse

if sys.platform != "win32":
    import resource


def children_cpu() -> float:
    """CPU time of every child, and child's child, that has ended and was waited for. [s]

    Windows keeps no such account; there it stays zero and only this process is counted.
    """
    if sys.platform == "win32":
        times = os.times()
        return times.children_user + times.children_system
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def asleep() -> float:
    """Time that this machine was suspended since it was started; zero where nobody tells. [s]

    The clock that windows use stands still meanwhile.
    """
    if sys.platform != "linux":
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Snapshot(NamedTuple):
    """One moment: both clocks, and every counter or the reason why it could not be read."""

    wall: float  # [s]
    own_cpu: float  # [s]
    children_cpu: float  # [s]
    asleep: float  # [s]
    counters: tuple[Integral | MeterUnavailable, ...]  # one a meter


def _count(meter: PowerMeter) -> Integral | MeterUnavailable:
    try:
        if isinstance(meter, Integrated):
            return meter.integral()
        joules = meter.energy().value
    except MeterUnavailable as error:
        return error
    except Exception as error:  # noqa: BLE001  # an adapter may come from anyone; it must not
        # end the work that is measured, and what went wrong is told
        return MeterUnavailable(
            f"it failed with {type(error).__name__}: {error}",
            fix=f"report it to the author of {meter.name}",
        )
    return Integral(joules, joules, joules)


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a window reads.

    Args:
        meters: The counters.
        clock: Wall time, CPU time of this process, calendar.
        children: CPU time of ended children. [s]
        asleep: Time that the machine was suspended. [s]
        band: Model for a CPU without a counter; this machine's when None.
    """

    meters: tuple[PowerMeter, ...] = ()
    clock: Clock = field(default_factory=SystemClock)
    children: Callable[[], float] = children_cpu
    asleep: Callable[[], float] = asleep
    band: Band | None = None
    pulse: Pulse = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pulse", Pulse(self.meters))

    def snapshot(self) -> Snapshot:
        """Read everything once."""
        return Snapshot(
            self.clock.monotonic(),
            self.clock.cpu(),
            self.children(),
            self.asleep(),
            tuple(_count(meter) for meter in self.meters),
        )


@cache
def local() -> Instruments:
    """The instruments of this machine, found once."""
    return Instruments(meters=inventory.here().meters)
