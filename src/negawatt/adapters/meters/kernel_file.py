"""Files of the kernel that hold one figure, read at the least cost."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

_MOST_BYTES = 4096  # the kernel gives no more than a page at once
_FIGURE_BYTES = 128  # a buffer that fits costs less than a page, and a figure is shorter


def read_text(path: Path) -> str:
    """The text of a small file. Buffers for text cost more than the read itself: there are none.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, _MOST_BYTES).decode()
    finally:
        os.close(fd)


class KeptOpen:
    """Reads files as `read_text` does, and opens each but once.

    For what is read ten times a second: then a file costs as much to open as all the rest of a
    sample. The kernel works the figure out anew at each read from the start, whoever else holds the
    file open, so threads and forked processes do not disturb one another. Not for files that speak
    of the process that opened them, nor for files of a disk, which outlive their removal.
    """

    def __init__(self) -> None:
        # by identity, which is cheaper than a hash of the path; the path is kept, so it is unique
        self._open: dict[int, tuple[Path, int]] = {}
        weakref.finalize(self, _close_all, self._open)

    def __call__(self, path: Path) -> str:
        """The text of a small file.

        Raises:
            OSError: it cannot be read, nor opened anew.
            UnicodeDecodeError: it is no text.
        """
        known = self._open.get(id(path))
        if known is None:
            fd = os.open(path, os.O_RDONLY)
            known = self._open.setdefault(id(path), (path, fd))
            if known[1] != fd:  # another thread was quicker
                os.close(fd)
        fd = known[1]
        try:
            text = os.pread(fd, _FIGURE_BYTES, 0)
            if text:
                return text.decode()
        except OSError:  # the device is gone or sleeps, or its driver was loaded anew
            pass
        anew = os.open(path, os.O_RDONLY)
        try:
            os.dup2(anew, fd, inheritable=False)  # no thread can meet a closed one
        finally:
            os.close(anew)
        return os.pread(fd, _FIGURE_BYTES, 0).decode()


def _close_all(files: dict[int, tuple[Path, int]]) -> None:
    while files:
        os.close(files.popitem()[1][1])
