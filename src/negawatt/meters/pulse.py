"""A heartbeat for meters that must be read more often than windows open and close."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from weakref import WeakValueDictionary

from negawatt.core.protocols import PowerMeter

#: How long a thread that reads a meter outlives the last window, at most. Windows that follow one
#: another sooner share it: a thread costs more to start than all the rest of a window. [s]
LINGER_S = 0.5


def period_of(meter: PowerMeter) -> float | None:
    """How often a meter asks to be read; None when whenever is fine. [s]"""
    period: float | None = getattr(meter, "poll_every_s", None)
    return period


class Pulse:
    """Reads each meter as often as it asks, from a thread, while a window is open.

    Windows are counted, those with other pulses too: one thread reads a meter for all of them. It
    is started for the first, and ends when it finds that the last has been closed.

    Args:
        meters: What to read; those that do not ask for it are left out.
    """

    def __init__(self, meters: Iterable[PowerMeter]) -> None:
        periods = [(meter, period_of(meter)) for meter in meters]
        self._beats = tuple(
            _shared(meter, period) for meter, period in periods if period is not None
        )

    def start(self) -> None:
        """A window opened; does nothing when no meter asks for it."""
        for beat in self._beats:
            beat.start()

    def stop(self) -> None:
        """A window closed; waits for a read that is under way."""
        for beat in self._beats:
            beat.stop()


class _Beat:
    """One meter and the thread that reads it."""

    def __init__(self, meter: PowerMeter, period_s: float) -> None:
        self._meter = meter
        # an integrated gauge need not work out a figure for nobody
        self._sample: Callable[[], object] = getattr(meter, "sample", meter.energy)
        self._period_s = period_s
        self._begin_anew()

    def _begin_anew(self) -> None:
        """As in a new process: a fork takes no thread along, and may leave a lock locked."""
        self._lock = threading.Lock()  # held while the meter is read
        self._windows = 0
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def start(self) -> None:
        if self._pid != os.getpid():
            self._begin_anew()
        with self._lock:
            self._windows += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="negawatt-meter", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._windows -= 1

    def _run(self) -> None:
        period_s = self._period_s
        rest_s = min(period_s, LINGER_S)
        due = time.monotonic() + period_s
        while True:
            # plain sleep: to wait on a lock or an event, so as to end sooner, adds a fifth to the
            # CPU time of a whole sample
            time.sleep(rest_s)
            with self._lock:
                if not self._windows:
                    self._thread = None
                    return
                now = time.monotonic()
                if now >= due:
                    due, rest_s = now + period_s, min(period_s, LINGER_S)
                    try:
                        self._sample()
                    except Exception:  # noqa: BLE001, S112  # an adapter may come from anyone
                        # a sample that fails leaves a gap, which the meter flags; a counter that
                        # fails says so again when the window closes
                        continue
                else:
                    rest_s = min(due - now, LINGER_S)


@cache
def _beating() -> WeakValueDictionary[tuple[int, float], _Beat]:
    """The heartbeats that a window or a thread holds, by the identity of the meter."""
    return WeakValueDictionary()


def _shared(meter: PowerMeter, period_s: float) -> _Beat:
    key = (id(meter), period_s)  # nobody else's while a beat holds the meter
    return _beating().get(key) or _beating().setdefault(key, _Beat(meter, period_s))
