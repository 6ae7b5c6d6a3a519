"""The ledger file: SQLite, append-only, hash-chained, safe with many writers and crashes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.errors import LedgerError
from negawatt.ledger.entry import GENESIS, Entry, Head, Origin, canonical, digest, stamp
from negawatt.ledger.faults import explained
from negawatt.ledger.migrate import migrate, schema_of, steps

BUSY_S = 30.0  # how long a writer waits for the others [s]

_COLUMNS = "sequence, time, kind, who, host, body, versions, previous, hash"


def open_ledger(
    path: Path, *, readonly: bool = False, clock: Clock | None = None, origin: Origin | None = None
) -> Ledger:
    """Open a ledger, making it and its folder first unless `readonly`.

    Args:
        path: The file.
        readonly: Change nothing on disk; `append` is then refused.
        clock: Tells when an entry is written; the machine's by default.
        origin: Who writes; the current user, machine and versions by default.

    Raises:
        LedgerError: the file is missing (`readonly`), is no ledger, is newer
            than this version, is damaged, or cannot be opened.
    """
    if readonly and not path.is_file():
        raise LedgerError(
            f"there is no ledger at {path}",
            fix="measure something first (`negawatt measure -- CMD`), or name the file",
        )
    with explained(path, "open"):
        connection = _connect_to_read(path) if readonly else _connect_to_write(path)
    return Ledger(path, connection, clock or SystemClock(), origin)


class Ledger:
    """An open ledger. Use it in a `with` block, from the thread that opened it."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, clock: Clock, origin: Origin | None
    ) -> None:
        self.path = path
        self._connection = connection
        self._clock = clock
        self._origin = origin

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Write one entry at the end and return it; when this returns it is on disk.

        Args:
            kind: What happened: "measure", "optimize".
            body: Records, mappings, lists, texts and finite numbers.

        Raises:
            LedgerError: the body is not JSON, the disk is full or read-only,
                or the end of the chain is not where it should be.
        """
        text = canonical(body)
        self._origin = self._origin or Origin.here()
        with explained(self.path, "append to"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                entry = self._insert(kind, text, self._origin)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have rolled back already
                    self._connection.execute("ROLLBACK")
                raise
        return entry

    def entries(self, kind: str | None = None, since: datetime | None = None) -> Iterator[Entry]:
        """Entries in order, one at a time.

        Args:
            kind: Only this kind.
            since: Only entries written at or after this aware time.
        """
        query = f"SELECT {_COLUMNS} FROM entries"  # noqa: S608 - a constant of this module
        bounds = [("kind = ?", kind), ("time >= ?", stamp(since) if since else None)]
        wanted = [(text, value) for text, value in bounds if value is not None]
        if wanted:
            query += " WHERE " + " AND ".join(text for text, _ in wanted)
        for row in self._rows(f"{query} ORDER BY sequence", [value for _, value in wanted]):
            yield self._entry(row)

    def head(self) -> Head:
        """Where the chain ends. Note it elsewhere to prove later that nothing moved."""
        row = next(self._rows("SELECT sequence, hash FROM head", []), None)
        if row is None:
            raise self._broken("the record of where the chain ends is missing", 0)
        return Head(*row)

    def verify(self, expect: Head | None = None) -> Head:
        """Follow the whole chain and return its end.

        Finds any entry edited, removed, added or reordered. Somebody who
        rewrites every later entry and the head can forge a chain: to catch
        that, keep a `Head` elsewhere and hand it in as `expect`.

        Raises:
            LedgerError: naming the first entry that is wrong, and how.
        """
        with explained(self.path, "read"):
            self._connection.execute("BEGIN")  # one moment of the file, whoever else writes
            try:
                self._check_pages()
                return self._follow(expect)
            finally:
                self._connection.execute("ROLLBACK")

    def _follow(self, expect: Head | None) -> Head:
        last = Head(0, GENESIS)
        seen = expect is None or expect == last
        for row in self._rows(f"SELECT {_COLUMNS} FROM entries ORDER BY sequence", []):  # noqa: S608
            self._check_link(row, last)
            last = Head(row[0], row[8])
            seen = seen or last == expect
        if (head := self.head()) != last:
            raise self._broken(
                f"entry {last.sequence + 1} is missing: {last.sequence} entries are here,"
                f" and {head.sequence} were written",
                last.sequence,
            )
        if not seen and expect is not None:
            raise self._broken(
                f"entry {expect.sequence} is not the one noted as {expect.hash[:12]}…:"
                " the chain was written anew",
                0,
            )
        return last

    def close(self) -> None:
        """Close the file; calling twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _insert(self, kind: str, body: str, origin: Origin) -> Entry:
        head = self.head()
        last = self._connection.execute(
            "SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1"
        ).fetchone() or (0, GENESIS)
        if head != Head(*last):
            raise self._broken(
                f"the chain ends at entry {last[0]}, but {head.sequence} were written", last[0]
            )
        fields = (
            head.sequence + 1, stamp(self._clock.now()), kind, origin.who, origin.host, body,
            canonical(origin.versions), head.hash,
        )  # fmt: skip
        row = (*fields, digest(fields))
        self._connection.execute(
            f"INSERT INTO entries ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608
            row,
        )
        self._connection.execute("UPDATE head SET sequence = ?, hash = ?", (row[0], row[8]))
        return self._entry(row)

    def _entry(self, row: Any) -> Entry:
        sequence, when, kind, who, host, body, versions, previous, own = row
        try:
            moment = datetime.fromisoformat(when)
            return Entry(
                sequence, moment, kind, who, host, json.loads(body), json.loads(versions),
                previous, own,
            )  # fmt: skip
        except ValueError as error:
            raise self._broken(
                f"entry {sequence} cannot be read ({error})", sequence - 1
            ) from error

    def _rows(self, query: str, values: list[str | None]) -> Iterator[Any]:
        with explained(self.path, "read"), closing(self._connection.execute(query, values)) as rows:
            yield from rows

    def _check_pages(self) -> None:
        report = [row[0] for row in self._rows("PRAGMA quick_check(1)", [])]
        if report != ["ok"]:
            raise self._broken(f"the file is damaged ({report[0]})", 0)

    def _check_link(self, row: Any, last: Head) -> None:
        sequence, when, kind = row[0], row[1], row[2]
        if sequence != last.sequence + 1:
            raise self._broken(f"entry {last.sequence + 1} is missing", last.sequence)
        if digest(row[:8]) != row[8]:
            raise self._broken(
                f"entry {sequence} ({kind}, {when}) was changed after it was written", last.sequence
            )
        if row[7] != last.hash:
            raise self._broken(
                f"entry {sequence} ({kind}, {when}) does not follow entry {last.sequence}:"
                " one of them was replaced or moved",
                max(last.sequence - 1, 0),
            )

    def _broken(self, fact: str, good: int) -> LedgerError:
        trust = f"entries 1 to {good} still verify; " if good else ""
        return LedgerError(
            f"the ledger {self.path} does not verify: {fact}",
            fix=f"{trust}restore the file from a backup, or move it aside and begin a new one",
        )


def _connect_to_write(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(path, "mode=rwc")
    try:
        scripts = steps()
        schema_of(connection, path, latest=len(scripts))  # before a byte of it is touched
        _use_wal(connection)
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
        _refuse_old(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_old(connection: sqlite3.Connection, path: Path) -> None:
    """A reader changes nothing, so it cannot bring an older schema up to date."""
    known = len(steps())
    schema = schema_of(connection, path, latest=known)
    if schema < known:
        raise LedgerError(
            f"{path} is {f'of schema {schema}, older than {known}' if schema else 'empty'}",
            fix="measure something with this version first: that brings the file up to date",
        )


def _has_wal(path: Path) -> bool:
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


def _connect(path: Path, parameters: str) -> sqlite3.Connection:
    # isolation_level None: transactions begin where this file says so, nowhere else.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}", uri=True, timeout=BUSY_S, isolation_level=None
    )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite's busy timeout does not cover this switch."""
    deadline = time.monotonic() + BUSY_S
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
