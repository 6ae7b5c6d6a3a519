"""Named, nested windows over work: wall time, CPU time, energy of every boundary.

>>> with measure("train") as m:
...     with measure("load"):
...         rows = list(range(1000))
>>> m.parts["load"].cpu_seconds.unit
's'
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import ParamSpec, Self, TypeVar

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import PowerMeter
from negawatt.meters.instruments import Instruments, Snapshot, local
from negawatt.meters.pulse import Pulse
from negawatt.meters.span import Reading, Scope, Span

P = ParamSpec("P")
R = TypeVar("R")

#: Suspended for longer than this, counters may have begun anew. [s]
_NAP_S = 0.1
#: More than this at once, and on top of it more than this power, is no device. [J], [W]
_SURGE_J, _SURGE_W = 1000.0, 20_000.0

#: The innermost open window of this thread or task; a window finds its parent here.
_open: ContextVar[Window | None] = ContextVar("negawatt_open_window", default=None)


class Window:
    """A stretch of work being measured.

    Use it in `with` or `async with`, as a decorator, or start and stop it.

    Until it is closed, its figures are those so far. It counts the whole process: work that
    other threads do meanwhile is in it.

    Args:
        name: What to call the work.
        instruments: What to read; everything found on this machine when None.
        scope: Whose CPU time to count.
        then: Called with the window when it closes.
    """

    def __init__(
        self,
        name: str,
        *,
        instruments: Instruments | None = None,
        scope: Scope = Scope.ALL,
        then: Callable[[Window], object] | None = None,
    ) -> None:
        self.name = name
        self._instruments = instruments
        self._scope = scope
        self._then = then
        self._parent: Window | None = None
        self._pulse: Pulse | None = None
        self._parts: dict[str, Span] = {}
        self._pid = 0
        self._started_at: datetime | None = None
        self._start: Snapshot | None = None
        self._span: Span | None = None

    def start(self) -> Self:
        """Open the window.

        Raises:
            UsageError: it was opened before.
        """
        if self._start is not None:
            raise UsageError(
                f"window {self.name!r} was opened before; a window measures one stretch",
                fix="make a new one with measure(...) for each stretch",
            )
        # found before the clock is read, so that finding them is not measured
        instruments = self._instruments = self._instruments or local()
        self._pid = os.getpid()
        self._parent = _innermost_open()
        _open.set(self)
        self._pulse = instruments.pulse
        self._pulse.start()
        self._started_at = instruments.clock.now()
        self._start = instruments.snapshot()
        return self

    def stop(self) -> Self:
        """Close the window; closing it again changes nothing.

        Raises:
            UsageError: it was never opened, or was opened in another process.
        """
        if self._span is not None:
            return self
        self._span = self._so_far()
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.stop()
        if _open.get() is self:
            _open.set(_innermost_open())
        if self._parent is not None and not self._parent.closed:
            self._parent.adopt(self._span, self._parts)
        if self._then is not None:
            self._then(self)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if self._pid == os.getpid():  # a child that leaves the block of its parent measures nothing
            self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Measure every call of `function`, each in a window of its own.

        The windows show up in the `parts` of the window around the call, and go to `then`.
        A coroutine is measured until it returns, a generator from its first item to its end.
        """
        from negawatt.meters.wrapped import wrapped

        return wrapped(
            function,
            lambda: Window(
                self.name, instruments=self._instruments, scope=self._scope, then=self._then
            ),
        )

    @property
    def result(self) -> Span:
        """Everything seen, as a value; what was seen so far while the window is open.

        Raises:
            UsageError: it was never opened.
        """
        return self._span or self._so_far()

    @property
    def energy(self) -> Estimate:
        """Measured when counters cover the CPU, else a modelled band. [J]"""
        return self.result.energy

    @property
    def energies(self) -> Mapping[str, Estimate]:
        """Measured energy of each boundary. [J]"""
        return self.result.energies

    @property
    def cpu_seconds(self) -> Estimate:
        """User and system CPU time, all threads and waited-for children. [s]"""
        return self.result.cpu_seconds

    @property
    def wall_seconds(self) -> Estimate:
        """Time from start to end. [s]"""
        return self.result.wall_seconds

    @property
    def boundary(self) -> str:
        """What `energy` includes."""
        return self.result.boundary

    @property
    def parts(self) -> Mapping[str, Span]:
        """Windows that were opened and closed inside this one, added up by name.

        Those inside a part come too, as `part/inner`.
        """
        return MappingProxyType(self._parts)

    @property
    def started_at(self) -> datetime:
        """When it was opened, in UTC.

        Raises:
            UsageError: it was never opened.
        """
        if self._started_at is None:
            raise self._unopened()
        return self._started_at

    @property
    def closed(self) -> bool:
        """True when the window measures no longer."""
        return self._span is not None

    @property
    def open_here(self) -> bool:
        """True when it is open, and was opened by this process and not by one it was forked off."""
        return self._span is None and self._pid == os.getpid()

    @property
    def around(self) -> Window | None:
        """The window that was open where this one was opened."""
        return self._parent

    def adopt(self, part: Span, inner: Mapping[str, Span]) -> None:
        """Count a window that closed inside this one, and those inside it, among the parts."""
        nested = {f"{part.name}/{path}": span for path, span in inner.items()}
        for path, span in {part.name: part, **nested}.items():
            known = self._parts.get(path)
            self._parts[path] = span if known is None else known + span

    def _unopened(self) -> UsageError:
        return UsageError(
            f"window {self.name!r} was never opened", fix="use it in a `with` block, or start() it"
        )

    def _so_far(self) -> Span:
        if self._start is None or self._instruments is None:
            raise self._unopened()
        if os.getpid() != self._pid:
            raise UsageError(
                f"window {self.name!r} was opened in another process, whose clocks are not ours",
                fix="open and close a window in the same process; waited-for children are counted",
            )
        start, now = self._start, self._instruments.snapshot()
        readings, unread, lost = self._compare(start, now)
        own = now.own_cpu - start.own_cpu if self._scope is Scope.ALL else 0.0
        return Span(
            name=self.name,
            wall_s=now.wall - start.wall,
            cpu_s=own + now.children_cpu - start.children_cpu,
            scope=self._scope,
            readings=readings,
            unread=unread,
            lost=lost,
            band=self._instruments.band,
        )

    def _compare(
        self, start: Snapshot, now: Snapshot
    ) -> tuple[tuple[Reading, ...], tuple[str, ...], tuple[str, ...]]:
        """What each meter counted, what could not be read and why, and what that leaves out."""
        readings, unread, lost = [], [], []
        slept, wall_s = now.asleep - start.asleep, now.wall - start.wall
        if slept > _NAP_S:
            unread.append(f"the machine was suspended for {slept:.0f} s, which are in no figure")
        meters = self._instruments.meters if self._instruments is not None else ()
        for meter, before, after in zip(meters, start.counters, now.counters, strict=True):
            if isinstance(before, MeterUnavailable) or isinstance(after, MeterUnavailable):
                failed = before if isinstance(before, MeterUnavailable) else after
                unread.append(f"{meter.name}: {getattr(failed, 'what', failed)}")
                lost.append(meter.boundary)
                continue
            if after.value < before.value:  # it began anew, and a window inside was told
                unread.append(f"{meter.name}: it was reset while the window was open")
                lost.append(meter.boundary)
                continue
            label: str = getattr(meter, "label", "")
            energy, step_j = after - before, getattr(meter, "resolution_j", 0.0)
            if step_j:
                energy = energy.blurred(step_j)
            if slept > _NAP_S:
                energy = energy.doubted(slept)
            if energy.value > _SURGE_J + _SURGE_W * wall_s:
                unread.append(
                    f"{meter.name}: {energy.value:.4g} J in {wall_s:.3g} s is more than any device "
                    f"draws; it may have begun anew"
                )
                energy = energy.doubted(wall_s)
            readings.append(Reading(meter.name, meter.boundary, energy, label))
        return tuple(readings), tuple(unread), tuple(lost)


def _innermost_open() -> Window | None:
    """The window that a new one lies in; windows need not close in the order they opened."""
    window = _open.get()
    while window is not None and not window.open_here:
        window = window.around
    return window


def measure(
    name: str,
    *,
    meters: tuple[PowerMeter, ...] | None = None,
    then: Callable[[Window], object] | None = None,
) -> Window:
    """Measure a stretch of work, in a `with` block or as a decorator.

    Args:
        name: What to call the work.
        meters: Counters to read; every one found on this machine when None.
        then: Called with the window when it closes.

    >>> with measure("sum") as m:
    ...     total = sum(range(1000))
    >>> m.cpu_seconds.kind, m.energy.unit
    (<Kind.MEASURED: 'measured'>, 'J')
    """
    instruments = None if meters is None else Instruments(meters=meters)
    return Window(name, instruments=instruments, then=then)
