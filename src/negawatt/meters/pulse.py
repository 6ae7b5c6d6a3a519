"""A heartbeat for meters that must be read more often than windows open and close."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable

from negawatt.core.errors import MeterUnavailable
from negawatt.core.protocols import PowerMeter


def period_of(meter: PowerMeter) -> float | None:
    """How often a meter asks to be read; None when whenever is fine. [s]"""
    period: float | None = getattr(meter, "poll_every_s", None)
    return period


class Pulse:
    """Reads each meter as often as it asks, from a thread, until stopped."""

    def __init__(self, meters: Iterable[PowerMeter]) -> None:
        periods = [(meter, period_of(meter)) for meter in meters]
        self._beats = [(meter, period) for meter, period in periods if period is not None]
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, args=beat, name="negawatt-meter", daemon=True)
            for beat in self._beats
        ]

    def start(self) -> None:
        """Begin; does nothing when no meter asks for it."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for a read that is under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _beat(self, meter: PowerMeter, period: float) -> None:
        while not self._stopped.wait(period):
            # a sample that fails leaves a gap, which the meter flags; a counter that fails
            # says so again when the window closes
            with contextlib.suppress(MeterUnavailable):
                meter.energy()
