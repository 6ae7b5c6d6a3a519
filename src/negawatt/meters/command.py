"""Run a command inside a window: its children are followed, its signals and status passed on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType

import psutil

from negawatt.core.errors import UsageError
from negawatt.meters.instruments import Instruments, local
from negawatt.meters.span import Scope, Span
from negawatt.meters.window import Window

_FORWARDED = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_FROM_TERMINAL = frozenset({"SIGINT", "SIGQUIT"})  # sent to the whole foreground group
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class CommandNotFound(UsageError):
    """There is no such command; shells say 127."""

    exit_status = 127


class CommandNotExecutable(UsageError):
    """The file is there, but is not a program this user may run; shells say 126."""

    exit_status = 126


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended, and what it took.

    Args:
        span: Wall time, CPU time of the command and everything it started, energy.
        status: Its exit status; 128 + the number of the signal that ended it.
        started_at: When it was started, in UTC.
        left_running: Processes it started and left behind; counted up to now.
    """

    span: Span
    status: int
    started_at: datetime
    left_running: int


def run(
    arguments: Sequence[str], *, name: str | None = None, instruments: Instruments | None = None
) -> Finished:
    """Run a command to its end, with our standard streams, and measure it.

    Args:
        arguments: The program and its arguments; no shell is involved.
        name: What to call it; the program's name when None.
        instruments: What to read; everything found on this machine when None.

    Raises:
        CommandNotFound: there is no such program.
        CommandNotExecutable: it cannot be run.
    """
    read = instruments or local()
    window = Window(
        name or os.path.basename(arguments[0]),  # noqa: PTH119  # a name, not a place
        instruments=read,
        scope=Scope.CHILDREN,
    )
    before = {child.pid for child in psutil.Process().children()}
    with _orphans_come_to_us():
        with window:
            status = _run(arguments)
        ended_s = -read.children()
        stragglers = _stragglers(before)
        ended_s += read.children()
    span = window.result
    return Finished(
        span=replace(span, cpu_s=span.cpu_s + ended_s + sum(map(_cpu_of, stragglers))),
        status=status,
        started_at=window.started_at,
        left_running=len(stragglers),
    )


def _run(arguments: Sequence[str]) -> int:
    with _signals_forwarded() as started:
        try:
            child = subprocess.Popen(list(arguments))  # noqa: S603  # running it is the point
        except FileNotFoundError as error:
            raise CommandNotFound(
                f"there is no command {arguments[0]!r}", fix="check its spelling and your PATH"
            ) from error
        except OSError as error:
            raise CommandNotExecutable(
                f"{arguments[0]!r} cannot be run: {error.strerror}",
                fix="check that it is a program and that you may execute it (chmod +x)",
            ) from error
        started(child)
        status = child.wait()
    return 128 - status if status < 0 else status


class _Forwarder:
    """Passes signals on to a child, and those that come before there is one, once there is."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def __call__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        for number in self._early:
            child.send_signal(number)

    def forward(self, number: int, _: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        elif signal.Signals(number).name not in _FROM_TERMINAL or not _in_foreground():
            self._child.send_signal(number)


def _in_foreground() -> bool:
    """True when a terminal sends its keys' signals to us and to the child alike."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno()) == os.getpgrp()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # no terminal, no stdin, no process groups
        return False


@contextlib.contextmanager
def _signals_forwarded() -> Iterator[_Forwarder]:
    forwarder = _Forwarder()
    if threading.current_thread() is not threading.main_thread():
        yield forwarder  # only the main thread is handed signals
        return
    known = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    # what we were started to ignore (nohup, a background job), the command shall ignore too
    numbers = [number for number in known if signal.getsignal(number) != signal.SIG_IGN]
    previous = [(number, signal.signal(number, forwarder.forward)) for number in numbers]
    try:
        yield forwarder
    finally:
        for number, handler in previous:
            signal.signal(number, handler)


@contextlib.contextmanager
def _orphans_come_to_us() -> Iterator[None]:
    """Let processes whose parent has ended become our children, so that they can be counted.

    Linux only; elsewhere a command's orphans are lost to its account.
    """
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError, TypeError):
        yield
        return
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _stragglers(before: set[int]) -> list[psutil.Process]:
    """What the command left running; what has ended is waited for, so that its time counts."""
    running = []
    for child in psutil.Process().children(recursive=True):
        if child.pid in before:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                running.append(child)
                continue
        with contextlib.suppress(ChildProcessError):  # a zombie of somebody else's
            os.waitpid(child.pid, os.WNOHANG)
    return running


def _cpu_of(process: psutil.Process) -> float:
    """CPU time so far of a process and the children it waited for. [s]"""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it has just ended, and its parent's account has it
    return float(
        times.user
        + times.system
        + getattr(times, "children_user", 0.0)
        + getattr(times, "children_system", 0.0)
    )
