"""A ledger in one SQLite file: write-ahead log, many writers, safe when one is killed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from negawatt.core.errors import LedgerError
from negawatt.core.stores import Head, Make, Row
from negawatt.core.wal import use_wal
from negawatt.ledger.entry import GENESIS
from negawatt.ledger.faults import broken, explained
from negawatt.ledger.migrate import migrate, schema_of, steps

BUSY_S = 30.0  # how long a writer waits for the others [s]

_COLUMNS = ", ".join(Row._fields)
_FIRST_COLUMNS = ", ".join([*Row._fields[:9], *["NULL"] * 4])  # of schema 1
_MARKS = ", ".join("?" * len(Row._fields))
_INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608 - our own names
_LAST = "SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1"
_KNOWN = "SELECT 1 FROM entries WHERE coalesce(origin_hash, hash) = ?"


class SqliteStore:
    """Rows in a file. Use it from the thread and the process that opened it.

    Args:
        path: The file; made, with its folder, unless `readonly`.
        readonly: Change nothing on disk.

    Raises:
        LedgerError: the file is missing (`readonly`), is no ledger, is newer
            than this version, is damaged, or cannot be opened.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        if readonly and not path.is_file():
            raise LedgerError(
                f"there is no ledger at {path}",
                fix="measure something first (`negawatt measure -- CMD`), or name the file",
            )
        self._path = path
        self._opened_by = os.getpid(), threading.get_ident()
        with explained(path, "open"):
            self._connection = _connect_to_read(path) if readonly else _connect_to_write(path)
            schema = schema_of(self._connection, path, latest=len(steps()))
        self._columns, self._signed = (_COLUMNS, True) if schema > 1 else (_FIRST_COLUMNS, False)

    @property
    def place(self) -> str:
        """The path."""
        return str(self._path)

    def append(self, makes: Iterable[Make]) -> int:
        """Add rows at the end, all or none; see `Store`."""
        self._refuse_others()
        added = 0
        with explained(self._path, "append to"), self._writing():
            head = self._sound_head()
            for make in makes:
                row = make(head)
                if row is None or (row.origin_hash and self._holds(row.id)):
                    continue
                self._connection.execute(_INSERT, row)
                head = Head(row.sequence, row.hash)
                self._connection.execute(
                    "UPDATE head SET sequence = ?, hash = ?", (head.sequence, head.hash)
                )
                added += 1
        return added

    def read(self, kind: str | None = None, since: str | None = None) -> Generator[Row, None, None]:
        """Rows in order; see `Store`."""
        bounds = [("kind = ?", kind), ("time >= ?", since)]
        wanted = [(text, value) for text, value in bounds if value is not None]
        query = f"SELECT {self._columns} FROM entries"  # noqa: S608 - a constant of this module
        if wanted:
            query += " WHERE " + " AND ".join(text for text, _ in wanted)
        yield from map(
            Row._make, self._rows(f"{query} ORDER BY sequence", [value for _, value in wanted])
        )

    def head(self) -> Head:
        """Where the chain ends."""
        row = next(self._rows("SELECT sequence, hash FROM head"), None)
        if row is None:
            raise broken(self.place, "the record of where the chain ends is missing", 0)
        return Head(*row)

    def keep(self, checkpoint: str) -> None:
        """Add the text of a checkpoint."""
        self._refuse_others()
        with explained(self._path, "append to"), self._writing():
            self._connection.execute("INSERT INTO checkpoints (text) VALUES (?)", (checkpoint,))

    def kept(self) -> tuple[str, ...]:
        """The texts of all checkpoints."""
        if not self._signed:
            return ()
        return tuple(text for (text,) in self._rows("SELECT text FROM checkpoints ORDER BY number"))

    @contextmanager
    def moment(self) -> Iterator[None]:
        """One moment of the file, whose pages and indexes are checked first."""
        self._refuse_others()
        with explained(self._path, "read"):
            self._connection.execute("BEGIN")
        try:
            # Not `quick_check`: an index that lacks a row would hide it from a filtered read.
            report = [row[0] for row in self._rows("PRAGMA integrity_check(1)")]
            if report != ["ok"]:
                raise broken(self.place, f"the file is damaged ({report[0]})", 0)
            yield
        finally:
            with suppress(sqlite3.ProgrammingError):  # the ledger was closed meanwhile
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        if (
            os.getpid() == self._opened_by[0]
        ):  # closing a file in a fork drops the locks of its parent
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have rolled back already
                self._connection.execute("ROLLBACK")
            raise

    def _sound_head(self) -> Head:
        """The head, which is the last entry: nothing is added to a chain that was cut."""
        head = self.head()
        last = Head(*(self._connection.execute(_LAST).fetchone() or (0, GENESIS)))
        if head != last:
            fact = f"the chain ends at entry {last.sequence}, but {head.sequence} were written"
            raise broken(self.place, fact, last.sequence)
        return head

    def _holds(self, entry_id: str) -> bool:
        return self._connection.execute(_KNOWN, (entry_id,)).fetchone() is not None

    def _rows(self, query: str, values: Iterable[Any] = ()) -> Iterator[Any]:
        with explained(self._path, "read"):
            cursor = self._connection.execute(query, tuple(values))
            try:
                yield from cursor
            finally:
                with suppress(sqlite3.ProgrammingError):  # the ledger was closed meanwhile
                    cursor.close()

    def _refuse_others(self) -> None:
        process, thread = self._opened_by
        for opened, here, word in (
            (process, os.getpid(), "process, before it forked"),
            (thread, threading.get_ident(), "thread"),
        ):
            if opened != here:
                raise LedgerError(
                    f"the ledger {self._path} was opened in another {word}",
                    fix="open the ledger anew in each process and each thread;"
                    " many may write at once",
                )


def _connect_to_write(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(path, "mode=rwc")
    try:
        scripts = steps()
        schema_of(connection, path, latest=len(scripts))  # before a byte of it is touched
        use_wal(connection, BUSY_S)
        connection.execute("PRAGMA synchronous = FULL")  # a returned append survives a power cut
        migrate(connection, path, scripts)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    try:
        return _connect_checked(path, "mode=ro")
    except sqlite3.OperationalError as error:
        refused = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if error.sqlite_errorcode & 0xFF not in refused or _has_wal(path):
            raise
        # SQLite wants to make its -shm file beside the ledger, and the folder is read-only;
        # with no write-ahead log there is nothing in it to miss.
        return _connect_checked(path, "immutable=1")


def _connect_checked(path: Path, parameters: str) -> sqlite3.Connection:
    connection = _connect(path, parameters)
    try:
        _refuse_empty(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_empty(connection: sqlite3.Connection, path: Path) -> None:
    """A reader changes nothing, so it cannot make a ledger; an older one it reads as it is."""
    if schema_of(connection, path, latest=len(steps())) == 0:
        raise LedgerError(
            f"{path} is empty", fix="measure something first: that makes the file a ledger"
        )


def _has_wal(path: Path) -> bool:
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


def _connect(path: Path, parameters: str) -> sqlite3.Connection:
    # isolation_level None: transactions begin where this file says so, nowhere else.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}", uri=True, timeout=BUSY_S, isolation_level=None
    )
