"""Orders on disk: one SQLite file, written through, safe when a worker is killed.

Every order belongs to one worker at most. A worker shows that it lives by a lock on a file, which
the system lets go of when it dies, however it dies; what a dead worker left is anybody's to take.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock, Timeout

from negawatt.actions.run.orders import Order, Phase, Progress
from negawatt.actions.run.pace import Pace
from negawatt.actions.run.steer import Limits
from negawatt.core.codec import decode, encode
from negawatt.core.errors import OutputError, UsageError
from negawatt.core.wal import use_wal

_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,           -- empty for `negawatt run`, which works on its own order alone
    made TEXT NOT NULL,
    asked TEXT NOT NULL,           -- the order
    progress TEXT NOT NULL,
    phase TEXT NOT NULL,
    power_w REAL NOT NULL,
    owner TEXT NOT NULL DEFAULT '',
    cancel INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS about (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id INTEGER NOT NULL,
    real TEXT NOT NULL,
    what TEXT NOT NULL,
    body TEXT NOT NULL
);
"""
_LIVE = ("waiting", "starting", "running", "paused")
_BUSY = ("starting", "running")


@dataclass(frozen=True, slots=True)
class Entry:
    """An order and what has become of it."""

    id: int
    queue: str
    made: datetime
    order: Order
    progress: Progress
    owner: str
    cancel: bool

    @property
    def key(self) -> str:
        """What the runner knows this attempt by."""
        return f"{self.id}-{self.progress.attempt}"


