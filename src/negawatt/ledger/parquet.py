"""A ledger as a Parquet file, for data frames; every text is kept as it was hashed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from negawatt.core.errors import LedgerError
from negawatt.core.stores import Row
from negawatt.ledger.entry import stamp
from negawatt.ledger.faults import explained
from negawatt.ledger.merge import Header

_KEY = b"negawatt.ledger"  # where the header stands in the file's metadata
_BATCH = 5_000  # entries written at once
_NUMBERS = frozenset({"sequence", "origin_sequence"})


def write(path: Path, header: Header, rows: Iterable[Row]) -> None:
    """Write an export. `time` is a timestamp, `body` and `versions` are JSON texts.

    Raises:
        LedgerError: pyarrow is not installed, or the file cannot be written.
    """
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(name, _type(arrow, name)) for name in Row._fields])
    schema = schema.with_metadata({_KEY: json.dumps(asdict(header)).encode()})
    remaining = iter(rows)
    with explained(path, "export to"), parquet.ParquetWriter(path, schema) as writer:
        while batch := list(islice(remaining, _BATCH)):
            columns: dict[str, Any] = dict(zip(Row._fields, zip(*batch, strict=True), strict=True))
            columns["time"] = [datetime.fromisoformat(text) for text in columns["time"]]
            arrays = [arrow.array(columns[field.name], field.type) for field in schema]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """An export that entries are taken from."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @contextmanager
    def opened(self) -> Iterator[tuple[Header, Callable[[], Iterator[Row]]]]:
        """What the metadata say, and what reads the rows."""
        _, parquet = _pyarrow()
        with _read(self.path):
            file = parquet.ParquetFile(self.path)
        with file:
            with _read(self.path):
                header = _header(file)

            def rows() -> Iterator[Row]:
                with _read(self.path):
                    yield from _rows(file)

            yield header, rows


@contextmanager
def _read(path: Path) -> Iterator[None]:
    arrow, _ = _pyarrow()
    try:
        with explained(path, "read"):
            yield
    except (arrow.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise LedgerError(
            f"{path} is no export of a ledger, or damaged",
            fix="make one with: negawatt ledger export --output FILE.parquet",
        ) from error


def _header(file: Any) -> Header:
    said = json.loads((file.schema_arrow.metadata or {})[_KEY])
    return Header(**{**said, "checkpoints": tuple(said["checkpoints"])})


def _rows(file: Any) -> Iterator[Row]:
    for batch in file.iter_batches(batch_size=_BATCH, columns=list(Row._fields)):
        for value in batch.to_pylist():
            yield Row(**{**value, "time": stamp(value["time"])})


def _type(arrow: ModuleType, name: str) -> Any:
    if name in _NUMBERS:
        return arrow.int64()
    return arrow.timestamp("us", tz="UTC") if name == "time" else arrow.string()


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise LedgerError(
            "Parquet files need pyarrow, which is not installed",
            fix="pip install 'negawatt[parquet]', or use JSON Lines, which need nothing more",
        ) from error
    return pa, parquet
