"""OpenTelemetry: counters of joules and seconds (package `opentelemetry-sdk`).

| counter | unit | attributes |
| --- | --- | --- |
| `negawatt.energy`, `negawatt.energy.low`, `negawatt.energy.high` | J | window, boundary, kind |
| `negawatt.boundary.energy`, `.low`, `.high` | J | window, boundary, kind |
| `negawatt.cpu.time`, `negawatt.wall.time` | s | window, boundary, kind |
| `negawatt.windows` | `{window}` | window |

The attributes are `negawatt.window`, `negawatt.boundary` and `negawatt.kind`. Boundaries may lie
inside one another, so `negawatt.boundary.energy` must not be added up over them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Measured


class OpenTelemetry:
    """Adds each window to counters; the provider exports them as it is set up to.

    Args:
        provider: A `MeterProvider`; the global one when None. Where none has been set up,
            OpenTelemetry keeps nothing.
    """

    def __init__(self, *, provider: Any = None) -> None:
        self._provider = provider
        library: Any = import_module("opentelemetry.metrics")
        meter = library.get_meter("negawatt", meter_provider=provider)
        self._counters = {
            name: meter.create_counter(f"negawatt.{name}", unit=unit, description=description)
            for name, unit, description in (
                ("energy", "J", "Energy of windows, everything known."),
                ("energy.low", "J", "Lower end of the interval of the energy."),
                ("energy.high", "J", "Upper end of the interval of the energy."),
                ("boundary.energy", "J", "Measured energy of one boundary; they may overlap."),
                ("boundary.energy.low", "J", "Lower end of the interval of it."),
                ("boundary.energy.high", "J", "Upper end of the interval of it."),
                ("cpu.time", "s", "User and system CPU time of windows."),
                ("wall.time", "s", "Time from start to end of windows."),
                ("windows", "{window}", "Windows that have closed."),
            )
        }

    def record(self, window: Measured, *, step: int | None = None) -> None:
        """Add the figures of a closed window."""
        self._joules("energy", window, window.energy)
        for energy in window.energies.values():
            self._joules("boundary.energy", window, energy)
        self._add("cpu.time", window, window.cpu_seconds, window.cpu_seconds.value)
        self._add("wall.time", window, window.wall_seconds, window.wall_seconds.value)
        self._counters["windows"].add(1, {"negawatt.window": window.name})

    def close(self) -> None:
        """Hand over what the provider holds back; it stays its owner's to shut down."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush()

    def _joules(self, name: str, window: Measured, energy: Estimate) -> None:
        self._add(name, window, energy, energy.value)
        self._add(f"{name}.low", window, energy, energy.low)
        self._add(f"{name}.high", window, energy, energy.high)

    def _add(self, name: str, window: Measured, estimate: Estimate, value: float) -> None:
        about = {
            "negawatt.window": window.name,
            "negawatt.boundary": estimate.boundary,
            "negawatt.kind": str(estimate.kind),
        }
        self._counters[name].add(value, about)
