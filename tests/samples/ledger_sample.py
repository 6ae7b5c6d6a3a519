"""Ledgers for tests, and people who tamper with their files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from negawatt.core.stores import Row
from negawatt.ledger import Ledger, Origin, open_ledger

START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppingClock:
    """A calendar that moves one hour at each look."""

    def __init__(self, hours: int = 0) -> None:
        self.hours = hours - 1

    def monotonic(self) -> float:
        return 0.0

    def cpu(self) -> float:
        return 0.0

    def now(self) -> datetime:
        self.hours += 1
        return START + timedelta(hours=self.hours)


def opened(place: Path | str, *, host: str = "loom", machine: str = "m1", hours: int = 0) -> Ledger:
    """A ledger that knows neither this machine nor its calendar."""
    origin = Origin("ada", host, {"negawatt": "0"}, machine)
    return open_ledger(place, clock=SteppingClock(hours), origin=origin)


def filled(path: Path, count: int, *, host: str = "loom", machine: str = "m1") -> Path:
    """A ledger file with some entries of two kinds."""
    with opened(path, host=host, machine=machine) as ledger:
        for n in range(count):
            kind = "optimize" if n % 3 == 2 else "measure"
            ledger.append(kind, {"name": f"run {n} on {host}", "n": n})
    return path


def rows_of(path: Path) -> list[Row]:
    """What is in the file, whether or not it verifies."""
    connection = sqlite3.connect(path)
    columns = ", ".join(Row._fields)
    rows = connection.execute(f"SELECT {columns} FROM entries ORDER BY sequence")  # noqa: S608
    found = [Row._make(row) for row in rows]
    connection.close()
    return found


def rewrite(
    path: Path, rows: Iterable[Row], *, head: bool = False, checkpoints: bool = True
) -> None:
    """Put other rows into the file, as somebody can who knows SQLite and removes the guards.

    Args:
        path: The ledger.
        rows: What its entries shall be.
        head: Make the record of the end fit too.
        checkpoints: Leave the checkpoints that are kept beside them.
    """
    connection = sqlite3.connect(path)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    kept = guards.fetchall()
    for name, _ in kept:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM entries")
    rows = list(rows)
    marks = ", ".join("?" * len(Row._fields))
    connection.executemany(
        f"INSERT INTO entries ({', '.join(Row._fields)}) VALUES ({marks})",  # noqa: S608
        rows,
    )
    if head and rows:
        connection.execute(
            "UPDATE head SET sequence = ?, hash = ?", (rows[-1].sequence, rows[-1].hash)
        )
    if not checkpoints:
        connection.execute("DELETE FROM checkpoints")
    for _, sql in kept:
        connection.execute(sql)
    connection.commit()
    connection.close()
