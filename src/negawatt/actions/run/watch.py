"""What running orders take: one window over all that run at a time, shared out among them.

Counters see the machine and not a job. So a window is closed whenever another set of orders runs,
and its energy is shared out by the CPU time that each took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from negawatt.core.estimate import Estimate
from negawatt.meters.instruments import Instruments, local
from negawatt.meters.span import Scope, Span
from negawatt.meters.window import Window

_LONGEST = timedelta(hours=1)  # so that little is lost when the worker is killed


@dataclass(frozen=True, slots=True)
class Seen:
    """A closed window, and each order's part of it.

    Args:
        span: Everything.
        started_at: In real time.
        shares: Order to its part of the energy. [1]
        cpu_s: Order to its CPU time. [s]
    """

    span: Span
    started_at: datetime
    shares: Mapping[int, float]
    cpu_s: Mapping[int, float]

    def energy(self, number: int) -> Estimate:
        """What one order took. [J]"""
        return self.span.energy.scaled(self.shares[number])


def shared(cpu_s: Mapping[int, float]) -> dict[int, float]:
    """Parts by CPU time; alike where there was none.

    >>> shared({1: 3.0, 2: 1.0})
    {1: 0.75, 2: 0.25}
    """
    total = sum(cpu_s.values())
    if total <= 0:
        return dict.fromkeys(cpu_s, 1 / len(cpu_s)) if cpu_s else {}
    return {number: one / total for number, one in cpu_s.items()}


@dataclass(slots=True)
class Watch:
    """The window that is open, and for whom.

    Args:
        instruments: What is read; everything found on this machine when None.
    """

    instruments: Instruments | None = None
    _window: Window | None = field(default=None, init=False)
    _cpu: dict[int, Callable[[], float]] = field(default_factory=dict, init=False)
    _begun: dict[int, float] = field(default_factory=dict, init=False)
    _last: dict[int, float] = field(default_factory=dict, init=False)

    @property
    def watched(self) -> frozenset[int]:
        """Whom the open window is for."""
        return frozenset(self._cpu)

    def due(self, real: datetime) -> bool:
        """True when the open window is long enough to be kept."""
        return self._window is not None and real - self._window.started_at >= _LONGEST

    def open(self, cpu: Mapping[int, tuple[Callable[[], float], float]], name: str) -> None:
        """Watch these orders from now on.

        Args:
            cpu: For each, what tells its CPU time, and how much of that has been counted. [s]
            name: What to call the window.
        """
        if not cpu:
            return
        self._cpu = {number: read for number, (read, _) in cpu.items()}
        self._begun = {number: counted for number, (_, counted) in cpu.items()}
        self._last = {}  # what was taken between the start and now is in the window too
        instruments = replace(self.instruments or local(), children=self._sum)
        self._window = Window(name, instruments=instruments, scope=Scope.CHILDREN).start()

    def close(self) -> Seen | None:
        """End the open window, if there is one."""
        window, self._window = self._window, None
        if window is None:
            return None
        window.stop()
        cpu = {number: max(0.0, self._last[number] - self._begun[number]) for number in self._cpu}
        self._cpu = {}
        return Seen(window.result, window.started_at, shared(cpu), cpu)

    def _sum(self) -> float:
        if not self._last:
            self._last = dict(self._begun)
        else:
            for number, read in self._cpu.items():
                self._last[number] = max(self._last[number], read())
        return sum(self._last.values())


def unwatched(name: str, cpu_s: float, wall_s: float) -> Estimate:
    """What nobody saw, modelled from its CPU time. [J]"""
    return Span(name, wall_s, cpu_s, Scope.CHILDREN).energy


def names(shown: Sequence[str]) -> str:
    """What to call a window over several orders."""
    return " + ".join(shown)
