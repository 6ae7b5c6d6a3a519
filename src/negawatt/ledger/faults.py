"""What goes wrong with a ledger, in our words: the fact, then the fix."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from negawatt.core.errors import LedgerError

_WORDS = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: (
            "the disk is full",
            "free some space and run again; every earlier entry is safe",
        ),
        sqlite3.SQLITE_IOERR: (
            "the disk refused to read or write",
            "check the disk and its quota, then run `negawatt ledger verify`",
        ),
        sqlite3.SQLITE_READONLY: (
            "it is read-only",
            "give yourself write permission, or name another file with NEGAWATT_LEDGER",
        ),
        sqlite3.SQLITE_PERM: (
            "there is no permission",
            "give yourself permission, or name another file with NEGAWATT_LEDGER",
        ),
        sqlite3.SQLITE_CANTOPEN: (
            "the file cannot be opened",
            "check that its folder lets you write, or name another file with NEGAWATT_LEDGER",
        ),
        sqlite3.SQLITE_NOTADB: (
            "this is not a ledger",
            "name a ledger, or remove the file if it is of no use",
        ),
        sqlite3.SQLITE_CORRUPT: (
            "the file is damaged",
            "restore it from a backup; `sqlite3 FILE .recover` may save its entries",
        ),
        sqlite3.SQLITE_BUSY: (
            "another program has held it for too long",
            "close what writes to it (`fuser FILE` names it), then run again",
        ),
    }
)


def broken(place: str, fact: str, good: int) -> LedgerError:
    """What is said of a chain that does not hold; entries 1 to `good` of it do."""
    trust = f"entries 1 to {good} still verify; " if good else ""
    return LedgerError(
        f"the ledger {place} does not verify: {fact}",
        fix=f"{trust}restore it from a backup, or move it aside and begin a new one",
    )


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """Turn any SQLite error inside the block into a `LedgerError` about `path`."""
    try:
        yield
    except sqlite3.Error as error:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extended part
        fact, fix = _WORDS.get(
            primary, (str(error), "run `negawatt ledger verify`; restore from a backup if it fails")
        )
        raise LedgerError(f"cannot {doing} the ledger {path}: {fact}", fix=fix) from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged page in its message
        fact, fix = _WORDS[sqlite3.SQLITE_CORRUPT]
        raise LedgerError(f"cannot {doing} the ledger {path}: {fact}", fix=fix) from error
    except OSError as error:
        raise LedgerError(
            f"cannot {doing} the ledger {path}: {error.strerror or error}",
            fix="check the path and its permissions, or name another file with NEGAWATT_LEDGER",
        ) from error
