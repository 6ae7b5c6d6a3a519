"""What the hardware says: windows over work, boundaries that add, a band where no counter is.

    >>> from negawatt.meters import measure
    >>> with measure("work") as m:
    ...     total = sum(range(100_000))
    >>> m.energy.low <= m.energy.value <= m.energy.high
    True

Names are loaded when first used, so importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negawatt.meters.band import Band, energy_of, joules_per_cpu_second
    from negawatt.meters.instruments import Instruments
    from negawatt.meters.inventory import Inventory, Missing, discover
    from negawatt.meters.machine import Machine
    from negawatt.meters.span import Scope, Span, marginal
    from negawatt.meters.window import Window, measure

__all__ = [
    "Band",
    "Instruments",
    "Inventory",
    "Machine",
    "Missing",
    "Scope",
    "Span",
    "Window",
    "discover",
    "energy_of",
    "joules_per_cpu_second",
    "marginal",
    "measure",
]

_HOMES = {
    "band": ("Band", "energy_of", "joules_per_cpu_second"),
    "instruments": ("Instruments",),
    "inventory": ("Inventory", "Missing", "discover"),
    "machine": ("Machine",),
    "span": ("Scope", "Span", "marginal"),
    "window": ("Window", "measure"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"negawatt.meters.{home}"), name)
    raise AttributeError(f"module 'negawatt.meters' has no attribute {name!r}")
