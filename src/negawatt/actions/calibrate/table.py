"""Windows that a table tells: a CSV file of published measurements, or one of one's own.

Published tables have the columns of `measured_energy.csv` and name models whose sizes stand in a
`models.csv` beside it (see `energy.published`). A table of one's own has one row for each run:

    config    path of a config.json, from the folder of the table
    batch     requests at once
    prompt    tokens read of each
    written   tokens written for each
    seconds   that the whole batch took
    joules    that the whole batch took, all devices together
    devices, weight_bits, engine, boundary    where they differ from 1, 16, and what is unknown
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from negawatt.core.errors import NegawattError, UsageError
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.configs import anatomy_of
from negawatt.energy.fitting import Windows
from negawatt.energy.profiles import Origin
from negawatt.energy.published import totals_in, windows_in
from negawatt.energy.serving import serving_load
from negawatt.energy.workload import Load, Step

_OWN = ("config", "batch", "prompt", "written", "seconds", "joules")
_PUBLISHED = ("model", "device", "j_per_output_token", "output_tok_per_s", "out_tokens")
_UNTOLD = "an engine that the table does not name"

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """Windows of a table.

    Args:
        windows: Those whose rows are whole.
        origin: As the table names it.
        left_out: Rows that lack something.
    """

    windows: Windows
    origin: Origin
    left_out: int


def read_table(file: Path, *, device: str = "", source: str = "") -> Told:
    """Windows of a CSV file.

    Args:
        file: With columns of either kind.
        device: Rows of this device alone, where the table has several.
        source: Rows of this source alone, where it has several.

    Raises:
        UsageError: a file or column is missing, a field is no number, or several devices, engines
            or boundaries would be mixed.
    """
    rows: list[Row] = [*_rows(file)]
    columns = set(rows[0]) if rows else set()
    for name, wanted in (("device", device), ("source", source)):
        if name in columns:
            rows = _only(rows, name, wanted, file)
        elif wanted:
            raise UsageError(
                f"{file} has no column {name}", fix=f"leave out --{name}, or add the column"
            )
    if columns.issuperset(_OWN):
        windows = _own(rows, file)
    elif columns.issuperset(_PUBLISHED):
        sizes = file.parent / "models.csv"
        # States of hybrid models are told nowhere, and without them bytes would be missing.
        told = [size for size in _rows(sizes) if "hybrid" not in size.get("note", "")]
        windows = windows_in(rows, totals_in(told))
    else:
        missing = sorted(set(_OWN) - columns)
        raise UsageError(
            f"{file} lacks {', '.join(missing)}",
            fix=f"give a CSV file with the columns {', '.join(_OWN)}",
        )
    if not len(windows):
        raise UsageError(
            f"no row of {file} is whole", fix="see the how-to on calibrating for its columns"
        )
    origin = Origin(
        engine=_shared(rows, "engine", file) or _UNTOLD,
        boundary=_shared(rows, "boundary", file) or "device",
        batching="continuous",
        source=", ".join(filter(None, [file.name, _shared(rows, "source", file)])),
    )
    return Told(windows, origin, len(rows) - len(windows))


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            found = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{file} cannot be read as a table: {error}", fix="give a CSV file in UTF-8"
        ) from error
    return [{key: value or "" for key, value in row.items() if key} for row in found]


def _only(rows: Sequence[Row], column: str, wanted: str, file: Path) -> list[Row]:
    """Rows of one device or source; all when there is but one."""
    there = sorted({row[column] for row in rows})
    if wanted and wanted not in there:
        raise UsageError(
            f"{file} has no {column} {wanted!r}", fix=f"give one of: {', '.join(there)}"
        )
    if not wanted and len(there) > 1:
        raise UsageError(
            f"{file} has rows of several {column}s, which are no windows of one device",
            fix=f"choose with --{column} one of: {', '.join(there)}",
        )
    return [row for row in rows if not wanted or row[column] == wanted]


def _shared(rows: Sequence[Row], column: str, file: Path) -> str:
    """What all rows say in a column."""
    said = sorted({row.get(column, "") for row in rows})
    if len(said) > 1:
        raise UsageError(
            f"{file} mixes windows of several {column}s: {', '.join(said)}",
            fix=f"keep the rows of one {column}",
        )
    return said[0]


def _own(rows: Sequence[Row], file: Path) -> Windows:
    loads: list[Load] = []
    joules, seconds, groups = [], [], []
    for line, row in enumerate(rows, start=2):
        place = f"{file}, row {line}"
        config = row["config"]
        if not all(row[name] for name in _OWN):
            continue
        batch, prompt, written = (_number(row, name, place) for name in _OWN[1:4])
        step = Step(
            batch=batch,
            context=prompt + written / 2,
            devices=int(_number(row, "devices", place, 1.0)),
            weight_bits=_number(row, "weight_bits", place, 16.0),
        )
        loads.append(serving_load(_anatomy(file.parent / config), step, prompt, written))
        joules.append(_number(row, "joules", place) / written)
        seconds.append(_number(row, "seconds", place) / written)
        groups.append(config)
    columns = {
        name: np.array([float(getattr(load, name)) for load in loads]) for name in Load.__slots__
    }
    return Windows(
        load=Load(**columns),
        joules=np.array(joules),
        seconds=np.array(seconds),
        groups=tuple(groups),
    )


def _anatomy(file: Path) -> Anatomy:
    try:
        return anatomy_of(json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, ValueError) as error:
        if isinstance(error, NegawattError):
            raise
        raise UsageError(
            f"{file} is no configuration: {error}",
            fix="name a config.json, with its path from the folder of the table",
        ) from error


def _number(row: Row, name: str, place: str, usual: float | None = None) -> float:
    text = row.get(name) or ""
    if not text and usual is not None:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{place}: {name} is {text!r}", fix=f"give a {name} above nought")
    return value
