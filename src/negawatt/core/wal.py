"""Write-ahead logging in SQLite, switched on by several processes at once."""

from __future__ import annotations

import sqlite3
import time


def use_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    """Switch a file to write-ahead logging, and wait for others that do so.

    SQLite's own busy timeout does not cover this switch: two processes that make a file at the same
    moment would have one of them fail at once.

    Args:
        connection: Outside a transaction.
        patience_s: How long the others are waited for. [s]

    Raises:
        sqlite3.OperationalError: they took longer, or the file cannot be written.

    >>> use_wal(sqlite3.connect(":memory:"), patience_s=1.0)
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
