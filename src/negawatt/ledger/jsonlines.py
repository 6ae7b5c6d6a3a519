"""A ledger as lines of JSON: the first says what the file holds, each other is one entry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from negawatt.core.codec import encode
from negawatt.core.errors import LedgerError
from negawatt.core.stores import Row
from negawatt.ledger.entry import canonical, entry_of, stamp
from negawatt.ledger.faults import broken, explained
from negawatt.ledger.merge import Header

FORMAT = 1


def lines(header: Header, rows: Iterable[Row], place: str) -> Iterator[str]:
    """The lines of an export, without their ends.

    Every entry can be verified with nothing but this line: its hash is the
    SHA-256 over the texts from which the line was made, see the how-to page.

    Raises:
        LedgerError: the body of an entry is not the text that JSON makes of it.
    """
    said = {key: value for key, value in asdict(header).items() if key != "checkpoints"}
    checkpoints = [json.loads(text)["checkpoint"] for text in header.checkpoints]
    yield json.dumps({"export": {"format": FORMAT, **said}, "checkpoints": checkpoints})
    for row in rows:
        try:
            value = encode(entry_of(row))
            same = row_of(value) == row
        except (TypeError, ValueError):
            same = False
        if not same:
            raise broken(
                place, f"entry {row.sequence} is not written as JSON writes it", row.sequence - 1
            )
        yield json.dumps(value)  # ASCII, so that no output can alter what was hashed


def row_of(value: dict[str, Any]) -> Row:
    """The stored texts of an entry that was read as JSON.

    Raises:
        KeyError, TypeError, ValueError: it is no entry.
    """
    origin = value.get("origin") or {}
    return Row(
        sequence=value["sequence"],
        time=stamp(_moment(value["time"])),
        kind=value["kind"],
        who=value["who"],
        host=value["host"],
        body=canonical(value["body"]),
        versions=canonical(value["versions"]),
        previous=value["previous"],
        hash=value["hash"],
        machine=value.get("machine"),
        origin_sequence=origin.get("sequence"),
        origin_previous=origin.get("previous"),
        origin_hash=origin.get("hash"),
    )


@dataclass(frozen=True, slots=True)
class JsonLinesFile:
    """An export that entries are taken from."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @contextmanager
    def opened(self) -> Iterator[tuple[Header, Callable[[], Iterator[Row]]]]:
        """What the first line says, and what reads the others."""
        with explained(self.path, "read"):
            stream = self.path.open(encoding="utf-8")
        with stream:
            with explained(self.path, "read"):
                header = self._header(stream.readline())
                after = stream.tell()

            def rows() -> Iterator[Row]:
                with explained(self.path, "read"):
                    stream.seek(after)
                    number = 1
                    while line := stream.readline():
                        number += 1
                        yield self._row(line, number)

            yield header, rows

    def _header(self, line: str) -> Header:
        try:
            value = json.loads(line)
            said = dict(value["export"])
            newer = said.pop("format") > FORMAT
            checkpoints = tuple(canonical({"checkpoint": one}) for one in value["checkpoints"])
            header = Header(**said, checkpoints=checkpoints)
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(
                f"{self.path} is no export of a ledger",
                fix="make one with: negawatt ledger export --output FILE.jsonl",
            ) from error
        if newer:
            raise LedgerError(
                f"{self.path} was exported by a newer version", fix="pip install --upgrade negawatt"
            )
        return header

    def _row(self, line: str, number: int) -> Row:
        try:
            return row_of(json.loads(line))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LedgerError(
                f"line {number} of {self.path} is no entry: the file was cut or changed",
                fix="export the ledger again",
            ) from error
        except LedgerError as error:  # a NaN, or a time without zone
            raise LedgerError(
                f"line {number} of {self.path} is no entry: {error.what}",
                fix="export the ledger again; nothing of the file was taken",
            ) from error


def _moment(text: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text)
