"""Give back the memory of a mapped file that has been read and is not needed for now."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def release(file: Path, maps: Path = _MAPS) -> int:
    """Let go of this process's pages of every read-only mapping of `file`.

    Nothing is lost: a page that is touched again comes back from the file.
    Mappings that may be written are left alone, for their pages may be newer
    than the file. Where the system lists no mappings, nothing happens.

    Args:
        file: What is mapped.
        maps: Where this process's mappings are listed.

    Returns:
        Size of the mappings let go of, whether their pages were present or not. [B]
    """
    # Other systems know the same advice, with meanings of their own.
    if sys.platform != "linux" or not maps.is_file():
        return 0
    try:
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):  # a Python that is not linked to a C library
        return 0
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return sum(
        end - start
        for start, end in _read_only(file, maps)
        if advise(start, end - start, mmap.MADV_DONTNEED) == 0  # refused for locked pages
    )


@contextmanager
def released_during(file: Path, every: float = 0.05) -> Iterator[None]:
    """Let go of a file's pages again and again while a block reads it once from end to end.

    The block then never holds more of the file than it reads between two turns.

    Args:
        file: What is mapped.
        every: Time between two turns. [s]
    """
    done = threading.Event()

    def keep_releasing() -> None:
        while not done.wait(every):
            release(file)

    helper = threading.Thread(target=keep_releasing, name="negawatt-pages", daemon=True)
    helper.start()
    try:
        yield
    finally:
        done.set()
        helper.join()
        release(file)


def _read_only(file: Path, maps: Path) -> Iterator[tuple[int, int]]:
    """First address of each read-only mapping of `file`, and the one behind its last."""
    name = os.path.realpath(file).replace("\n", "\\012")  # as the kernel writes it
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        # START-END PERMISSIONS OFFSET DEVICE INODE NAME, the name with its spaces
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == name and "w" not in fields[1]:
            start, end = fields[0].split("-")
            yield int(start, 16), int(end, 16)
