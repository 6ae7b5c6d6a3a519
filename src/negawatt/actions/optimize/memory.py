"""What the job may hold in memory, and what it did hold."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

#: Bound on what the model adds to the libraries' own memory, as a multiple of its bf16 weights.
BOUND = 2.5

_LARGE = 4 * 2**20  # bytes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


def resident() -> int:
    """Memory this process holds now, shared and mapped pages included. [B]"""
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """Most memory this process has held since it began or since `forget_peak`. [B]"""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024  # the kernel says kB and means KiB
    except (OSError, StopIteration):
        return resident()


def forget_peak() -> None:
    """Let the peak start again from what is held now, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def frugal() -> None:
    """Let every large block of memory go back to the system as soon as it is freed.

    glibc keeps freed blocks of up to 32 MB for later once it has seen such
    sizes; in a job whose matrices come in many sizes that doubles what it holds.
    """
    if sys.platform == "linux":
        tune: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
        if tune is not None:  # glibc only
            tune(_M_MMAP_THRESHOLD, _LARGE)
            tune(_M_TRIM_THRESHOLD, _LARGE)
            tune(_M_ARENA_MAX, 2)


def release() -> None:
    """Drop what is no longer referred to, and give freed pages back to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc only
            trim(0)
