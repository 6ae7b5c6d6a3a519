"""One entry, the text it is hashed over, and who wrote it."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Self

from negawatt.core.codec import encode
from negawatt.core.errors import LedgerError
from negawatt.core.stores import Row
from negawatt.ledger.machine import machine_id

#: What the first entry names as the hash before it.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Who writes, where, and with which versions."""

    who: str
    host: str
    versions: Mapping[str, str]
    machine: str = "unknown"  # see `negawatt.ledger.machine`

    @classmethod
    def here(cls) -> Self:
        """The current user, machine, and versions of negawatt and Python."""
        return cls(
            who=_user(),
            host=platform.node() or "unknown",
            versions={"negawatt": version("negawatt"), "python": platform.python_version()},
            machine=machine_id(),
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A place in a chain."""

    sequence: int
    previous: str  # hash of the entry before
    hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact of the ledger, chained to the one before it by `previous`."""

    sequence: int  # 1, 2, 3, ... without gaps
    time: datetime  # aware, UTC
    kind: str  # "measure", "optimize", ...
    who: str
    host: str
    body: Mapping[str, Any]
    versions: Mapping[str, str]
    previous: str  # hash of entry `sequence - 1`, or `GENESIS`
    hash: str  # SHA-256 over everything else here
    machine: str | None = None  # None in entries of schema 1
    origin: Link | None = None  # where an imported entry stood in the chain it was written in

    @property
    def id(self) -> str:
        """The same in every ledger that holds this entry: the hash it was written with."""
        return self.origin.hash if self.origin else self.hash


def canonical(value: object) -> str:
    r"""The one JSON text of a value: keys sorted, no spaces, ASCII, finite numbers.

    Raises:
        LedgerError: it holds what JSON cannot say, such as a not-a-number.

    >>> canonical({"b": 1.5, "a": "\N{MICRO SIGN}"})
    '{"a":"\\u00b5","b":1.5}'
    """
    try:
        return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"an entry cannot be kept as JSON: {error}",
            fix="give plain finite numbers, texts, lists, mappings or records;"
            " leave an unknown figure out",
        ) from error


def digest(row: Row) -> str:
    """SHA-256 of an entry's stored texts, its own hash left out.

    The texts are hashed as they are stored, so verifying needs no second
    rendering of the body and cannot disagree with a later version about it.
    An entry of schema 1 has none of the last four, and they are left out.
    """
    later = row[9:]
    fields = row[:8] if later == (None, None, None, None) else (*row[:8], *later)
    # A damaged file may hold bytes where a text was: they have a hash too, another one.
    return hashlib.sha256(json.dumps(fields, default=repr).encode("ascii")).hexdigest()


def sealed(row: Row) -> Row:
    """The row with its hash."""
    return row._replace(hash=digest(row))


def first_form(row: Row) -> Row:
    """An imported row as it stood in the chain it was written in; any other as it is."""
    if row.origin_sequence is None or row.origin_previous is None or row.origin_hash is None:
        return row
    return Row(
        row.origin_sequence, *row[1:7], row.origin_previous, row.origin_hash, row.machine
    )  # fmt: skip


def entry_of(row: Row) -> Entry:
    """A stored row with its texts read.

    Raises:
        ValueError: a text is not what it should be.
    """
    origin = None
    if row.origin_sequence is not None:
        origin = Link(row.origin_sequence, str(row.origin_previous), str(row.origin_hash))
    return Entry(
        row.sequence, datetime.fromisoformat(row.time), row.kind, row.who, row.host,
        json.loads(row.body), json.loads(row.versions), row.previous, row.hash,
        row.machine, origin,
    )  # fmt: skip


def stamp(moment: datetime) -> str:
    """A time as fixed-width UTC text, so that the order of texts is the order of times.

    >>> stamp(datetime(2026, 1, 2, tzinfo=UTC))
    '2026-01-02T00:00:00.000000+00:00'
    """
    if moment.tzinfo is None:
        raise LedgerError(
            f"{moment} does not say its time zone", fix="give an aware time, for example in UTC"
        )
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def plain(text: str, what: str) -> str:
    """A text that every store keeps: not empty, printable, no lone half of a character.

    Raises:
        LedgerError: naming what it is.
    """
    if not text or not text.isprintable():
        raise LedgerError(
            f"the {what} of an entry cannot be {text!r}", fix="give a short printable text"
        )
    return text


def told(text: str) -> str:
    """A name that the system told, in a form that every store keeps: a lone byte is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under a number without a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
