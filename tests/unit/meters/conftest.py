"""A clock that stands still until told, and a powercap tree that can be filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest


@dataclass
class HandClock:
    wall_s: float = 0.0
    cpu_s: float = 0.0
    children_s: float = 0.0
    date: datetime = field(default=datetime(2026, 1, 1, tzinfo=UTC))

    def monotonic(self) -> float:
        return self.wall_s

    def cpu(self) -> float:
        return self.cpu_s

    def children(self) -> float:
        return self.children_s

    def now(self) -> datetime:
        return self.date + timedelta(seconds=self.wall_s)

    def advance(self, wall: float, cpu: float = 0.0, children: float = 0.0) -> None:
        self.wall_s += wall
        self.cpu_s += cpu
        self.children_s += children


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


AddZone = Callable[..., Path]


@pytest.fixture
def zone(tmp_path: Path) -> AddZone:
    """Adds a powercap zone the way the kernel lays it out, and returns its folder."""

    def add(folder: str, name: str, joules: float, range_j: float = 262143.328850) -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True)
        (place / "name").write_text(f"{name}\n")
        (place / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
        (place / "max_energy_range_uj").write_text(f"{round(range_j * 1e6)}\n")
        (place / "constraint_0_max_power_uw").write_text("125000000\n")
        return place

    (tmp_path / "intel-rapl").mkdir()  # the control type itself is no zone
    return add
