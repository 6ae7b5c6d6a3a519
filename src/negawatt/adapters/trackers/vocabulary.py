"""The names under which every tracker shows the same figures.

| figure | what it is |
| --- | --- |
| `energy_J`, `energy_low_J`, `energy_high_J` | everything known, and its interval |
| `energy_kind` | 0 measured, 1 modelled, 2 assumed |
| `energy_package_0_J`, ... | the same four for each boundary that has a counter of its own |
| `cpu_s`, `wall_s` | CPU time and time from start to end |

What is unknown has no name here: it is absent, never zero.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Measured


def figures(window: Measured) -> dict[str, Estimate]:
    """The estimates of a window under their names, without units."""
    boundaries = {
        f"energy_{plain(key).replace('/', '_')}": value for key, value in window.energies.items()
    }
    return {
        "energy": window.energy,
        **boundaries,
        "cpu": window.cpu_seconds,
        "wall": window.wall_seconds,
    }


def flat(estimates: Mapping[str, Estimate], prefix: str = "") -> dict[str, float]:
    """Estimates as plain numbers, each with its unit in its name.

    Clocks are exact beside what they are used for; energies come with interval and kind.

    >>> from negawatt.core.estimate import Kind
    >>> spent = Estimate(value=3, low=2, high=5, unit="J", kind=Kind.MODELLED, source="band")
    >>> flat({"energy": spent})
    {'energy_J': 3, 'energy_low_J': 2, 'energy_high_J': 5, 'energy_kind': 1}
    """
    plainly: dict[str, float] = {}
    for name, estimate in estimates.items():
        key, unit = prefix + name, estimate.unit
        plainly[f"{key}_{unit}"] = estimate.value
        if unit == "J":
            plainly[f"{key}_low_{unit}"] = estimate.low
            plainly[f"{key}_high_{unit}"] = estimate.high
            plainly[f"{key}_kind"] = estimate.kind.weakness
    return plainly


def words(window: Measured) -> dict[str, str]:
    """Where the energy of a window came from, for trackers that keep text."""
    energy = window.energy
    return {
        "energy_kind": str(energy.kind),
        "energy_source": energy.source,
        "energy_boundary": energy.boundary,
    }


def plain(name: str) -> str:
    """A name that every tracker takes.

    >>> plain("package:0/die:1"), plain("epoch 3")
    ('package_0/die_1', 'epoch_3')
    """
    return re.sub(r"[^A-Za-z0-9_./-]", "_", name)


class Series:
    """Counts the windows of each name, so that each has its place on the axis of a chart.

    Args:
        prefix: Stands before the name of the window.
    """

    def __init__(self, prefix: str = "negawatt") -> None:
        self._prefix = prefix
        self._next: dict[str, int] = {}
        self._lock = threading.Lock()  # windows may close in several threads

    def group(self, window: Measured) -> str:
        """What stands before the figures of a window."""
        return "/".join(part for part in (self._prefix, plain(window.name)) if part)

    def step(self, window: Measured, given: int | None) -> int:
        """The step given, or the one after the last of this name; the first is 0."""
        with self._lock:
            step = self._next.get(window.name, 0) if given is None else given
            self._next[window.name] = step + 1
        return step

    def point(self, window: Measured) -> dict[str, float]:
        """The figures of a window under their full names."""
        return flat(figures(window), f"{self.group(window)}/")
