"""Signals that a loop hears between its turns, instead of being ended by them."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_PASSED_ON = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")

#: Those that end a program which does not say otherwise.
ENDING = frozenset(getattr(signal, name) for name in _PASSED_ON[:4] if hasattr(signal, name))


class Signals:
    """Signals that came while we slept; one that comes ends the sleep."""

    def __init__(self) -> None:
        self.ended = 0
        self._ears, self._mouth = socket.socketpair()
        for end in (self._ears, self._mouth):
            end.setblocking(False)  # noqa: FBT003  # its only parameter

    def wait(self, seconds: float) -> list[int]:
        """Sleep so long, or until a signal comes; which came."""
        ready, _, _ = select.select([self._ears], [], [], seconds)
        return list(self._ears.recv(64)) if ready else []

    @property
    def mouth(self) -> socket.socket:
        """Where the interpreter writes the number of a signal."""
        return self._mouth

    def close(self) -> None:
        """Let go of both ends."""
        self._ears.close()
        self._mouth.close()


@contextmanager
def heard_signals() -> Iterator[Signals]:
    """Hear signals instead of being ended by them."""
    heard = Signals()
    numbers = [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]
    # what we were started to ignore (nohup, a background job), the command ignores too
    mine = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    try:
        before = signal.set_wakeup_fd(heard.mouth.fileno())
    except ValueError:  # not in the main thread: nobody sends us any
        try:
            yield heard
        finally:
            heard.close()
        return
    handlers = [(number, signal.signal(number, lambda *_: None)) for number in mine]
    try:
        yield heard
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        heard.close()
