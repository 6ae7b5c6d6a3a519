"""Time as a thing that can be handed in, so tests and replays own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Three clocks: monotonic seconds, CPU seconds of this process, and the calendar."""

    def monotonic(self) -> float:
        """Seconds from an unknown start that never run backwards. [s]"""

    def cpu(self) -> float:
        """User and system CPU time of this process, all threads. [s]"""

    def now(self) -> datetime:
        """The calendar, aware, in UTC."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start. [s]"""
        return time.perf_counter()

    def cpu(self) -> float:
        """CPU seconds of this process. [s]"""
        return time.process_time()

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)
