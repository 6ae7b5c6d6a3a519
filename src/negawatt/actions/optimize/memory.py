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


def release() -> None:
    """Drop what is no longer referred to, and give freed pages back to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc only
            trim(0)
