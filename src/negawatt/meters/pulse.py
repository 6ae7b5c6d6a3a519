"""A heartbeat for meters that must be read more often than windows open and close."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable

from negawatt.core.errors import MeterUnavailable
from negawatt.core.protocols import PowerMeter

#: How long the threads of a machine's own meters outlive the last window. Windows that follow one
#: another sooner share them: a thread costs more to start than all the rest of a window. [s]
LINGER_S = 0.5


def period_of(meter: PowerMeter) -> float | None:
    """How often a meter asks to be read; None when whenever is fine. [s]"""
    period: float | None = getattr(meter, "poll_every_s", None)
    return period


class Pulse:
    """Reads each meter as often as it asks, from a thread, while a window is open.

    Windows that share it are counted: the first one starts the threads, the last one lets them go.

    Args:
        meters: What to read; those that do not ask for it are left out.
        linger_s: How long threads wait for another window before they end; with 0 they have ended
            when `stop` returns. [s]
    """

    def __init__(self, meters: Iterable[PowerMeter], *, linger_s: float = 0.0) -> None:
        periods = [(meter, period_of(meter)) for meter in meters]
        self._beats = tuple(
            _Beat(meter, period, linger_s) for meter, period in periods if period is not None
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

    def __init__(self, meter: PowerMeter, period_s: float, linger_s: float) -> None:
        # an integrated gauge need not work out a figure for nobody
        self._sample: Callable[[], object] = getattr(meter, "sample", meter.energy)
        self._period_s, self._linger_s = period_s, linger_s
        self._begin_anew()

    def _begin_anew(self) -> None:
        """As in a new process: a fork takes no thread along, and may leave a lock locked."""
        self._lock = threading.Lock()  # held while the meter is read
        self._windows = 0
        self._idle_since = 0.0
        self._thread: threading.Thread | None = None
        self._ended = threading.Lock()  # released to end the thread; an Event costs more to wait on
        self._pid = os.getpid()

    def start(self) -> None:
        if self._pid != os.getpid():
            self._begin_anew()
        with self._lock:
            self._windows += 1
            if self._thread is None or not self._thread.is_alive():
                self._ended = threading.Lock()
                self._ended.acquire()
                self._thread = threading.Thread(
                    target=self._run, args=(self._ended,), name="negawatt-meter", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._windows -= 1
            if self._windows:
                return
            self._idle_since = time.monotonic()
            thread = self._thread
            if self._linger_s or thread is None:
                return
            self._thread = None
            self._ended.release()
        thread.join()

    def _run(self, ended: threading.Lock) -> None:
        me, period_s = threading.current_thread(), self._period_s
        due, left = time.monotonic() + period_s, period_s
        # it looks up at least once in the time it lingers, to see whether windows are still open,
        # and once in a period, so that a window that opens meanwhile is not read too late
        while not ended.acquire(timeout=min(left, self._linger_s) if self._linger_s else left):
            with self._lock:
                if self._thread is not me:
                    return
                now, left = time.monotonic(), period_s
                if not self._windows:
                    if now - self._idle_since >= self._linger_s:
                        self._thread = None
                        return
                elif now < due:
                    left = due - now
                else:
                    due = now + period_s
                    try:
                        self._sample()
                    except MeterUnavailable:
                        # a sample that fails leaves a gap, which the meter flags; a counter that
                        # fails says so again when the window closes
                        continue
