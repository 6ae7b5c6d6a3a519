"""Memory on large pages: what was filled is moved, what was not is not taken."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from pathlib import Path

import psutil
import pytest

from negawatt.adapters.runtimes.large_pages import Allocated, holds, on_large_pages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its pages")

SYSTEM = Path("/sys/kernel/mm/transparent_hugepage")
MB = 1 << 20


def given() -> bool:
    """Whether the system gives large pages at once to those who ask."""
    try:
        enabled = (SYSTEM / "enabled").read_text(encoding="ascii")
        large = int((SYSTEM / "hpage_pmd_size").read_text(encoding="ascii"))
    except OSError:
        return False
    release = tuple(map(int, Path("/proc/sys/kernel/osrelease").read_text().split(".")[:2]))
    return "[never]" not in enabled and large <= 2 * MB and release >= (6, 1)


def one_node() -> bool:
    """Whether all memory is of one node."""
    try:
        return Path("/sys/devices/system/node/online").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return False


needs_them = pytest.mark.skipif(not given(), reason="this system gives no large pages at once")


def figures(block: mmap.mmap) -> dict[str, int]:
    """What the kernel tells of the mapping that a block lies in. [kB]"""
    inside = ctypes.addressof(ctypes.c_char.from_buffer(block))
    found: dict[str, int] = {}
    mine = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").split("\n"):
        words = line.split()
        if words and "-" in words[0] and not words[0].endswith(":"):
            start, end = (int(part, 16) for part in words[0].split("-"))
            mine = start <= inside < end
        elif mine and len(words) == 3:
            found[words[0][:-1]] = found.get(words[0][:-1], 0) + int(words[1])
    return found


def taken(count: int) -> mmap.mmap:
    """So many bytes, none of them in memory, and kept from large pages until asked for."""
    block = mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # A system set to "always" would lay it large from the first touch on.
    block.madvise(mmap.MADV_NOHUGEPAGE)
    return block


@needs_them
def test_what_a_block_fills_comes_to_lie_on_large_pages() -> None:
    filling = bytes(range(256)) * (16 * MB // 256)
    with on_large_pages():
        block = taken(16 * MB)
        block[:] = filling
        assert figures(block)["AnonHugePages"] == 0
    assert figures(block)["AnonHugePages"] >= 14 * 1024  # its edges need not lie on one
    assert block[:] == filling


@needs_them
def test_what_was_there_before_stays_where_it_is() -> None:
    block = taken(8 * MB)
    block[:] = b"x" * (8 * MB)
    with on_large_pages():
        pass
    assert figures(block)["AnonHugePages"] == 0


@needs_them
def test_memory_that_is_not_filled_is_not_taken() -> None:
    with on_large_pages():
        block = taken(16 * MB)
        for at in range(0, 16 * MB, MB):
            block[at] = 1  # a page in 256
    assert figures(block)["Rss"] <= 128


@needs_them
def test_what_is_filled_later_comes_on_large_pages_where_that_is_asked_for() -> None:
    with on_large_pages(later=True):
        block = taken(16 * MB)
    assert figures(block)["Rss"] == 0
    block[:] = bytes(range(256)) * (16 * MB // 256)
    assert figures(block)["AnonHugePages"] >= 14 * 1024


@needs_them
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the system call has another number")
@pytest.mark.skipif(not one_node(), reason="memory here is of several nodes, or of none")
def test_what_an_engine_bound_piece_by_piece_is_joined() -> None:
    bind, here = ctypes.CDLL(None).syscall, ctypes.c_ulong(1)
    bind.argtypes = [ctypes.c_long] * 4 + [ctypes.c_void_p] + [ctypes.c_long] * 2
    new = Allocated()
    block = taken(16 * MB)
    first = ctypes.addressof(ctypes.c_char.from_buffer(block))
    block[:] = b"x" * (16 * MB)
    for at in range(0, 16 * MB, MB):  # half of every megabyte, as OpenVINO does with weights
        assert bind(237, first + at, MB // 2, 2, ctypes.addressof(here), 64, 0) == 0
    new.move()
    assert figures(block)["AnonHugePages"] >= 14 * 1024


@pytest.mark.parametrize("told", [None, "two megabytes"])
def test_a_system_without_large_pages_loses_nothing(tmp_path: Path, told: str | None) -> None:
    size = tmp_path / "size"
    if told:
        size.write_text(told, encoding="ascii")
    new = Allocated(size)
    block = taken(8 * MB)
    block[:] = b"x" * (8 * MB)
    new.move()
    assert figures(block)["AnonHugePages"] == 0


def test_an_error_in_the_block_is_passed_on() -> None:
    with pytest.raises(KeyError, match="weights"), on_large_pages():
        raise KeyError("weights")


def test_a_copy_is_made_where_half_of_what_is_free_holds_it(tmp_path: Path) -> None:
    free = psutil.virtual_memory().available
    assert holds(free // 4, tmp_path)
    assert not holds(free, tmp_path)


def test_a_container_has_no_more_than_its_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{64 * MB}\n", encoding="ascii")
    (tmp_path / "memory.current").write_text(f"{24 * MB}\n", encoding="ascii")
    assert holds(20 * MB, tmp_path)
    assert not holds(20 * MB + 1, tmp_path)
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert holds(20 * MB + 1, tmp_path)
