"""How a figure is written in a document: number, interval, kind."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from negawatt.core.estimate import Estimate
from negawatt.reports.figures import UNKNOWN, plain

#: unit -> its larger or smaller forms, as (name, how many of `unit` one is), smallest first.
_FORMS: dict[str, Sequence[tuple[str, float]]] = {
    "J": (("J", 1.0), ("Wh", 3.6e3), ("kWh", 3.6e6), ("MWh", 3.6e9), ("GWh", 3.6e12)),
    "gCO2e": (("µg CO2e", 1e-6), ("mg CO2e", 1e-3), ("g CO2e", 1.0), ("kg CO2e", 1e3), ("t CO2e", 1e6)),
    "L": (("µL", 1e-6), ("mL", 1e-3), ("L", 1.0), ("m³", 1e3)),
    "MJ": (("J", 1e-6), ("kJ", 1e-3), ("MJ", 1.0), ("GJ", 1e3)),
    "s": (("s", 1.0), ("h", 3600.0)),
}  # fmt: skip


def readable(estimate: Estimate | None) -> tuple[str, str]:
    """Value and interval in the unit that keeps the number short; a dash for the unknown.

    >>> readable(Estimate.exact(7_200_000, unit="J", source="meter"))
    ('2 kWh', '')
    >>> readable(None)
    ('—', '')
    """
    if estimate is None:
        return UNKNOWN, ""
    name, factor = _form(estimate)
    low, value, high = (plain(n / factor) for n in (estimate.low, estimate.value, estimate.high))
    unit = "" if name == "1" else f" {name}"
    return f"{value}{unit}", "" if estimate.is_exact else f"{low} to {high}{unit}"


def sentence(estimate: Estimate | None) -> str:
    """The figure as a sentence holds it: value, interval and kind.

    >>> sentence(Estimate.exact(1500, unit="gCO2e", source="meter"))
    '1.5 kg CO2e (measured)'
    """
    text, interval = readable(estimate)
    if estimate is None:
        return "unknown"
    return f"{text} ({', '.join(filter(None, (interval, str(estimate.kind))))})"


def atoms(source: str) -> tuple[str, ...]:
    """The single sources that a worked-out figure names, in their order.

    >>> atoms("meter × stated PUE + meter × Ember")
    ('meter', 'stated PUE', 'Ember')
    """
    return tuple(dict.fromkeys(re.split(" [×+−] ", source)))


def significant(value: float, digits: int = 3) -> float:
    """A number rounded to so many significant digits.

    >>> significant(1234.5678), significant(0.0)
    (1230.0, 0.0)
    """
    if value == 0:
        return 0.0
    return round(float(value), digits - 1 - math.floor(math.log10(abs(value))))


def _form(estimate: Estimate) -> tuple[str, float]:
    """The largest form in which the value is at least 1; per-unit figures keep their end."""
    unit, slash, per = estimate.unit.partition("/")
    forms = _FORMS.get(unit)
    if forms is None:
        return estimate.unit, 1.0
    size = abs(estimate.value) or abs(estimate.high) or 1.0
    name, factor = next(((n, f) for n, f in reversed(forms) if size >= f), forms[0])
    return f"{name}{slash}{per}", factor
