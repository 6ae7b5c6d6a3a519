"""Take the entries of other ledgers in: each once, with the proof of where it stood before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain as one_after_another
from typing import Protocol

from negawatt.core.errors import LedgerError
from negawatt.core.stores import Head, Make, Row
from negawatt.ledger.chain import Chain
from negawatt.ledger.checkpoint import audited, read_checkpoint
from negawatt.ledger.entry import canonical, first_form, sealed
from negawatt.ledger.faults import broken
from negawatt.ledger.store import Ledger

IMPORT = "import"  # the kind of the entry that records an import


@dataclass(frozen=True, slots=True)
class Header:
    """What an export says of itself."""

    sequence: int  # the end of the ledger it was taken from
    hash: str
    entries: int  # how many of the ledger's entries it holds
    checkpoints: tuple[str, ...] = ()  # as `Checkpoint.text`

    @property
    def whole(self) -> bool:
        """True when it holds every entry of the ledger."""
        return self.entries == self.sequence


class Source(Protocol):
    """Where entries are taken from: a ledger, or a file that was exported from one."""

    @property
    def name(self) -> str:
        """How messages name it."""

    def opened(self) -> AbstractContextManager[tuple[Header, Callable[[], Iterator[Row]]]]:
        """What it says of itself, and what reads its rows from the beginning, at one moment."""


@dataclass(frozen=True, slots=True)
class LedgerSource:
    """A ledger that entries are taken from."""

    ledger: Ledger

    @property
    def name(self) -> str:
        """Its place."""
        return self.ledger.place

    @contextmanager
    def opened(self) -> Iterator[tuple[Header, Callable[[], Iterator[Row]]]]:
        """The whole ledger."""
        store = self.ledger.store
        with store.moment():
            head = store.head()
            yield Header(head.sequence, head.hash, head.sequence, store.kept()), store.read


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of an import.

    Args:
        source: Where entries were taken from.
        entries: How many were new here.
        known: How many were here already.
        head: The end of the ledger they come from.
        whole: False when the source was a selection: what it lacks cannot be told.
    """

    source: str
    entries: int
    known: int
    head: Head
    whole: bool


def checked(source: Source) -> Chain:
    """Follow the chain of a source, and its checkpoints, without taking anything.

    Raises:
        LedgerError: an entry was changed, or one that should be there is missing.
    """
    with source.opened() as (header, rows):
        return _checked(source.name, header, rows())


def take_in(ledger: Ledger, source: Source) -> Taken:
    """Add the entries of a source that are not here yet, and one that records the import.

    An entry keeps the hash it was written with (`Entry.id`) and its place in
    its first chain (`Entry.origin`), however many ledgers it comes through;
    taking it in twice changes nothing. The source is verified first, and
    nothing is taken from one that does not hold. All are added, or none.

    Raises:
        LedgerError: the source does not verify, or this ledger cannot be written.
    """
    with source.opened() as (header, rows):
        chain = _checked(source.name, header, rows())
        known = _ids(ledger)
        missing = {row.id for row in rows() if _key(row.id) not in known and row.kind != IMPORT}
        added = 0
        if missing:  # records of imports alone are no news: two ledgers would never be even
            record = _Record(ledger, source.name, header, chain.first)
            wanted = (row for row in rows() if _key(row.id) not in known)
            makes = (_moved(row) for row in wanted)
            ledger.store.append(one_after_another([record.begin], makes, [record.make]))
            added = record.added
    return Taken(
        source.name, added, chain.rows - added, Head(header.sequence, header.hash), header.whole
    )


class _Record:
    """The entry that says what was imported: made last, when it is known what was new."""

    def __init__(self, ledger: Ledger, source: str, header: Header, first: str) -> None:
        self._ledger = ledger
        self._said = {
            "name": f"import {source}",
            "source": source,
            "ledger": first,
            "head": asdict(Head(header.sequence, header.hash)),
            "whole": header.whole,
            "checkpoints": list(header.checkpoints),
        }
        self._start = 0
        self.added = 0

    def begin(self, head: Head) -> None:
        """Note where the ledger ends before anything is added."""
        self._start = head.sequence

    def make(self, head: Head) -> Row | None:
        """The entry; None when somebody else has imported the same meanwhile."""
        self.added = head.sequence - self._start
        if not self.added:
            return None
        body = canonical({**self._said, "entries": self.added})
        return self._ledger.drafted(IMPORT, body)(head)


def _moved(row: Row) -> Make:
    """What makes the row of an entry that stood in another chain before."""
    first = first_form(row)

    def make(head: Head) -> Row:
        moved = first._replace(
            sequence=head.sequence + 1,
            previous=head.hash,
            origin_sequence=first.sequence,
            origin_previous=first.previous,
            origin_hash=first.hash,
        )
        return sealed(moved)

    return make


def _checked(name: str, header: Header, rows: Iterator[Row]) -> Chain:
    checkpoints = [read_checkpoint(text) for text in header.checkpoints]
    chain = Chain(name, whole=header.whole, watched=[one.head for one in checkpoints])
    for row in rows:
        chain.add(row)
    if header.whole:
        chain.end(Head(header.sequence, header.hash))
        audited(name, chain, checkpoints, keys=())
    elif chain.rows != header.entries or chain.head.sequence > header.sequence:
        fact = f"{header.entries} entries were exported, and {chain.rows} are here"
        raise broken(name, fact, 0)
    return chain


def _ids(ledger: Ledger) -> set[bytes]:
    with closing(ledger.store.read()) as rows:
        return {_key(row.id) for row in rows}


def _key(entry_id: str) -> bytes:
    """An id in a quarter of the memory."""
    try:
        return bytes.fromhex(entry_id)
    except ValueError as error:
        raise LedgerError(
            f"{entry_id[:70]!r} is no hash", fix="run `negawatt ledger verify` on both ledgers"
        ) from error
