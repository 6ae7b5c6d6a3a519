from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from negawatt.adapters.meters.kernel_file import KeptOpen, read_text


def open_files() -> set[str]:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list open files in /proc")
    return {str(fd.readlink()) for fd in folder.iterdir() if fd.is_symlink()}


def test_both_readers_give_what_the_file_says_now(tmp_path: Path) -> None:
    file, kept = tmp_path / "energy_uj", KeptOpen()
    for text in ("1\n", "22\n", "3\n"):
        file.write_text(text)
        assert kept(file) == read_text(file) == text


def test_a_file_is_opened_once_and_closed_with_its_reader(tmp_path: Path) -> None:
    file, kept = tmp_path / "power1_input", KeptOpen()
    file.write_text("5\n")
    kept(file)
    assert str(file) in open_files()
    fds = dict(kept._open)
    assert kept(file) == "5\n"
    assert kept._open == fds
    del kept
    gc.collect()
    assert str(file) not in open_files()


def test_a_file_that_fails_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, kept = tmp_path / "power1_input", KeptOpen()
    file.write_text("5\n")
    kept(file)
    old, real = kept._open[id(file)][1], os.pread

    def gone(fd: int, count: int, offset: int) -> bytes:
        if fd == old and not reopened:
            reopened.append(fd)
            raise OSError(19, "No such device")
        return real(fd, count, offset)

    reopened: list[int] = []
    monkeypatch.setattr(os, "pread", gone)
    file.write_text("6\n")
    assert kept(file) == "6\n"
    assert reopened == [old]


def test_a_file_that_was_removed_or_put_anew_is_not_read_from_memory(tmp_path: Path) -> None:
    file, kept = tmp_path / "power1_input", KeptOpen()
    file.write_text("5\n")
    kept(file)
    file.write_text("")  # the kernel gives nothing more to who holds it open
    file.unlink()
    with pytest.raises(FileNotFoundError):
        kept(file)
    file.write_text("6\n")
    assert kept(file) == "6\n"


def test_a_file_that_is_not_there_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    kept = KeptOpen()
    for read in (kept, read_text):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "gone")
    assert kept._open == {}


def test_a_file_that_can_be_opened_but_not_read_is_an_error_each_time(tmp_path: Path) -> None:
    kept = KeptOpen()
    for _ in range(3):
        with pytest.raises(IsADirectoryError):
            kept(tmp_path)
    assert len(kept._open) == 1


def test_threads_that_meet_at_the_first_read_share_one_file(tmp_path: Path) -> None:
    file, kept = tmp_path / "power1_input", KeptOpen()
    file.write_text("5\n")
    barrier, seen = threading.Barrier(8), []

    def read() -> None:
        barrier.wait()
        seen.extend(kept(file) for _ in range(50))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {"5\n"}
    opened = [fd for fd in Path("/proc/self/fd").iterdir() if _leads_to(fd, file)]
    assert len(opened) == 1


def _leads_to(fd: Path, file: Path) -> bool:
    try:
        return fd.readlink() == file
    except OSError:
        return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_another_place_in_the_file_does_not_matter(tmp_path: Path) -> None:
    file, kept = tmp_path / "power1_input", KeptOpen()
    file.write_text("5\n")
    kept(file)
    os.lseek(
        kept._open[id(file)][1], 1, os.SEEK_SET
    )  # as another process with the same open file may
    assert kept(file) == "5\n"
