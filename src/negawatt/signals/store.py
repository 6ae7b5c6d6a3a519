"""What providers said, kept on disk: the newest of it, or what was known at a moment.

Every value is kept with when it was said and when it was fetched, and a value that is told
again otherwise is kept beside the old one. So the past can be asked for as it is known now, or
as it was known then; and a forecast as it stood at any moment, for back-tests that are honest.

SQLite in write-ahead mode: several processes may read and write one file. A file that is broken
is moved aside and begun anew, because nothing in it is of a kind that cannot be done without.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from negawatt.core.errors import OutputError
from negawatt.core.grid import Accounting, Basis, Flow, Reading, Signal, Status, Topic, utc
from negawatt.core.wal import use_wal

FILE_NAME = "grid.db"
#: Pasts are kept for good, forecasts for so long.
FORECASTS_KEPT = timedelta(days=100)
_PATIENCE_S = 10.0  # while another process writes

_VERSION = 1  # of the tables

_TABLES = """
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, origin TEXT NOT NULL, zone TEXT NOT NULL, topic TEXT NOT NULL,
  unit TEXT NOT NULL, signal TEXT NOT NULL, accounting TEXT NOT NULL, flow TEXT NOT NULL,
  UNIQUE (origin, zone, topic, unit, signal, accounting, flow));
