"""A gate that opens when other processes leave the CPUs alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

BUSY = 0.1  # share of all CPUs that others may use
_LOOK_S = 1.0
_STAT = Path("/proc/stat")
_IDLE, _WAITING = 3, 4  # fields of its first line


def times(text: str) -> tuple[int, int]:
    """Time not idle, and all time, of all CPUs. [ticks]

    >>> times("cpu  10 0 5 80 5 0 0 0 0 0\\ncpu0 1 2 3 4 5")
    (15, 100)
    """
    # The last two fields, guests', are in the first two as well.
    fields = [int(field) for field in text.splitlines()[0].split()[1:9]]
    return sum(fields) - fields[_IDLE] - fields[_WAITING], sum(fields)


def busy(seconds: float = _LOOK_S) -> float:
    """Share of all CPUs in use while this process sleeps; nothing known is nothing seen. [1]"""
    if not _STAT.exists():
        return float("nan")
    before = times(_STAT.read_text(encoding="ascii"))
    time.sleep(seconds)
    after = times(_STAT.read_text(encoding="ascii"))
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def wait(
    patience_s: float,
    look: Callable[[], float] = busy,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until it is quiet, but not for ever; returns the share that others used at the end.

    Above `BUSY` the row has to say so.
    """
    until = clock() + patience_s
    share = look()
    while share > BUSY and clock() < until:
        share = look()
    return share
