"""A number that knows where it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self


class Kind(StrEnum):
    """How a number was come by; combining two keeps the weaker."""

    MEASURED = "measured"
    MODELLED = "modelled"
    ASSUMED = "assumed"

    @property
    def weakness(self) -> int:
        """0 for measured, 1 for modelled, 2 for assumed."""
        return list(Kind).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its interval, unit, kind, source, boundary and period.

    Args:
        value: Best estimate, in `unit`.
        low: Lower end of the interval; `low <= value`.
        high: Upper end of the interval; `value <= high`.
        unit: SI where one exists: "J", "W", "s", "J/token", "1".
        kind: Measured, modelled or assumed.
        source: Where it came from: a meter, a model version, a publication.
        boundary: What is inside: "process", "package:0", "machine", "model".
        period_s: Length of time it covers, when it covers one. [s]

    >>> cpu = Estimate.exact(2.5, unit="s", source="os process clock", boundary="process")
    >>> cpu.scaled(1 / 100, unit="s/token").value
    0.025
    >>> str(Estimate(value=10, low=8, high=13, unit="J", kind=Kind.MODELLED, source="band"))
    '10 J (8 to 13, modelled)'
    """

    value: float
    low: float
    high: float
    unit: str
    kind: Kind
    source: str
    boundary: str = ""
    period_s: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high)
        if not all(math.isfinite(n) for n in numbers):
            raise ValueError(f"an estimate needs finite numbers, got {numbers}")
        slack = 1e-9 * max(abs(n) for n in numbers)
        if not self.low - slack <= self.value <= self.high + slack:
            raise ValueError(f"value {self.value} lies outside its interval {numbers[1:]}")

    @classmethod
    def exact(
        cls, value: float, *, unit: str, source: str, boundary: str = "", kind: Kind = Kind.MEASURED
    ) -> Self:
        """A reading whose own error is negligible beside what it is used for."""
        return cls(
            value=value,
            low=value,
            high=value,
            unit=unit,
            kind=kind,
            source=source,
            boundary=boundary,
        )

    def scaled(self, factor: float, *, unit: str | None = None) -> Estimate:
        """The estimate times an exact number, in another unit if given."""
        low, high = sorted((self.low * factor, self.high * factor))
        return replace(self, value=self.value * factor, low=low, high=high, unit=unit or self.unit)

    def times(self, other: Estimate, *, unit: str) -> Estimate:
        """The product of two non-negative estimates; intervals multiply end by end."""
        if min(self.low, other.low) < 0:
            raise ValueError("interval products are defined here for non-negative estimates")
        return replace(
            self,
            value=self.value * other.value,
            low=self.low * other.low,
            high=self.high * other.high,
            unit=unit,
            kind=weakest((self.kind, other.kind)),
            source=f"{self.source} × {other.source}",
        )

    def __add__(self, other: Estimate) -> Estimate:
        """The sum; ends add, which is right for fully dependent errors and safe for others."""
        if other.unit != self.unit:
            raise ValueError(f"cannot add {other.unit} to {self.unit}")
        sources = self.source if other.source == self.source else f"{self.source} + {other.source}"
        return replace(
            self,
            value=self.value + other.value,
            low=self.low + other.low,
            high=self.high + other.high,
            kind=weakest((self.kind, other.kind)),
            source=sources,
        )

    @property
    def is_exact(self) -> bool:
        """True when the interval has no width."""
        return self.low == self.high

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` reads back."""
        return {**asdict(self), "kind": str(self.kind)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**data, "kind": Kind(data["kind"])})

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        if self.is_exact:
            return f"{self.value:.4g}{unit} ({self.kind})"
        return f"{self.value:.4g}{unit} ({self.low:.4g} to {self.high:.4g}, {self.kind})"


def weakest(kinds: Iterable[Kind]) -> Kind:
    """The least certain of several kinds.

    >>> weakest([Kind.MEASURED, Kind.ASSUMED, Kind.MODELLED])
    <Kind.ASSUMED: 'assumed'>
    """
    return max(kinds, key=lambda kind: kind.weakness)
