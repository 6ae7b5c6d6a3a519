"""What machines draw while they are held and do nothing."""

from __future__ import annotations

from dataclasses import replace

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.factors import table
from negawatt.ledger.footprint.embodied import Part
from negawatt.ledger.footprint.operation import expect


def idle_energy(power: Estimate, *, reserved: Estimate, busy: Estimate) -> Estimate:
    """Energy of the hours a machine was reserved and not busy. [J]

    Whoever holds a machine holds its idle draw; leaving it out makes a
    reserved cluster look as frugal as a shared one.

    Args:
        power: Drawn at rest. [W]
        reserved: How long it was held. [s]
        busy: How long of that it worked. [s]

    Raises:
        UsageError: it was busy for longer than it was held.

    >>> watts = Estimate.exact(70, unit="W", source="meter")
    >>> hour = Estimate.exact(3600, unit="s", source="clock")
    >>> idle_energy(watts, reserved=hour, busy=hour.scaled(0.5)).value
    126000.0
    """
    expect(power, "W", "idle power")
    expect(reserved, "s", "reserved time")
    expect(busy, "s", "busy time")
    if busy.value > reserved.value:
        raise UsageError(
            f"busy for {busy.value:g} s of {reserved.value:g} s reserved",
            fix="give the time the machines were held, busy time included",
        )
    waiting = replace(
        reserved,
        value=reserved.value - busy.value,
        low=max(0.0, reserved.low - busy.high),
        high=max(0.0, reserved.high - busy.low),
        source=f"{reserved.source} − {busy.source}",
    )
    return replace(power.times(waiting, unit="J"), boundary="idle, reserved machines")


def idle_power(part: Part) -> Estimate | None:
    """Draw at rest of some accelerators, or None where nobody published one. [W]

    >>> idle_power(Part("h100", 8)).value
    560
    >>> idle_power(Part("ssd", 1000)) is None
    True
    """
    known = table("site").get(f"idle_{part.name}")
    return None if known is None else known.estimate().scaled(part.amount)