class Book:
    """The orders of one machine, or of one queue.

    Args:
        path: The file; made, with its folder, on first use.

    Raises:
        OutputError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = uuid4().hex
        self._lock: FileLock | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            use_wal(self._connection, _BUSY_S)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            self.name = self._named()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"the queue {path} cannot be opened: {error}",
                fix="name a file in a folder that you may write to (--queue FILE)",
            ) from error

    def _named(self) -> str:
        """A name that no other queue has, so that their tasks are not mistaken for ours."""
        with self._writing():
            found = self._connection.execute("SELECT name FROM about").fetchone()
            if found is None:
                found = (f"negawatt-{uuid4().hex[:8]}",)
                self._connection.execute("INSERT INTO about VALUES (?)", found)
        return str(found[0])

    def close(self) -> None:
        """Let go of the file, and of what this worker held."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()
            with suppress(OSError):
                Path(self._lock.lock_file).unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def add(self, order: Order, queue: str = "") -> int:
        """Keep an order; its number."""
        with self._writing():
            row = self._connection.execute(
                "INSERT INTO orders (queue, made, asked, progress, phase, power_w)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (queue, _now(), _text(order), _text(Progress()), Phase.WAITING, order.power_w or 0),
            )
            number = int(row.lastrowid or 0)
            self._event(number, "added", {})
        return number

    def get(self, number: int) -> Entry:
        """One order.

        Raises:
            UsageError: there is none of that number.
        """
        row = self._connection.execute("SELECT * FROM orders WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise UsageError(
                f"{self.path} holds no order {number}", fix="see `negawatt queue list`"
            )
        return _entry(row)

    def entries(self, queue: str | None = None, *, live: bool = False) -> list[Entry]:
        """All orders, oldest first, or those that have not ended."""
        marks = ", ".join("?" * len(_LIVE))
        rows = self._connection.execute(
            "SELECT * FROM orders WHERE (? IS NULL OR queue = ?)"  # noqa: S608  # our own marks
            f" AND (? = 0 OR phase IN ({marks})) ORDER BY id",
            (queue, queue, live, *_LIVE),
        )
        return [_entry(row) for row in rows]

    def glance(self, queue: str) -> list[tuple[int, str, bool]]:
        """Numbers of the orders that have not ended, whose they are, and whether to cancel."""
        marks = ", ".join("?" * len(_LIVE))
        rows = self._connection.execute(
            "SELECT id, owner, cancel FROM orders WHERE queue = ?"  # noqa: S608  # our own marks
            f" AND phase IN ({marks}) ORDER BY id",
            (queue, *_LIVE),
        )
        return [(number, owner, bool(cancel)) for number, owner, cancel in rows]

    def save(self, entry: Entry, what: str = "", **body: Any) -> bool:
        """Keep what has become of an order, and say why in its events.

        Only its owner may, or anybody while it has none.

        Returns:
            False where it has come to belong to somebody else meanwhile.
        """
        with self._writing():
            done = self._connection.execute(
                "UPDATE orders SET progress = ?, phase = ?, owner = ? WHERE id = ? AND owner = ?",
                (
                    _text(entry.progress), entry.progress.phase,
                    "" if entry.progress.phase.ended else entry.owner, entry.id, entry.owner,
                ),
            )  # fmt: skip
            if done.rowcount and what:
                self._event(entry.id, what, body)
        return bool(done.rowcount)

    def claim(self, number: int, limits: Limits) -> Entry | None:
        """Take an order that waits, and mark it as being started, if there is room for it.

        Of two workers only one gets it: the file is locked meanwhile.
        """
        self._show_life()
        with self._writing():
            row = self._connection.execute(
                "SELECT * FROM orders WHERE id = ? AND owner IN ('', ?) AND phase = 'waiting'"
                " AND cancel = 0",
                (number, self.owner),
            ).fetchone()
            if row is None or not self._room(_entry(row), limits):
                return None
            self._connection.execute(
                "UPDATE orders SET owner = ?, phase = 'starting' WHERE id = ?",
                (self.owner, number),
            )
            self._event(number, "claimed", {"owner": self.owner})
        return self.get(number)

    def hold(self, number: int) -> Entry:
        """Keep an order that waits for this worker alone."""
        self._show_life()
        with self._writing():
            self._connection.execute(
                "UPDATE orders SET owner = ? WHERE id = ? AND owner = ''", (self.owner, number)
            )
        return self.get(number)

    def room(self, entry: Entry, limits: Limits) -> bool:
        """True when an order may run beside those that do."""
        return self._room(entry, limits)

    def _room(self, entry: Entry, limits: Limits) -> bool:
        count, power = self._connection.execute(
            "SELECT count(*), coalesce(sum(power_w), 0) FROM orders"
            " WHERE queue = ? AND phase IN (?, ?) AND id != ?",
            (entry.queue, *_BUSY, entry.id),
        ).fetchone()
        return limits.holds(count + 1, power + (entry.order.power_w or 0.0))

    def others(self, queue: str) -> tuple[int, float]:
        """How many orders other workers run, and at what power together. [W]"""
        count, power = self._connection.execute(
            "SELECT count(*), coalesce(sum(power_w), 0) FROM orders"
            " WHERE queue = ? AND phase IN (?, ?) AND owner != ?",
            (queue, *_BUSY, self.owner),
        ).fetchone()
        return int(count), float(power)

    def adopt(self, queue: str, number: int | None = None) -> list[Entry]:
        """Take what dead workers left; the orders that are now ours."""
        self._show_life()
        taken = []
        alive = {"": True, self.owner: True}
        for one, owner, _ in self.glance(queue):
            if number not in {None, one} or self._alive(owner, alive):
                continue
            with self._writing():
                done = self._connection.execute(
                    "UPDATE orders SET owner = ? WHERE id = ? AND owner = ?",
                    (self.owner, one, owner),
                )
                if done.rowcount:
                    self._event(one, "adopted", {"from": owner})
                    taken.append(one)
        return [self.get(one) for one in taken]

    def _alive(self, owner: str, known: dict[str, bool]) -> bool:
        if owner not in known:
            known[owner] = self._lives(owner)
        return known[owner]

    def pace(self, queue: str, pace: Pace) -> None:
        """Let what waits live in a time of its own."""
        for entry in self.entries(queue, live=True):
            asked = _text(replace(entry.order, pace=pace))
            with self._writing():
                self._connection.execute(
                    "UPDATE orders SET asked = ? WHERE id = ? AND phase = 'waiting'",
                    (asked, entry.id),
                )

    def output(self, entry: Entry) -> Path:
        """Where an order of the queue prints to."""
        name = f"{self.name}-{entry.key}.log"
        return self.path.with_name(f"{self.path.name}.tasks") / name

    def cancel(self, number: int) -> Entry:
        """Ask for an order to be cancelled; at once where nobody has begun it."""
        with self._writing():
            self._connection.execute("UPDATE orders SET cancel = 1 WHERE id = ?", (number,))
            self._connection.execute(
                "UPDATE orders SET phase = 'cancelled' WHERE id = ? AND owner = ''"
                " AND phase = 'waiting'",
                (number,),
            )
            self._event(number, "cancel", {})
        return self.get(number)

    def events(self, number: int) -> list[dict[str, Any]]:
        """What happened to an order, in order."""
        rows = self._connection.execute(
            "SELECT real, what, body FROM events WHERE id = ? ORDER BY number", (number,)
        )
        return [{"at": real, "what": what, **json.loads(body)} for real, what, body in rows]

    def _lock_of(self, owner: str) -> Path:
        return self.path.parent / f"{self.path.name}.workers" / f"{owner}.lock"

    def _show_life(self) -> None:
        if self._lock is None:
            place = self._lock_of(self.owner)
            place.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(place)
            self._lock.acquire(timeout=0)

    def lives(self, owner: str) -> bool:
        """True while the worker of that name runs."""
        return bool(owner) and (owner == self.owner or self._lives(owner))

    def _lives(self, owner: str) -> bool:
        place = self._lock_of(owner)
        if not place.exists():
            return False
        probe = FileLock(place)
        try:
            probe.acquire(timeout=0)
        except Timeout:
            return True
        probe.release()
        with suppress(OSError):
            place.unlink()
        return False

    def _event(self, number: int, what: str, body: dict[str, Any]) -> None:
        self._connection.execute(
            "INSERT INTO events (id, real, what, body) VALUES (?, ?, ?, ?)",
            (number, _now(), what, _text(body)),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise OutputError(
                    f"the queue {self.path} cannot be written: {error}",
                    fix="check the disk and the rights of its folder",
                ) from error
            raise


def _entry(row: Sequence[Any]) -> Entry:
    number, queue, made, asked, progress, phase, _, owner, cancel = row
    kept = decode(Progress, {**json.loads(progress), "phase": phase})
    return Entry(
        number, queue, datetime.fromisoformat(made), decode(Order, json.loads(asked)), kept, owner,
        bool(cancel),
    )  # fmt: skip


def _text(value: object) -> str:
    return json.dumps(encode(value), ensure_ascii=False, allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat()
