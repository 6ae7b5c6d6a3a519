"""Columns by time from files: with times, with seconds since a start, or of a typical year."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.grid import utc

Column = NDArray[np.float64]

_TYPICAL = ("month", "day", "hour_local_std")
_CLOCKS = "time, offset_s, or month, day and hour_local_std"


@dataclass(frozen=True, slots=True)
class Steps:
    """When each step that is asked for begins, and how long it is."""

    start: datetime
    step: timedelta
    count: int

    def times(self) -> list[datetime]:
        """When each begins."""
        return [self.start + place * self.step for place in range(self.count)]


def column(
    path: Path,
    name: str,
    steps: Steps,
    *,
    offset_h: float | None = None,
    only: Mapping[str, str] | None = None,
) -> Column:
    """A column of a file, step by step.

    Longer steps of the file are repeated in shorter ones, shorter ones averaged. Files whose names
    end in .gz are unpacked.

    Args:
        path: Comma-separated values; lines that begin with # are remarks.
        name: Of the column.
        steps: Those that are asked for.
        offset_h: Of local standard time from UTC, for a typical year. [h]
        only: Take only lines whose columns hold these texts: several stations in one file.

    Raises:
        UsageError: the file cannot be read, lacks a column or a step, or a line cannot be taken.
    """
    rows = _rows(path, name, only or {})
    header = rows[0][1].keys()
    if "time" in header:
        return _by_time(path, name, steps, rows)
    if "offset_s" in header:
        places = [_number(path, line, row, "offset_s") for line, row in rows]
        begins = [steps.start + timedelta(seconds=place - places[0]) for place in places]
        _in_order(path, begins)
        return _laid(path, name, steps, begins, _values(path, name, rows))
    if all(part in header for part in _TYPICAL):
        return _typical(path, name, steps, rows, offset_h)
    raise UsageError(
        f"{path.name} tells no time: {', '.join(header)[:100]}", fix=f"give a column {_CLOCKS}"
    )


def _rows(path: Path, name: str, only: Mapping[str, str]) -> list[tuple[int, dict[str, str]]]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        fact = getattr(error, "strerror", None) or "it is no text, or no gzip file"
        raise UsageError(f"cannot read {path}: {fact}", fix="name a CSV file") from error
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    table = list(csv.reader(line for _, line in numbered))
    if len(table) < 2:
        raise UsageError(f"{path.name} holds no values", fix="give a head and a line a step")
    header = [cell.strip() for cell in table[0]]
    for wanted in (name, *only):
        if wanted not in header:
            raise UsageError(
                f"{path.name} has no column {wanted}", fix=f"name one of: {', '.join(header)[:200]}"
            )
    rows = []
    for (line, _), cells in zip(numbered[1:], table[1:], strict=True):
        if len(cells) != len(header):
            raise UsageError(
                f"line {line} of {path.name} has {len(cells)} cells, the head {len(header)}",
                fix="write the file anew",
            )
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        if all(row[key] == value for key, value in only.items()):
            rows.append((line, row))
    if not rows:
        told = ", ".join(f"{key} {value}" for key, value in only.items())
        raise UsageError(f"{path.name} has no line of {told}", fix="check how it is written there")
    return rows


def _number(path: Path, line: int, row: Mapping[str, str], name: str) -> float:
    try:
        found = float(row[name])
    except ValueError as error:
        raise UsageError(
            f"line {line} of {path.name}: {row[name]!r} is no number of {name}",
            fix="fill the gap, or choose a time without one",
        ) from error
    if not np.isfinite(found):
        raise UsageError(
            f"line {line} of {path.name}: {name} is {found}", fix="give a finite number"
        )
    return found


def _values(path: Path, name: str, rows: Sequence[tuple[int, dict[str, str]]]) -> Column:
    return np.array([_number(path, line, row, name) for line, row in rows])


def _by_time(
    path: Path, name: str, steps: Steps, rows: Sequence[tuple[int, dict[str, str]]]
) -> Column:
    begins = []
    for line, row in rows:
        try:
            begins.append(utc(datetime.fromisoformat(row["time"])))
        except ValueError as error:
            raise UsageError(
                f"line {line} of {path.name}: {row['time']!r} is no time",
                fix="write it as 2026-01-31T13:00Z",
            ) from error
    _in_order(path, begins)
    end = steps.start + steps.count * steps.step
    first = max((at for at, begin in enumerate(begins) if begin <= steps.start), default=0)
    # Two at least, which tell how long a step of the file is.
    near = [at for at in range(first, len(begins)) if begins[at] < end or at < first + 2]
    kept = [rows[at] for at in near]
    return _laid(path, name, steps, [begins[at] for at in near], _values(path, name, kept))


def _in_order(path: Path, begins: Sequence[datetime]) -> None:
    for before, after in pairwise(begins):
        if after <= before:
            raise UsageError(
                f"{path.name}: {after:%Y-%m-%d %H:%M} UTC comes after a time that is not before it",
                fix="sort the lines by time, each moment once, in UTC",
            )


def _short(path: Path, name: str, steps: Steps) -> UsageError:
    end = steps.start + steps.count * steps.step
    return UsageError(
        f"{path.name} does not tell {name} from {steps.start:%Y-%m-%d %H:%M} to"
        f" {end:%Y-%m-%d %H:%M} UTC",
        fix="give a longer file, or a shorter time",
    )


def _laid(
    path: Path, name: str, steps: Steps, begins: Sequence[datetime], values: Column
) -> Column:
    """Means over the steps asked for, of values that each hold until the next begins."""
    apart = [after - before for before, after in pairwise(begins)]
    if not apart:
        raise _short(path, name, steps)
    usual = Counter(apart).most_common(1)[0][0]
    if max(apart) > usual:
        at = apart.index(max(apart))
        raise UsageError(
            f"{path.name} has a gap after {begins[at]:%Y-%m-%d %H:%M} UTC",
            fix="fill the gap, or choose a time without one",
        )
    edges = np.array([(begin - begins[0]).total_seconds() for begin in begins])
    edges = np.append(edges, edges[-1] + usual.total_seconds())
    first = (steps.start - begins[0]).total_seconds()
    asked = first + np.arange(steps.count + 1) * steps.step.total_seconds()
    if asked[0] < -1e-6 or asked[-1] > edges[-1] + 1e-6:
        raise _short(path, name, steps)
    whole = np.concatenate([[0.0], np.cumsum(values * np.diff(edges))])
    return np.asarray(np.diff(np.interp(asked, edges, whole)) / steps.step.total_seconds())


def _typical(
    path: Path,
    name: str,
    steps: Steps,
    rows: Sequence[tuple[int, dict[str, str]]],
    offset_h: float | None,
) -> Column:
    if offset_h is None:
        raise UsageError(
            f"{path.name} is told in local standard time", fix="give utc_offset_h, such as -7"
        )
    known: dict[tuple[int, ...], float] = {}
    for line, row in rows:
        key = tuple(int(_number(path, line, row, part)) for part in _TYPICAL)
        if key in known:
            raise UsageError(
                f"line {line} of {path.name} tells an hour that was told before",
                fix='take one place at a time: only = { station = "..." }',
            )
        known[key] = _number(path, line, row, name)
    zone = timezone(timedelta(hours=offset_h))
    found = []
    for time in steps.times():
        local = time.astimezone(zone)
        day = 28 if (local.month, local.day) == (2, 29) else local.day
        value = known.get((local.month, day, local.hour))
        if value is None:
            raise _short(path, name, steps)
        found.append(value)
    return np.array(found)
