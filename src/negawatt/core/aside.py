"""Standard output kept for what was asked for, whatever a library in C writes there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

_OUT, _ERROR = 1, 2  # file descriptors


@contextlib.contextmanager
def stdout_aside() -> Iterator[None]:
    """Send to standard error what is written to standard output meanwhile.

    Python's `sys.stdout` is not enough: solvers and engines write from C, straight to the
    descriptor. It counts for the whole process, so what other threads print goes there too; nothing
    is lost. Where one of the two is closed, everything stays as it is.

    >>> with stdout_aside():
    ...     _ = os.write(2, b"")  # os.write(1, ...) would come out here as well
    """
    _flush()
    try:
        kept = os.dup(_OUT)
    except OSError:  # closed: nobody reads there
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(_ERROR, _OUT)
        yield
    finally:
        _flush()
        os.dup2(kept, _OUT)
        os.close(kept)


def _flush() -> None:
    """Write out what Python and C hold back, so that it goes where it was meant to go."""
    for stream in (sys.stdout, sys.__stdout__):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # closed already
                stream.flush()
    with contextlib.suppress(OSError, TypeError, AttributeError):  # no C library to ask
        ctypes.CDLL(None).fflush(None)