CREATE TABLE IF NOT EXISTS readings (
  series INTEGER NOT NULL REFERENCES series, ahead INTEGER NOT NULL, start REAL NOT NULL,
  known REAL NOT NULL, step REAL NOT NULL, value REAL NOT NULL, status TEXT NOT NULL,
  source TEXT NOT NULL, issued REAL, fetched REAL NOT NULL,
  PRIMARY KEY (series, ahead, start, known)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS issues ON readings (series, ahead, known);
CREATE TABLE IF NOT EXISTS questions (
  origin TEXT NOT NULL, zone TEXT NOT NULL, ahead INTEGER NOT NULL, start REAL NOT NULL,
  end REAL NOT NULL, asked REAL NOT NULL, whole INTEGER NOT NULL,
  PRIMARY KEY (origin, zone, ahead, start, end, asked, whole));
"""
_READ = """
SELECT r.start, r.step, r.value, r.status, r.source, r.issued,
       s.topic, s.unit, s.signal, s.accounting, s.flow
FROM readings r JOIN series s ON s.id = r.series
WHERE s.origin = ? AND s.zone = ? AND r.ahead = ? AND r.start < ? AND r.start > ?
  AND r.start + r.step > ?
"""
_LONGEST_STEP = timedelta(days=1)
_NEWEST = """
 AND r.known = (SELECT max(o.known) FROM readings o WHERE o.series = r.series
   AND o.ahead = r.ahead AND o.start = r.start AND o.known <= ?)
ORDER BY r.start
"""


class Question(NamedTuple):
    """A time that a provider was asked for, and when; `whole` when it told all of it."""

    start: datetime
    end: datetime
    asked: datetime
    whole: bool


class Store:
    """The file of readings.

    Args:
        folder: Where it lies; made when it is not there.
        clock: Tells now, aware.

    Raises:
        OutputError: the folder cannot be written to.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.path = folder / FILE_NAME
        self.clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._prepare()
            self._forget(clock() - FORECASTS_KEPT)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"the cache of grid signals {self.path} cannot be written: {error}",
                fix="name another folder with NEGAWATT_CACHE",
            ) from error

    def keep(self, origin: str, readings: Sequence[Reading]) -> None:
        """Keep what a provider said, unless it said the same before.

        A value counts as known from when it was issued, or from now where that is not told.

        Args:
            origin: The address of the provider; zones of other addresses are other zones.
            readings: In any order, past and forecast.
        """
        now = self.clock().timestamp()
        with self._open() as file:
            for reading in readings:
                series = self._series(file, origin, reading)
                issued = None if reading.issued_at is None else reading.issued_at.timestamp()
                values = (
                    series,
                    reading.status is Status.FORECAST,
                    utc(reading.start).timestamp(),
                    now if issued is None else issued,
                    reading.step.total_seconds(),
                    reading.value,
                    str(reading.status),
                    reading.source,
                    issued,
                    now,
                )
                if reading.status is Status.FORECAST or self._is_news(file, values):
                    file.execute(
                        "INSERT OR IGNORE INTO readings VALUES (?,?,?,?,?,?,?,?,?,?)", values
                    )

    def past(
        self, origin: str, zone: str, start: datetime, end: datetime, as_of: datetime | None = None
    ) -> list[Reading]:
        """What is kept of a past, in order: its newest revision, or that of a moment.

        Args:
            origin: The address of the provider.
            zone: As it was asked for.
            start: Aware.
            end: Aware.
            as_of: Only what was known then.
        """
        until = (as_of or datetime.max.replace(tzinfo=UTC)).timestamp()
        with self._open() as file:
            found = file.execute(
                _READ + _NEWEST, (*_window(origin, zone, start, end, ahead=False), until)
            ).fetchall()
        return _whole([_reading(zone, row) for row in found])

    def ahead(
        self, origin: str, zone: str, start: datetime, end: datetime, as_of: datetime
    ) -> list[Reading]:
        """The newest forecast of a time that was known at a moment: one issue, in order."""
        window = _window(origin, zone, start, end, ahead=True)
        with self._open() as file:
            newest = file.execute(
                _READ.replace("SELECT r.start", "SELECT max(r.known), r.start")
                + " AND r.known <= ?",
                (*window, as_of.timestamp()),
            ).fetchone()[0]
            if newest is None:
                return []
            found = file.execute(_READ + " AND r.known = ? ORDER BY r.start", (*window, newest))
            return [_reading(zone, row) for row in found.fetchall()]

    def issues(
        self, origin: str, zone: str, since: datetime, until: datetime, most: int
    ) -> list[list[Reading]]:
        """Forecasts that were issued in a time, whole and in order; evenly thinned to `most`."""
        named = "FROM readings r JOIN series s ON s.id = r.series WHERE s.origin = ? AND s.zone = ?"
        with self._open() as file:
            known = [
                row[0]
                for row in file.execute(
                    f"SELECT DISTINCT r.known {named} AND r.ahead = 1"
                    " AND r.known BETWEEN ? AND ? ORDER BY r.known",
                    (origin, zone, since.timestamp(), until.timestamp()),
                )
            ]
            thinned = known[:: max(1, -(-len(known) // most))]
            whole = _READ.partition("FROM")[0] + named + " AND r.ahead = 1 AND r.known = ?"
            return [
                [
                    _reading(zone, row)
                    for row in file.execute(f"{whole} ORDER BY r.start", (origin, zone, at))
                ]
                for at in thinned
            ]

    def note(
        self,
        origin: str,
        zone: str,
        *,
        ahead: bool,
        start: datetime,
        end: datetime,
        whole: bool = True,
    ) -> None:
        """Remember that a provider was asked, so that it is not asked again too soon.

        Args:
            origin: The address of the provider.
            zone: As it was asked for.
            ahead: For a forecast, or a past.
            start: Of the time asked for.
            end: Of it.
            whole: The provider told all of it, as far as it ever will.
        """
        row = (origin, zone, ahead, whole, start.timestamp(), end.timestamp())
        with self._open() as file:
            file.execute(  # what the new one holds, the old ones need not say
                "DELETE FROM questions WHERE origin = ? AND zone = ? AND ahead = ? AND whole = ?"
                " AND start >= ? AND end <= ?",
                row,
            )
            file.execute(
                "INSERT OR IGNORE INTO questions (origin, zone, ahead, whole, start, end, asked)"
                " VALUES (?,?,?,?,?,?,?)",
                (*row, self.clock().timestamp()),
            )

    def questions(self, origin: str, zone: str, *, ahead: bool) -> list[Question]:
        """What a provider was asked for, the newest first."""
        with self._open() as file:
            found = file.execute(
                "SELECT start, end, asked, whole FROM questions WHERE origin = ? AND zone = ?"
                " AND ahead = ? ORDER BY asked DESC",
                (origin, zone, ahead),
            ).fetchall()
        moments = [[datetime.fromtimestamp(moment, UTC) for moment in row[:3]] for row in found]
        return [
            Question(start, end, asked, bool(row[3]))
            for (start, end, asked), row in zip(moments, found, strict=True)
        ]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file for one transaction, which waits for other writers."""
        with closing(sqlite3.connect(self.path, timeout=_PATIENCE_S)) as file, file:
            yield file

    def _forget(self, before: datetime) -> None:
        """Drop forecasts that were issued before a moment."""
        with self._open() as file:
            file.execute(
                "DELETE FROM readings WHERE series IN (SELECT id FROM series) AND ahead = 1"
                " AND known < ?",
                (before.timestamp(),),
            )

    def _prepare(self) -> None:
        try:
            self._make()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:  # no database, a broken one, or one of another version
            self.path.replace(self.path.with_suffix(".broken"))
            for beside in ("-wal", "-shm"):
                self.path.with_name(f"{FILE_NAME}{beside}").unlink(missing_ok=True)
            self._make()

    def _make(self) -> None:
        with self._open() as file:
            use_wal(file, _PATIENCE_S)
            version = file.execute("PRAGMA user_version").fetchone()[0]
            tables = file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version == _VERSION:
                return
            if tables and version:
                raise sqlite3.DatabaseError(f"it is of version {version}")
            for statement in _TABLES.split(";"):
                file.execute(statement)
            file.execute(f"PRAGMA user_version = {_VERSION}")

    @staticmethod
    def _series(file: sqlite3.Connection, origin: str, reading: Reading) -> int:
        basis = reading.basis
        told = (basis.signal, basis.accounting, basis.flow) if basis else ("", "", "")
        kind = (origin, reading.zone, str(reading.topic), reading.unit, *(str(one) for one in told))
        columns = "origin, zone, topic, unit, signal, accounting, flow"
        file.execute(f"INSERT OR IGNORE INTO series ({columns}) VALUES (?,?,?,?,?,?,?)", kind)  # noqa: S608
        found = file.execute(
            f"SELECT id FROM series WHERE ({columns}) = (?,?,?,?,?,?,?)",  # noqa: S608
            kind,
        ).fetchone()
        return int(found[0])

    @staticmethod
    def _is_news(file: sqlite3.Connection, values: tuple[Any, ...]) -> bool:
        """Whether a past value differs from the newest one of its time."""
        kept = file.execute(
            "SELECT step, value, status FROM readings WHERE series = ? AND ahead = ? AND start = ?"
            " ORDER BY known DESC LIMIT 1",
            values[:3],
        ).fetchone()
        return kept is None or tuple(kept) != values[4:7]


def _window(
    origin: str, zone: str, start: datetime, end: datetime, *, ahead: bool
) -> tuple[Any, ...]:
    """What a question is filled with; its lower end lets the index pass over what is long gone."""
    begin = start.timestamp()
    earliest = begin - _LONGEST_STEP.total_seconds() - 1
    return origin, zone, ahead, end.timestamp(), earliest, begin


def _reading(zone: str, row: tuple[Any, ...]) -> Reading:
    start, step, value, status, source, issued, topic, unit, signal, accounting, flow = row
    return Reading(
        zone,
        Topic(topic),
        datetime.fromtimestamp(start, UTC),
        timedelta(seconds=step),
        value,
        unit,
        Status(status),
        source,
        Basis(Signal(signal), Accounting(accounting), Flow(flow)) if signal else None,
        None if issued is None else datetime.fromtimestamp(issued, UTC),
    )


def _whole(readings: list[Reading]) -> list[Reading]:
    """Without those that lie in one before: hours, where a provider went over to quarters."""
    kept: list[Reading] = []
    for reading in readings:
        if not kept or kept[-1].end <= reading.start:
            kept.append(reading)
    return kept
