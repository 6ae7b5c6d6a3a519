"""Prometheus: counters of joules and seconds that a server pulls (package `prometheus-client`).

| counter | labels |
| --- | --- |
| `negawatt_energy_joules_total`, `..._low_joules_total`, `..._high_joules_total` | window, boundary, kind |
| `negawatt_boundary_energy_joules_total` and its low and high | window, boundary, kind |
| `negawatt_cpu_seconds_total`, `negawatt_wall_seconds_total` | window, boundary, kind |
| `negawatt_windows_total` | window |

`negawatt_energy` is everything known, once. `negawatt_boundary_energy` is each counter that could
be read: boundaries may lie inside one another, so they must not be added up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Measured, Stretch

#: Name of a counter to what it says of itself; in the order they are shown.
_COUNTERS = {
    "negawatt_energy_joules": "Energy of windows, everything known.",
    "negawatt_energy_low_joules": "Lower end of the interval of the energy.",
    "negawatt_energy_high_joules": "Upper end of the interval of the energy.",
    "negawatt_boundary_energy_joules": "Measured energy of one boundary; they may overlap.",
    "negawatt_boundary_energy_low_joules": "Lower end of the interval of a boundary's energy.",
    "negawatt_boundary_energy_high_joules": "Upper end of the interval of a boundary's energy.",
    "negawatt_cpu_seconds": "User and system CPU time of windows.",
    "negawatt_wall_seconds": "Time from start to end of windows.",
    "negawatt_windows": "Windows that have closed.",
}
_LABELS = ("window", "boundary", "kind")

#: Totals by counter and label values.
Totals = dict[tuple[str, tuple[str, ...]], float]


def _joules(counter: str, energy: Estimate) -> Iterator[tuple[str, Estimate, float]]:
    yield f"negawatt_{counter}_joules", energy, energy.value
    yield f"negawatt_{counter}_low_joules", energy, energy.low
    yield f"negawatt_{counter}_high_joules", energy, energy.high


def _add(totals: Totals, window: Measured) -> None:
    """Add the figures of a window to totals."""
    cpu, wall = window.cpu_seconds, window.wall_seconds
    parts = [*_joules("energy", window.energy)]
    for energy in window.energies.values():
        parts += _joules("boundary_energy", energy)
    parts.append(("negawatt_cpu_seconds", cpu, cpu.value))
    parts.append(("negawatt_wall_seconds", wall, wall.value))
    for counter, estimate, value in parts:
        key = counter, (window.name, estimate.boundary, str(estimate.kind))
        totals[key] = totals.get(key, 0.0) + value


class Prometheus:
    """Adds up windows, and shows them when they are asked for. No port is open unless one is given.

    Args:
        port: To answer on; without one the counters appear wherever `registry` is shown.
        address: To answer on; this machine alone unless told otherwise.
        registry: Of `prometheus_client`; its default one when None.

    Raises:
        UsageError: the registry holds counters of these names, or the port is taken.
    """

    def __init__(
        self, *, port: int | None = None, address: str = "127.0.0.1", registry: Any = None
    ) -> None:
        self._library: Any = import_module("prometheus_client")
        self._registry = registry or self._library.REGISTRY
        self._families: Any = import_module("prometheus_client.core").CounterMetricFamily
        self._totals: Totals = {}
        self._followed: list[Stretch] = []
        self._lock = threading.Lock()  # windows close in one thread, a scrape comes in another
        self._server: Any = None
        self._thread: Any = None
        try:
            self._registry.register(self)
        except ValueError as error:
            raise UsageError(
                f"this registry shows the energy of windows already: {error}",
                fix="make one prometheus tracker and use it everywhere, or give another registry",
            ) from error
        if port is not None:
            self._listen(port, address)

    @property
    def port(self) -> int | None:
        """Where it answers, or None. [TCP port]"""
        return None if self._server is None else int(self._server.server_port)

    def record(self, window: Measured, *, step: int | None = None) -> None:
        """Add a closed window; one that is followed is counted already."""
        with self._lock:
            if id(window) not in map(id, self._followed):
                _add(self._totals, window)
                key = "negawatt_windows", (window.name,)
                self._totals[key] = self._totals.get(key, 0.0) + 1

    def follow(self, window: Stretch) -> None:
        """Show an open window too, read anew for each scrape."""
        with self._lock:
            self._followed.append(window)

    def describe(self) -> list[Any]:
        """The counters there will be; what Prometheus's client asks a collector."""
        return [self._family(name) for name in _COUNTERS]

    def collect(self) -> list[Any]:
        """The counters now; what Prometheus's client asks a collector."""
        with self._lock:
            totals, followed = dict(self._totals), list(self._followed)
        for window in followed:
            _add(totals, window.result)
        families = {name: self._family(name) for name in _COUNTERS}
        for (name, labels), value in totals.items():
            families[name].add_metric(labels, value)
        return list(families.values())

    def close(self) -> None:
        """Leave the registry and close the port."""
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.unregister(self)
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            self._thread.join()

    def _family(self, name: str) -> Any:
        labels = _LABELS[:1] if name == "negawatt_windows" else _LABELS
        return self._families(name, _COUNTERS[name], labels=labels)

    def _listen(self, port: int, address: str) -> None:
        try:
            self._server, self._thread = self._library.start_http_server(
                port, address, registry=self._registry
            )
        except OSError as error:
            self.close()
            raise UsageError(
                f"port {port} on {address} cannot be opened: {error}",
                fix="give another port; 0 takes one that is free",
            ) from error
