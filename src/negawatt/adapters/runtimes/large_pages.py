"""Lay an engine's weights on large pages, so that writing a token waits less for memory.

A written token reads every weight once. In pages of 4 KiB the processor looks up where each
lies, and twice over in a virtual machine; in pages of 2 MiB that is hardly ever asked.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

_MAPS = Path("/proc/self/maps")
_PRESENT = Path("/proc/self/pagemap")  # 8 bytes for each page, the highest bit: it is in memory
_SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
_GROUP = Path("/sys/fs/cgroup")
_NODES = Path("/sys/devices/system/node/online")
_MBIND = {"x86_64": 237, "aarch64": 235}  # number of the system call by kind of machine
_DEFAULT = 0  # MPOL_DEFAULT: memory of whichever node the thread runs on
_COLLAPSE = 25  # MADV_COLLAPSE of Linux 6.1, which Python's mmap does not name

Span = tuple[int, int]  # first address, and the one behind the last
_NONE: Span = (sys.maxsize, sys.maxsize)


class Allocated:
    """What this process has allocated since, to be moved to large pages once it is filled.

    Where the system has no large pages, gives none, or is none of Linux, nothing happens; Linux
    before 6.1 may move memory some time later.

    Args:
        size: Where the system tells the size of a large page.
    """

    def __init__(self, size: Path = _SIZE) -> None:
        self._step = _size_of(size)
        self._before = _anonymous() if self._step else []

    def move(self, *, later: bool = False) -> None:
        """Move what is in memory whole, so that none is taken beyond it; values stay as they are.

        Args:
            later: What has not been filled yet shall be given large pages when it is. Each then
                comes whole, however little is written to it.
        """
        if not self._step:
            return
        for span in _apart(_anonymous(), self._before):
            _unbind(span)
        for span in _apart(_anonymous(), self._before):  # which are fewer and longer now
            _enlarge(span, self._step, later=later)


@contextmanager
def on_large_pages(*, later: bool = False) -> Iterator[None]:
    """Move to large pages what a block allocates and fills; see `Allocated`.

    >>> with on_large_pages():
    ...     weights = bytearray(1 << 22)
    """
    new = Allocated()
    yield
    new.move(later=later)


def holds(size: int, group: Path = _GROUP) -> bool:
    """Whether memory has room for a copy of `size` bytes and leaves half of what is free.

    Args:
        size: Of the copy. [B]
        group: Where Linux tells the limit of the container, if there is one.
    """
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            int((group / name).read_text(encoding="ascii"))
            for name in ("memory.max", "memory.current")
        )
        free = min(free, limit - used)
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return 2 * size <= free


def _size_of(file: Path) -> int:
    """Size of a large page, or 0 where there is none. [B]"""
    if sys.platform != "linux" or not _MAPS.is_file():
        return 0
    try:
        ctypes.CDLL(None).madvise  # noqa: B018  # a Python that is not linked to a C library
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError, AttributeError):
        return 0


def _anonymous() -> list[Span]:
    """This process's own memory: may be written, belongs to no file, and has no special use."""
    found = []
    for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        fields = line.split(maxsplit=5)  # START-END PERMISSIONS OFFSET DEVICE INODE [NAME]
        if len(fields) == 5 and fields[1] == "rw-p" and fields[4] == "0":
            start, end = fields[0].split("-")
            found.append((int(start, 16), int(end, 16)))
    return found


def _apart(spans: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """What `spans` cover and `others` do not; both in order, and each apart from one another.

    Thousands of both are usual, so each is passed once.

    >>> list(_apart([(0, 9), (20, 25)], [(2, 4), (8, 21)]))
    [(0, 2), (4, 8), (21, 25)]
    """
    left = iter(others)
    first, behind = next(left, _NONE)
    for start, end in spans:
        at = start
        while first < end:
            if behind > at:
                if first > at:
                    yield at, first
                at = behind
            if behind > end:
                break  # it may cover some of the next span too
            first, behind = next(left, _NONE)
        if at < end:
            yield at, end


def _unbind(span: Span) -> None:
    """Take back what an engine has asked for about nodes of memory, where there is but one.

    OpenVINO binds every weight to a node. Neighbours that are bound and not bound are never
    joined, and no large page lies across two of them.
    """
    try:
        if _NODES.read_text(encoding="ascii").strip() != "0":
            return
    except OSError:
        return
    if call := _MBIND.get(platform.machine()):
        ask = ctypes.CDLL(None).syscall
        ask.argtypes = [ctypes.c_long] * 7
        ask(call, span[0], span[1] - span[0], _DEFAULT, 0, 0, 0)


def _enlarge(span: Span, step: int, *, later: bool) -> None:
    """Move the stretches of a span that are wholly in memory; a refusal changes nothing."""
    start, end = -(-span[0] // step) * step, span[1] // step * step
    if start >= end:
        return
    advise = ctypes.CDLL(None, use_errno=True).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if later:
        advise(start, end - start, mmap.MADV_HUGEPAGE)
    whole = _whole(start, end, step)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]]).astype(np.int8)))
    for first, behind in edges.reshape(-1, 2).tolist():
        address, length = start + first * step, (behind - first) * step
        if advise(address, length, mmap.MADV_HUGEPAGE) == 0:
            advise(address, length, _COLLAPSE)


def _whole(start: int, end: int, step: int) -> NDArray[np.bool_]:
    """Of each large page between two addresses: whether all its small ones are in memory."""
    try:
        with _PRESENT.open("rb") as table:
            table.seek(start // mmap.PAGESIZE * 8)
            entries = np.frombuffer(table.read((end - start) // mmap.PAGESIZE * 8), np.uint64)
    except OSError:  # a system that keeps the table to itself
        return np.zeros((end - start) // step, np.bool_)
    if entries.size * mmap.PAGESIZE != end - start:  # the memory was given back meanwhile
        return np.zeros((end - start) // step, np.bool_)
    present = (entries >> np.uint64(63)).astype(np.bool_)
    return np.asarray(present.reshape(-1, step // mmap.PAGESIZE).all(axis=1), np.bool_)
