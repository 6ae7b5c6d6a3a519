"""Signals out of a CSV file, wide (a column a zone) or long (a row a zone and a time)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from negawatt.actions.backtest.lines import lines
from negawatt.actions.backtest.records import Column, Counts, Matrix, Place
from negawatt.core.errors import UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic, utc
from negawatt.signals.series import Series

_TIMES = ("time_utc", "time", "timestamp", "datetime", "date", "datetime_utc")
_ZONES = ("zone", "region", "country", "ba", "balancing_authority")
#: The column that is meant where a file has several and none is named.
_MEANT = ("ci", "ci_actual", "ci_lca", "ci_direct", "ci_avg", "carbon_intensity", "moer", "value")
_UNITS = {"g": 1.0, "kg": 1000.0, "lb/MWh": 0.45359237}  # into g/kWh
_MOST_SLOTS = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is to be understood.

    Args:
        basis: What its intensities are.
        unit: "g", "kg" (of CO2e in a kWh) or "lb/MWh".
        naive_utc: Take times without a zone for UTC.
        start: Leave out what lies before; aware.
        end: Leave out what lies after; aware.
    """

    basis: Basis = field(default_factory=Basis)
    unit: str = "g"
    naive_utc: bool = False
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A file that has been read.

    Args:
        path: Where from.
        names: Of the columns, without those of time and zone.
        zones: Of each row; empty where the file has no such column.
        times: Beginning of each row, in seconds since 1970. [s], [rows]
        cells: Texts by column. [columns][rows]
    """

    path: Path
    names: tuple[str, ...]
    zones: tuple[str, ...]
    times: Counts
    cells: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> Column:
        """A column as numbers; NaN where a cell is empty.

        Raises:
            UsageError: there is none of that name, or a cell is no number.
        """
        if name not in self.names:
            raise UsageError(
                f"{self.path.name} has no column {name!r}",
                fix=f"choose among {_some(self.names)}",
            )
        cells = self.cells[self.names.index(name)]
        try:
            return np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError as error:
            raise UsageError(
                f"{self.path.name}, column {name}: {error}",
                fix="leave cells empty where nothing is known",
            ) from error


def _some(names: Sequence[str], most: int = 12) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def read(path: Path, *, naive_utc: bool = False) -> Table:
    """Read a CSV file, gzipped or not.

    Raises:
        UsageError: it is not there, has no column of times, or a time cannot be read.
    """
    head, body = lines(path)
    lower = [name.lower() for name in head]
    when = next((lower.index(name) for name in _TIMES if name in lower), None)
    if when is None:
        raise UsageError(
            f"{path.name} has no column of times",
            fix=f"give a CSV whose first line names one of {', '.join(_TIMES[:4])}",
        )
    columns = list(zip(*body, strict=True))
    named = [at for at, name in enumerate(lower) if name in _ZONES and not _number(columns[at][0])]
    where = named[0] if named else None  # BA is a column of authorities, or of Bosnia's values
    rest = [at for at in range(len(head)) if at not in (when, where)]
    return Table(
        path,
        tuple(head[at] for at in rest),
        () if where is None else columns[where],
        _seconds(columns[when], path, naive_utc=naive_utc),
        tuple(columns[at] for at in rest),
    )


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True


def _seconds(texts: Sequence[str], path: Path, *, naive_utc: bool) -> Counts:
    try:
        if all(text.endswith("Z") for text in texts):
            bare = np.array([text[:-1] for text in texts], dtype="datetime64[s]")
            return bare.astype(np.int64).astype(np.intp)
        moments = [datetime.fromisoformat(text) for text in texts]
        if naive_utc:
            moments = [m.replace(tzinfo=UTC) if m.tzinfo is None else m for m in moments]
        return np.array([int(utc(moment).timestamp()) for moment in moments], dtype=np.intp)
    except ValueError as error:
        raise UsageError(
            f"{path.name}: {error}", fix="write times as 2026-01-01T00:00:00Z"
        ) from error
    except UsageError as error:
        raise UsageError(
            f"{path.name}: {error.what}", fix="add one, or say --naive-utc if it is UTC"
        ) from error


def zones_of(table: Table) -> tuple[str, ...]:
    """The zones a file tells: its columns, or those that its rows name."""
    return tuple(dict.fromkeys(table.zones)) if table.zones else table.names


def place(
    table: Table,
    how: Reading,
    *,
    zone: str | None = None,
    column: str | None = None,
    recorded: str | None = None,
    revised_step: timedelta | None = None,
) -> Place:
    """One zone of a file, with the forecasts that are on record for it.

    Args:
        table: The file.
        how: It is to be understood.
        zone: Its name; may be left out where there is only one.
        column: That holds the values; may be left out where it is plain which.
        recorded: Column of the forecast made beforehand.
        revised_step: Of columns f1, f2, ...: how far ahead each next one lies; None for none.

    Raises:
        UsageError: a name is not there or not plain, times repeat or do not lie on steps.
    """
    rows, name, values = _rows(table, zone, column)
    if how.unit not in _UNITS:
        raise UsageError(
            f"{how.unit!r} is no unit of intensity", fix=f"choose among {', '.join(_UNITS)}"
        )
    scale = _UNITS[how.unit]
    start, step, slots = _grid(table, rows, name)
    count = int(slots.max()) + 1
    series = Series(
        zone=name,
        topic=Topic.CARBON,
        unit=GRAMS_PER_KWH,
        basis=how.basis,
        source=table.path.name,
        status=Status.MEASURED,
        start=start,
        step=step,
        values=_laid(scale * table.column(values)[rows], slots, count),
    )
    said = None if recorded is None else _laid(scale * table.column(recorded)[rows], slots, count)
    made = None
    if revised_step is not None:
        made = scale * _revisions(table, rows, slots, count, step / revised_step)
    return _cut(Place(series, said, made), how)


def _rows(table: Table, zone: str | None, column: str | None) -> tuple[Counts, str, str]:
    """Which rows, under which name, and which column."""
    every = np.arange(len(table.times))
    if table.zones:
        known = zones_of(table)
        if zone is None and len(known) == 1:
            zone = known[0]
        if zone not in known:
            told = "tells several zones" if zone is None else f"has no zone {zone!r}"
            raise UsageError(f"{table.path.name} {told}", fix=f"choose among {_some(known)}")
        chosen = np.flatnonzero(np.array(table.zones) == zone)
        return chosen, zone, column or _meant(table)
    if column is None:
        column = zone if zone in table.names else (None if zone else _meant(table))
    if column is None or column not in table.names:
        raise UsageError(
            f"{table.path.name} has no zone {zone or column!r}",
            fix=f"choose among {_some(table.names)}",
        )
    named = zone or (column if column not in _MEANT else table.path.name.partition(".")[0])
    return every, named, column


def _meant(table: Table) -> str:
    found = [name for name in _MEANT if name in table.names]
    if not found and len(table.names) == 1:
        found = [table.names[0]]
    if not found:
        raise UsageError(
            f"{table.path.name} has several columns",
            fix=f"name a zone or a column: {_some(table.names)}",
        )
    return found[0]


def _grid(table: Table, rows: Counts, name: str) -> tuple[datetime, timedelta, Counts]:
    times = table.times[rows]
    gaps = np.diff(np.sort(times))
    if len(gaps) == 0 or (gaps == 0).any():
        told = "a time stands twice" if len(gaps) else "there is one row only"
        raise UsageError(
            f"{table.path.name}, {name}: {told}",
            fix="leave each time in one row; clocks set back are told apart by +01:00 and +02:00",
        )
    width = int(np.gcd.reduce(gaps))
    if (times.max() - times.min()) // width > _MOST_SLOTS or np.median(gaps) > 12 * width:
        raise UsageError(
            f"{table.path.name}, {name}: times do not lie on even steps",
            fix="give values in steps of 5, 15, 30 or 60 minutes",
        )
    start = datetime.fromtimestamp(int(times.min()), UTC)
    return start, timedelta(seconds=width), (times - times.min()) // width


def _laid(column: Column, slots: Counts, count: int) -> Column:
    laid = np.full(count, np.nan)
    laid[slots] = column
    return laid


def _revisions(table: Table, rows: Counts, slots: Counts, count: int, marks: float) -> Matrix:
    """Columns f1, f2, ... as slots ahead: the mean over the marks that fall into each.

    The first slot ahead is the one after that in which the forecast was made. Where columns lack
    between, a line is drawn from the one before to the one after.
    """
    told = {int(n[1:]): n for n in table.names if n[:1] == "f" and n[1:].isdigit()}
    if not told or marks != int(marks):
        raise UsageError(
            f"{table.path.name} has no columns f1, f2, ... that fit into its steps",
            fix="say how far ahead each next one lies: --revision-step 5m",
        )
    per_slot = int(marks)
    known = np.array(sorted(told))
    table_ = np.stack([table.column(told[at])[rows] for at in known.tolist()], axis=1)
    ahead = (int(known[-1]) + 1) // per_slot - 1
    made = np.full((count, max(ahead, 1)), np.nan)
    for slot in range(ahead):
        wanted = np.arange((slot + 1) * per_slot, (slot + 2) * per_slot)
        right = np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)
        left = np.where(known[right] > wanted, np.maximum(right - 1, 0), right)
        span = np.maximum(known[right] - known[left], 1)
        share = np.clip((wanted - known[left]) / span, 0.0, 1.0)
        lines = table_[:, left] * (1 - share) + table_[:, right] * share
        made[slots, slot] = lines.mean(axis=1)
    return made


def _cut(found: Place, how: Reading) -> Place:
    if how.start is None and how.end is None:
        return found
    whole = found.actual
    cut = whole.window(how.start or whole.start, how.end or whole.end)
    first = whole.place(cut.start)
    part = slice(first, first + len(cut))
    return replace(
        found,
        actual=cut,
        recorded=None if found.recorded is None else found.recorded[part],
        revised=None if found.revised is None else found.revised[part],
    )
