"""Figures as people write them: an energy with its unit, a range when it is not known."""

from __future__ import annotations

import re
from types import MappingProxyType

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind

#: Joules in one of each. The case matters only where m is a thousandth and M a million.
_UNITS = MappingProxyType(
    {"j": 1.0, "kj": 1e3, "gj": 1e9, "wh": 3.6e3, "kwh": 3.6e6, "gwh": 3.6e12, "twh": 3.6e15,
     "mJ": 1e-3, "MJ": 1e6, "mWh": 3.6, "MWh": 3.6e9}
)  # fmt: skip
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"


def stated_energy(text: str) -> Estimate:
    """Read an energy, or a range of it, with its unit: 12kWh, 10:14 kWh, 3.6MJ. [J]

    Upper or lower case does not matter but in mJ and MJ, mWh and MWh.

    Raises:
        UsageError: no number with a unit of energy.

    >>> stated_energy("12kWh").value
    43200000.0
    >>> stated_energy("5 mWh").value, stated_energy("5 MWh").value
    (18.0, 18000000000.0)
    >>> str(stated_energy("1:3 MJ"))
    '2e+06 J (1e+06 to 3e+06, assumed)'
    """
    found = re.fullmatch(rf"({_NUMBER}(?::{_NUMBER})?)\s*([A-Za-z]+)", text.strip())
    joules = _UNITS.get(found[2]) or _UNITS.get(found[2].lower()) if found else None
    if found is None or joules is None:
        raise UsageError(
            f"{text!r} is no energy",
            fix="write a number and its unit, for example 12kWh or 43MJ; m is a thousandth and M a"
            " million: mWh or MWh",
        )
    low, high = stated_range(found[1])
    return Estimate(
        value=(low + high) / 2 * joules,
        low=low * joules,
        high=high * joules,
        unit="J",
        kind=Kind.ASSUMED,
        source="stated energy",
        boundary="as stated",
    )


def stated_range(text: str) -> tuple[float, float]:
    """Read a number, or LOW:HIGH.

    Raises:
        UsageError: neither, or the ends are swapped.

    >>> stated_range("7.3"), stated_range("20:400")
    ((7.3, 7.3), (20.0, 400.0))
    """
    found = re.fullmatch(rf"({_NUMBER})(?::({_NUMBER}))?", text.strip())
    if found is None or float(found[2] or found[1]) < float(found[1]):
        raise UsageError(
            f"{text!r} is no number and no range", fix="write 7.3, or LOW:HIGH such as 20:400"
        )
    return float(found[1]), float(found[2] or found[1])
