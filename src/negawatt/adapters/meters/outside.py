"""What a meter outside the machine says, as a gauge or as a counter.

Such meters look at power every second, and count in steps that a short window never sees. So
power is sampled unless the address says `read=energy`, which is for runs of an hour or more and
needs no sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from negawatt.adapters.meters.address import Address
from negawatt.adapters.meters.checked import Rising, number, watts
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules, Watts

PLUG = Watts(3680.0)  # 16 A at 230 V: the most that passes through a plug


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, as the meter gave it; None for what it does not tell.

    Args:
        power: [W]
        energy: [J]
    """

    power: object = None
    energy: float | None = None


Ask = Callable[[], Sample]


def _asked(name: str, ask: Ask) -> Sample:
    """One answer.

    Raises:
        MeterUnavailable: it does not answer, or what it says has another form than it should.
    """
    try:
        return ask()
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise MeterUnavailable(
            f"{name} answers in a form that is not known here ({type(error).__name__}: {error})",
            fix="see that the address is that of the meter; after an update of its firmware, report it",
        ) from error


class OutsideGauge:
    """Power of the whole machine, sampled."""

    poll_every_s = 1.0  # politeness: these are small computers, and far away

    def __init__(self, name: str, boundary: str, ask: Ask, *, limit: Watts = PLUG) -> None:
        self.name, self.boundary, self.limit = name, boundary, limit
        self._ask = ask

    def power(self) -> Watts:
        """Power now.

        Raises:
            MeterUnavailable: it does not answer, does not tell, or tells what cannot be true.
        """
        told = _asked(self.name, self._ask).power
        if told is None:
            raise _silent(self.name, "power")
        return watts(told, self.name, whole=True)


class OutsideCounter:
    """Energy of the whole machine, counted by the meter in steps.

    Args:
        name: Of the meter.
        boundary: What it includes.
        ask: Reads it.
        step_j: The smallest amount that it tells. [J]
        lag_s: How long its count may stand still while energy flows. [s]
    """

    def __init__(
        self, name: str, boundary: str, ask: Ask, *, step_j: float, lag_s: float = 0.0
    ) -> None:
        self.name, self.boundary = name, boundary
        self._ask, self._step_j, self._lag_s = ask, step_j, lag_s
        self._highest_w = 0.0
        self._rising = Rising(name, cause="its count was reset")

    @property
    def resolution_j(self) -> float:
        """By how much a difference of two reads may be off. [J]"""
        return self._step_j + self._lag_s * self._highest_w

    def energy(self) -> Joules:
        """What it has counted.

        Raises:
            MeterUnavailable: it does not answer, does not count, or its count was reset.
        """
        told = _asked(self.name, self._ask)
        if told.energy is None:
            raise _silent(self.name, "energy")
        if told.power is not None:
            self._highest_w = max(self._highest_w, watts(told.power, self.name).value)
        return self._rising.take(number(told.energy, self.name))


def _silent(name: str, what: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"{name} answers, and does not tell its {what}",
        fix="see whether this model meters at all; ?read=power or ?read=energy asks for the other",
    )


def meter_at(
    address: Address, ask: Ask, *, step_j: float, lag_s: float = 0.0, limit: Watts = PLUG
) -> OutsideGauge | OutsideCounter:
    """The meter that an address asks for, read once.

    Raises:
        MeterUnavailable: it cannot be read.
    """
    name, boundary = address.name, address.boundary
    if address.choice("read", "power", "energy") == "energy":
        counter = OutsideCounter(name, boundary, ask, step_j=step_j, lag_s=lag_s)
        counter.energy()
        return counter
    gauge = OutsideGauge(name, boundary, ask, limit=limit)
    gauge.power()  # one that cannot be read is no meter: say so before the work begins
    return gauge
