"""Physical quantities that know their unit. SI inside; kWh only where people read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

J_PER_KWH = 3_600_000.0  # exact, by definition


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """A finite number with the unit its class names; only like adds to like.

    >>> Joules(2.0) + Joules(3.0)
    Joules(value=5.0)
    >>> Joules(6.0) / Joules(3.0)
    2.0
    """

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            kind = type(self).__name__
            raise ValueError(f"{kind} must be a finite number, got {self.value}")

    def _same(self, other: object) -> float:
        if type(other) is not type(self):
            raise TypeError(f"cannot combine {type(self).__name__} with {type(other).__name__}")
        return other.value

    def __add__(self, other: Self) -> Self:
        return type(self)(self.value + self._same(other))

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.value - self._same(other))

    def __mul__(self, factor: float) -> Self:
        return type(self)(self.value * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Self) -> float:
        return self.value / self._same(other)


@dataclass(frozen=True, slots=True, order=True)
class Seconds(Quantity):
    """Time. [s]"""


@dataclass(frozen=True, slots=True, order=True)
class Joules(Quantity):
    """Energy. [J]

    >>> Joules(7_200_000).kwh
    2.0
    """

    @property
    def kwh(self) -> float:
        """The same energy in kilowatt-hours, for people."""
        return self.value / J_PER_KWH

    def over(self, period: Seconds) -> Watts:
        """Mean power over `period`."""
        return Watts(self.value / period.value)


@dataclass(frozen=True, slots=True, order=True)
class Watts(Quantity):
    """Power. [W]

    >>> Watts(10).during(Seconds(6))
    Joules(value=60)
    """

    def during(self, period: Seconds) -> Joules:
        """Energy that flows at this power for `period`."""
        return Joules(self.value * period.value)


@dataclass(frozen=True, slots=True, order=True)
class GramsCO2e(Quantity):
    """Greenhouse gas, in carbon dioxide equivalents (100 years). [gCO2e]"""


@dataclass(frozen=True, slots=True, order=True)
class GramsPerKWh(Quantity):
    """Carbon intensity of electricity. [gCO2e/kWh]"""
