"""Pages of a mapped file: gone from memory, and there again when they are looked at."""

import mmap
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mapped_memory import resident

from negawatt.adapters.runtimes.pages import release, released_during

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")

SIZE = 64 * mmap.PAGESIZE


@pytest.fixture(params=["weights.bin", "a folder with spaces/wei ghts", "line\nbreak", "émoji-⚡"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Random bytes under names that a list of mappings may write in another way."""
    path = tmp_path / request.param
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    return path


def mapped(file: Path, **how: int) -> Iterator[mmap.mmap]:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0, **how) as mapping:
        yield mapping


@pytest.fixture
def reading(file: Path) -> Iterator[mmap.mmap]:
    yield from mapped(file, prot=mmap.PROT_READ)


def test_pages_go_and_come_back_with_the_same_content(file: Path, reading: mmap.mmap) -> None:
    assert reading[:] == file.read_bytes()
    assert resident(file) == SIZE
    assert release(file) == SIZE
    assert resident(file) == 0
    reading[0]
    assert 0 < resident(file) <= SIZE
    assert reading[:] == file.read_bytes()


def test_pages_go_while_they_are_being_read(file: Path, reading: mmap.mmap) -> None:
    with released_during(file, every=0.001):
        assert reading[:] == file.read_bytes()
        until = time.monotonic() + 10
        while resident(file):
            assert time.monotonic() < until
            time.sleep(0.001)
        assert reading[:] == file.read_bytes()
    assert resident(file) == 0
    assert "negawatt-pages" not in {thread.name for thread in threading.enumerate()}


def test_every_mapping_of_the_file_is_let_go_of_by_whatever_name(
    file: Path, reading: mmap.mmap, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    for second in mapped(link, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE):
        assert second[:] == reading[:]
        assert release(link) == 2 * SIZE
        assert resident(file) == 0


def test_what_may_have_been_written_is_left_alone(file: Path) -> None:
    private = mmap.MAP_PRIVATE
    for mapping in mapped(file, flags=private, prot=mmap.PROT_READ | mmap.PROT_WRITE):
        mapping[:5] = b"mine!"
        assert release(file) == 0
        assert mapping[:5] == b"mine!"


def test_other_files_are_left_alone(file: Path, reading: mmap.mmap) -> None:
    reading[:]
    beside = file.with_name(file.name + "2")
    for name in (beside, Path(str(file)[:-1]), Path("/nowhere")):
        assert release(name) == 0
    assert resident(file) == SIZE


def test_a_system_that_lists_no_mappings_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(SIZE))
    for mapping in mapped(path, prot=mmap.PROT_READ):
        mapping[:]
        assert release(path, maps=tmp_path / "nothing") == 0
        monkeypatch.setattr(sys, "platform", "darwin")
        assert release(path) == 0
        monkeypatch.undo()
        assert resident(path) == SIZE
