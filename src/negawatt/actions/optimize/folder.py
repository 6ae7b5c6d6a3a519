"""The output folder: one job at a time, enough room, nothing half-written that looks whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from negawatt.core.errors import OutputError


@contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """Make `out`, hold it for this process, and yield its work folder.

    The lock is the system's own, so it dies with the process, however that ends.

    Raises:
        OutputError: another job holds it, or it cannot be written.
    """
    work = out / "work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        holder = work / "holder.txt"
        lock = FileLock(work / "lock", timeout=0)
        with lock:
            holder.write_text(str(os.getpid()), encoding="utf-8")
            yield work
    except Timeout as error:
        pid = _first_line(work / "holder.txt")
        raise OutputError(
            f"{out} is in use by another negawatt job (process {pid})",
            fix="wait for it, stop it, or choose another folder with --out",
        ) from error
    except OSError as error:
        told = _told(error, out)
        if told is None:
            raise
        raise told from error


def _told(error: OSError, out: Path) -> OutputError | None:
    """What an error of the system means for the folder; None when it is about something else."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return OutputError(
            f"{out} cannot grow any further: {error.strerror}",
            fix="free some space or choose another disk with --out, then run the same command",
        )
    forbidden = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
    place = out if error.filename is None else Path(str(error.filename))
    ours = place.is_relative_to(out) or out.is_relative_to(place)
    if error.errno in forbidden and ours:
        return OutputError(
            f"{out} cannot be written: {error.strerror}",
            fix="choose a folder you may write to with --out",
        )
    return None


def need_space(folder: Path, size: int) -> None:
    """Raise `OutputError` when the disk under `folder` has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(
            f"{folder} has {free / 1e9:.1f} GB free; the job needs about {size / 1e9:.1f} GB",
            fix="free some space or choose another disk with --out",
        )


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"
