"""Several processes switch one file to write-ahead logging, and each waits for the others."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from negawatt.core.wal import use_wal


def mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        return str(file.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A file with a table, not yet in write-ahead mode."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE a (b)")
    assert mode(path) == "delete"
    return path


def test_another_writer_is_waited_for(busy: Path) -> None:
    held, let_go = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(busy, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            held.set()
            let_go.wait(10)
            other.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    assert held.wait(10)
    threading.Timer(0.2, let_go.set).start()
    with closing(sqlite3.connect(busy, timeout=0)) as file:
        use_wal(file, patience_s=10)
    assert let_go.is_set()
    writer.join()
    assert mode(busy) == "wal"


def test_patience_ends(busy: Path) -> None:
    with (
        closing(sqlite3.connect(busy, isolation_level=None)) as other,
        closing(sqlite3.connect(busy, timeout=0)) as file,
    ):
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_wal(file, patience_s=0.1)
        assert time.monotonic() - begun >= 0.1
    assert mode(busy) == "delete"


def test_what_cannot_be_written_is_refused_at_once(busy: Path) -> None:
    with closing(sqlite3.connect(f"file:{busy}?mode=ro", uri=True)) as file:
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            use_wal(file, patience_s=60)
        assert time.monotonic() - begun < 10
