"""A ledger in a PostgreSQL database, in a schema of its own that is called `negawatt`."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import errors, sql

from negawatt.core.errors import LedgerError
from negawatt.core.stores import Head, Make, Row

PATIENCE_S = 30  # how long a writer waits for the others, and for the server to answer [s]
_LOCK = 0x6E676C67  # "nglg": who makes the tables goes first, the others find them made
_GENESIS = "0" * 64
_PAGE = 1000  # rows fetched at once

_COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in Row._fields)
_INSERT = sql.SQL("INSERT INTO negawatt.entries ({}) VALUES ({})").format(
    _COLUMNS, sql.SQL(", ").join(sql.Placeholder() * len(Row._fields))
)
_READ = sql.SQL("SELECT {} FROM negawatt.entries{} ORDER BY sequence")
_KNOWN = "SELECT 1 FROM negawatt.entries WHERE coalesce(origin_hash, hash) = %s"
_LAST = "SELECT sequence, hash FROM negawatt.entries ORDER BY sequence DESC LIMIT 1"
# Not to_regclass(): that asks a cache, which does not know yet what another has just made.
_MADE = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'negawatt' AND tablename = 'schema'"


class PostgresStore:
    """Rows in a database. Use it in the process that opened it.

    Args:
        address: As libpq takes it: `postgresql://user@host/name`. A password may stand
            in it, and better in `~/.pgpass` or `PGPASSWORD`; it is never shown.
        readonly: Change nothing; a ledger must be there.

    Raises:
        LedgerError: the server cannot be reached, holds no ledger (`readonly`) or one
            of a newer version, or lets nobody write.
    """

    def __init__(self, address: str, *, readonly: bool = False) -> None:
        self._pid = os.getpid()
        self._place = _named(address)
        with self._explained("open"):
            self._connection = psycopg.connect(
                address,
                autocommit=True,
                connect_timeout=PATIENCE_S,
                application_name="negawatt",
            )
        try:
            with self._explained("open"):
                self._prepare(readonly=readonly)
        except BaseException:
            self._connection.close()
            raise

    @property
    def place(self) -> str:
        """The address without its password."""
        return self._place

    def append(self, makes: Iterable[Make]) -> int:
        """Add rows at the end, all or none; see `Store`."""
        added = 0
        with self._explained("append to"), self._connection.transaction():
            head = self._sound_head()
            for make in makes:
                row = make(head)
                if row is None or (row.origin_hash and self._one(_KNOWN, row.id) is not None):
                    continue
                self._connection.execute(_INSERT, row)
                head = Head(row.sequence, row.hash)
                self._connection.execute(
                    "UPDATE negawatt.head SET sequence = %s, hash = %s", (head.sequence, head.hash)
                )
                added += 1
        return added

    def read(self, kind: str | None = None, since: str | None = None) -> Generator[Row, None, None]:
        """Rows in order; see `Store`."""
        bounds = [(sql.SQL("kind = %s"), kind), (sql.SQL("time >= %s"), since)]
        wanted = [(text, value) for text, value in bounds if value is not None]
        where: sql.Composable = sql.SQL("")
        if wanted:
            where = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(text for text, _ in wanted)
        alone = self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._explained("read"):
            # Held by the server, so that a ledger of any length passes through in pages.
            cursor = psycopg.ServerCursor(
                self._connection, f"rows_{os.urandom(6).hex()}", withhold=alone
            )
            cursor.itersize = _PAGE
            try:
                cursor.execute(_READ.format(_COLUMNS, where), [value for _, value in wanted])
                yield from map(Row._make, cursor)
            finally:
                with suppress(psycopg.Error):  # the ledger was closed meanwhile
                    cursor.close()

    def head(self) -> Head:
        """Where the chain ends."""
        with self._explained("read"):
            found = self._one("SELECT sequence, hash FROM negawatt.head")
        if found is None:
            raise self._broken("the record of where the chain ends is missing")
        return Head(*found)

    def keep(self, checkpoint: str) -> None:
        """Add the text of a checkpoint."""
        with self._explained("append to"):
            self._connection.execute(
                "INSERT INTO negawatt.checkpoints (text) VALUES (%s)", (checkpoint,)
            )

    def kept(self) -> tuple[str, ...]:
        """The texts of all checkpoints."""
        with self._explained("read"):
            found = self._connection.execute(
                "SELECT text FROM negawatt.checkpoints ORDER BY number"
            )
            return tuple(text for (text,) in found)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """One snapshot of the database, in which nothing can be written."""
        with self._explained("read"):
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            with suppress(psycopg.Error):  # the server has gone, and said so before
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Leave the server."""
        if os.getpid() == self._pid:  # a fork would close the connection of its parent
            self._connection.close()

    def _prepare(self, *, readonly: bool) -> None:
        connection = self._connection
        connection.execute("SET synchronous_commit = on")  # a returned append survives a power cut
        connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(PATIENCE_S * 1000)))
        scripts = _steps()
        schema = self._schema(len(scripts))
        if readonly:
            if not schema:
                raise LedgerError(
                    f"there is no ledger at {self._place}",
                    fix="measure something first"
                    f" (`negawatt measure --ledger {self._place} -- CMD`), or name the database",
                )
            connection.execute("SET default_transaction_read_only = on")
        elif schema < len(scripts):
            self._migrate(scripts)

    def _schema(self, latest: int) -> int:
        """The number of the schema, 0 where there is none."""
        if self._one(_MADE) is None:
            return 0
        found = self._one("SELECT number FROM negawatt.schema")
        schema = int(found[0]) if found else 0
        if schema > latest:
            raise LedgerError(
                f"{self._place} has schema {schema}, and this version knows schemas up to {latest}",
                fix="pip install --upgrade 'negawatt[postgres]'",
            )
        return schema

    def _migrate(self, scripts: list[str]) -> None:
        connection = self._connection
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            done = self._schema(len(scripts))
            if not done:
                connection.execute("CREATE SCHEMA IF NOT EXISTS negawatt")
                connection.execute("CREATE TABLE negawatt.schema (number integer NOT NULL)")
                connection.execute("INSERT INTO negawatt.schema VALUES (0)")
            for script in scripts[done:]:
                connection.execute(script.encode())
            connection.execute("UPDATE negawatt.schema SET number = %s", (len(scripts),))

    def _sound_head(self) -> Head:
        """The head, which is the last entry; whoever else writes waits until we have."""
        found = self._one("SELECT sequence, hash FROM negawatt.head FOR UPDATE")
        last = Head(*(self._one(_LAST) or (0, _GENESIS)))
        if found is None or Head(*found) != last:
            written = found[0] if found else "an unknown number"
            raise self._broken(
                f"the chain ends at entry {last.sequence}, but {written} were written"
            )
        return last

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return self._connection.execute(query.encode(), values or None).fetchone()

    def _broken(self, fact: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self._place} does not verify: {fact}",
            fix="restore the database from a backup, or begin a ledger in a new one",
        )

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn any error of the server inside the block into a `LedgerError`."""
        if os.getpid() != self._pid:
            raise LedgerError(
                f"the ledger {self._place} was opened in another process, before it forked",
                fix="open the ledger anew in each process; many may write at once",
            )
        try:
            yield
        except psycopg.Error as error:
            fact, fix = _in_words(error)
            raise LedgerError(
                f"cannot {doing} the ledger {self._place}: {fact}", fix=fix
            ) from error


def _steps() -> list[str]:
    """The SQL of each migration, in order of its number; step N makes schema N."""
    folder = files("negawatt.adapters.stores") / "postgres_migrations"
    scripts = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=str)
    return [script.read_text(encoding="utf-8") for script in scripts]


def _named(address: str) -> str:
    """An address that may be shown."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError as error:
        raise LedgerError(
            "the address of the database cannot be read",
            fix="write it as postgresql://user@host:port/name",
        ) from error
    host = str(parts.get("host") or "")
    port = f":{parts['port']}" if parts.get("port") and not host.startswith("/") else ""
    name = parts.get("dbname") or parts.get("user") or ""
    return f"postgresql://{'' if host.startswith('/') else host}{port}/{name}"


def _in_words(error: psycopg.Error) -> tuple[str, str]:
    """The fact and the fix."""
    said = str(error).strip().splitlines()
    first = said[0] if said else type(error).__name__
    if isinstance(error, errors.InsufficientPrivilege):
        return (
            f"this user may not ({first})",
            "GRANT USAGE ON SCHEMA negawatt and SELECT, INSERT and UPDATE on its tables",
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "it is read-only", "open it for writing, or write to the primary server"
    if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
        return (
            "another program has held it for too long",
            "look into pg_stat_activity for what holds negawatt.head, then run again",
        )
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return (
            f"the server has no room ({first})",
            "free some space and run again; every earlier entry is safe",
        )
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return (f"its tables were changed ({first})", "restore the database from a backup")
    if "password" in first:  # before there is a connection the library gives no code
        return (
            f"the server refuses the user or the password ({first})",
            "put the right one into ~/.pgpass or PGPASSWORD, and try it with: psql ADDRESS",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return (
            f"the server does not answer ({first})",
            "check the address, the password and that the server runs: psql ADDRESS",
        )
    return first, "run `negawatt ledger verify`; restore from a backup if it fails"
