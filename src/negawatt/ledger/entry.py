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

#: What the first entry names as the hash before it.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Who writes, where, and with which versions."""

    who: str
    host: str
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Self:
        """The current user, machine, and versions of negawatt and Python."""
        return cls(
            who=_user(),
            host=platform.node() or "unknown",
            versions={"negawatt": version("negawatt"), "python": platform.python_version()},
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain. Kept elsewhere, it proves later that nothing before it moved."""

    sequence: int  # 0 for an empty ledger
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
    hash: str  # SHA-256 over everything above


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


def digest(fields: tuple[int, str, str, str, str, str, str, str]) -> str:
    """SHA-256 of an entry's stored texts: sequence, time, kind, who, host, body, versions, previous.

    The texts are hashed as they are stored, so verifying needs no second
    rendering of the body and cannot disagree with a later version about it.
    """
    return hashlib.sha256(json.dumps(fields).encode("ascii")).hexdigest()


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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under a number without a name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
