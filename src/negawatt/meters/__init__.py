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
    from negawatt.meters.attribute import (
        Account,
        CpuUse,
        EngineStep,
        GroupUse,
        NotConserved,
        PhaseSpan,
        RequestAccount,
        Rest,
        SequenceWork,
        StepCosts,
        by_container,
        by_cpu_time,
        by_gpu_use,
        by_member,
        by_request,
        by_time,
        by_windows,
        read_cpu,
        read_groups,
        used,
    )
    from negawatt.meters.band import Band, energy_of, joules_per_cpu_second
    from negawatt.meters.instruments import Instruments
    from negawatt.meters.inventory import Inventory, Missing, discover
    from negawatt.meters.machine import Machine
    from negawatt.meters.repeats import Repeats, repeat
    from negawatt.meters.span import Scope, Span, marginal
    from negawatt.meters.window import Window, measure

__all__ = [
    "Account",
    "Band",
    "CpuUse",
    "EngineStep",
    "GroupUse",
    "Instruments",
    "Inventory",
    "Machine",
    "Missing",
    "NotConserved",
    "PhaseSpan",
    "Repeats",
    "RequestAccount",
    "Rest",
    "Scope",
    "SequenceWork",
    "Span",
    "StepCosts",
    "Window",
    "by_container",
    "by_cpu_time",
    "by_gpu_use",
    "by_member",
    "by_request",
    "by_time",
    "by_windows",
    "discover",
    "energy_of",
    "joules_per_cpu_second",
    "marginal",
    "measure",
    "read_cpu",
    "read_groups",
    "repeat",
    "used",
]

_HOMES = {
    "attribute": (
        "Account",
        "CpuUse",
        "EngineStep",
        "GroupUse",
        "NotConserved",
        "PhaseSpan",
        "RequestAccount",
        "Rest",
        "SequenceWork",
        "StepCosts",
        "by_container",
        "by_cpu_time",
        "by_gpu_use",
        "by_member",
        "by_request",
        "by_time",
        "by_windows",
        "read_cpu",
        "read_groups",
        "used",
    ),
    "band": ("Band", "energy_of", "joules_per_cpu_second"),
    "instruments": ("Instruments",),
    "inventory": ("Inventory", "Missing", "discover"),
    "machine": ("Machine",),
    "repeats": ("Repeats", "repeat"),
    "span": ("Scope", "Span", "marginal"),
    "window": ("Window", "measure"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"negawatt.meters.{home}"), name)
    raise AttributeError(f"module 'negawatt.meters' has no attribute {name!r}")
