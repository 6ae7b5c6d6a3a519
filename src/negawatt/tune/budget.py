"""How long learning may go on: by the clock, or by what it draws."""

from __future__ import annotations

import re
from dataclasses import dataclass

from negawatt.core.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "J": 1.0, "kJ": 1e3, "Wh": 3600.0}
_ENERGY = ("J", "kJ", "Wh")


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on time or on energy; the other one is None."""

    seconds: float | None = None  # by the wall [s]
    joules: float | None = None  # [J]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `5m`, `300s`, `2Wh` or `500J`.

        >>> Budget.parse("5m"), Budget.parse("0.5 Wh")
        (Budget(seconds=300.0, joules=None), Budget(seconds=None, joules=1800.0))

        Raises:
            UsageError: it is neither a time nor an energy.
        """
        match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([A-Za-z]+)", text.strip())
        if match is None or match[2] not in _UNITS or float(match[1]) <= 0:
            raise UsageError(
                f"--heal {text!r} is neither a time nor an energy",
                fix="write it as 5m, 300s, 2Wh or 500J",
            )
        value = float(match[1]) * _UNITS[match[2]]
        return cls(joules=value) if match[2] in _ENERGY else cls(seconds=value)

    def used(self, seconds: float, joules: float) -> float:
        """The share that is used up; 1 and more when all of it is.

        >>> Budget(joules=100.0).used(seconds=3.0, joules=25.0)
        0.25
        """
        if self.seconds is not None:
            return seconds / self.seconds
        return joules / (self.joules or joules or 1.0)
