"""Numbered steps that bring a ledger file to the schema of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from negawatt.core.errors import LedgerError

APPLICATION_ID = 0x6E676C67  # "nglg", in the header of every ledger file

#: One statement sees one moment: another process may be making the file a ledger right now.
_STATE = """
SELECT (SELECT application_id FROM pragma_application_id),
       (SELECT user_version FROM pragma_user_version),
       (SELECT count(*) FROM sqlite_master)
"""


def steps() -> Sequence[str]:
    """The SQL of each migration, in order of its number; step N makes schema N.

    >>> len(steps()) >= 1
    True
    """
    folder = files("negawatt.ledger") / "migrations"
    scripts = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=str)
    return [script.read_text(encoding="utf-8") for script in scripts]


def schema_of(connection: sqlite3.Connection, path: Path, *, latest: int) -> int:
    """The schema number of a file, 0 when it is new.

    Raises:
        LedgerError: it is a database of something else, or of a newer negawatt.
    """
    owner, schema, tables = (int(n) for n in connection.execute(_STATE).fetchone())
    if owner != APPLICATION_ID and (owner or schema or tables):
        raise LedgerError(
            f"{path} is a database, but not a ledger", fix="name a ledger, or a file yet to be made"
        )
    if schema > latest:
        raise LedgerError(
            f"{path} has schema {schema}, and this version knows schemas up to {latest}",
            fix="pip install --upgrade negawatt",
        )
    return schema


def migrate(connection: sqlite3.Connection, path: Path, scripts: Sequence[str]) -> None:
    """Apply the steps a file has not seen, all or none.

    Several processes may arrive at once: the first does the work, the
    others find it done.
    """
    if schema_of(connection, path, latest=len(scripts)) == len(scripts):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = schema_of(connection, path, latest=len(scripts))
        for script in scripts[done:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script where SQLite says a statement ends (a trigger holds semicolons)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
