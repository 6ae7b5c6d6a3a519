"""Windows over made-up counters and clocks, for whatever shows their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules
from negawatt.meters import Instruments, Window


@dataclass
class Counter:
    """A counter of one boundary that a test turns by hand, and can break."""

    boundary: str
    joules: float = 1000.0
    broken: bool = False

    @property
    def name(self) -> str:
        return f"hand:{self.boundary}"

    def energy(self) -> Joules:
        if self.broken:
            raise MeterUnavailable(f"{self.name} is gone", fix="plug it in")
        return Joules(self.joules)


@dataclass
class World:
    """Clocks and counters that stand still until `work` is done."""

    package: Counter = field(default_factory=lambda: Counter("package:0"))
    gpu: Counter = field(default_factory=lambda: Counter("gpu:0"))
    wall_s: float = 0.0
    cpu_s: float = 0.0
    seen: list[Window] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.wall_s

    def cpu(self) -> float:
        return self.cpu_s

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def work(self, joules: float) -> None:
        """A second in which the package draws `joules`, the GPU twice that, the CPU half a second."""
        self.wall_s += 1.0
        self.cpu_s += 0.5
        self.package.joules += joules
        self.gpu.joules += 2 * joules

    def measure(self, name: str, then: Callable[[Window], object] | None = None) -> Window:
        """A window that is not open yet, kept in `seen` when it closes."""

        def closed(window: Window) -> None:
            self.seen.append(window)
            if then is not None:
                then(window)

        tools = Instruments(meters=(self.package, self.gpu), clock=self, children=lambda: 0.0)
        return Window(name, instruments=tools, then=closed)

    def spend(self, name: str, joules: float, then: Callable[[Window], object]) -> Window:
        """A closed window in which some work was done."""
        with self.measure(name, then) as window:
            self.work(joules)
        return window
