"""CPU energy from its thermal design power and load, by the curve of Teads' engineers."""

from __future__ import annotations

from itertools import pairwise

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.meters.facts import table

_LOADS = (0.0, 0.1, 0.5, 1.0)


def teads_power_share(load: float) -> Estimate:
    """Share of its thermal design power that a package draws at a load. [1]

    Linear between the published points 0.12, 0.32, 0.75 and 1.02 at 0, 10, 50
    and 100 %, with the spread that other measurements of such curves show.

    Args:
        load: Busy share of the package, 0 to 1. [1]

    Raises:
        UsageError: the load is no share.

    >>> round(teads_power_share(0.3).value, 3)
    0.535
    """
    if not 0 <= load <= 1:
        raise UsageError(
            f"a load of {load:g} is no share of a processor", fix="give it from 0 to 1"
        )
    points = table("curve")
    before, after = next((a, b) for a, b in pairwise(_LOADS) if load <= b)
    lower, upper = (points[f"load_{round(point * 100)}"] for point in (before, after))
    along = (load - before) / (after - before)

    def between(start: float, end: float) -> float:
        return start + along * (end - start)

    return Estimate(
        value=between(lower.value, upper.value),
        low=between(lower.low, upper.low),
        high=between(lower.high, upper.high),
        unit="1",
        kind=Kind.MODELLED,
        source=f"Teads curve ({lower.source})",
    )


def teads_energy(
    tdp: Estimate, load: float, period: Estimate, vcpus: tuple[float, float] | None = None
) -> Estimate:
    """Energy of a CPU, or of the part of it that a virtual machine has. [J]

    Args:
        tdp: Thermal design power of the whole package. [W]
        load: Busy share, 0 to 1. [1]
        period: How long. [s]
        vcpus: Allocated, and how many the package has; the whole of it when None.

    Raises:
        UsageError: the load or the vCPUs are no share.

    >>> from negawatt.ledger.footprint.operation import kilowatt_hours
    >>> watts = Estimate.exact(100, unit="W", source="data sheet")
    >>> six_minutes = Estimate.exact(360, unit="s", source="clock")
    >>> round(kilowatt_hours(teads_energy(watts, 0.1, six_minutes, (2, 8))).value, 12)
    0.0008
    """
    mine, all_of_them = vcpus or (1.0, 1.0)
    if not 0 < mine <= all_of_them:
        raise UsageError(
            f"{mine:g} of {all_of_them:g} vCPUs is no share of a processor",
            fix="give those allocated, then all the processor has",
        )
    drawn = tdp.times(teads_power_share(load), unit="W").times(period, unit="J")
    return drawn.scaled(mine / all_of_them)
