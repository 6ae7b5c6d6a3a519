"""Processes that are told apart even when their numbers come again."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil


def stopped(pid: int) -> bool:
    """True for a process that SIGSTOP holds."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def tell(pid: int, number: int) -> None:
    """Send a signal to the group that a process leads, and to what it started outside of it."""
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(pid).children(recursive=True)
        for child in below:
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(child.pid) != pid:
                    child.send_signal(number)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def wake_to(pid: int, number: int) -> None:
    """Send a signal to something that may be stopped, so that it gets it."""
    tell(pid, number)
    tell(pid, signal.SIGCONT)


def cpu_below(pid: int) -> float:
    """CPU time so far of what a process started, ended children that were waited for included. [s]"""
    try:
        process = psutil.Process(pid)
        own = process.cpu_times()
        total = own.children_user + own.children_system
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                times = child.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    except (psutil.Error, AttributeError):
        return 0.0
    return float(total)
