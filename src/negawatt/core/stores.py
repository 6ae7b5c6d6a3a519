"""The seam behind a ledger: a store keeps rows of text, and knows nothing of their hashes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

#: Where `negawatt.core.registry` finds stores by name.
STORES = "negawatt.stores"


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain. Kept elsewhere, it proves later that nothing before it moved."""

    sequence: int  # 0 for an empty ledger
    hash: str


class Row(NamedTuple):
    """One entry as it is stored: the texts that were hashed, byte for byte.

    The three `origin` fields say where an imported entry stood in the chain it
    was written in; they are None for an entry that was written here.
    """

    sequence: int  # 1, 2, 3, ... without gaps
    time: str  # UTC, of fixed width, so that text order is time order
    kind: str
    who: str
    host: str
    body: str  # canonical JSON
    versions: str  # canonical JSON
    previous: str
    hash: str
    machine: str | None = None
    origin_sequence: int | None = None
    origin_previous: str | None = None
    origin_hash: str | None = None

    @property
    def id(self) -> str:
        """The hash it was written with first: the same in every ledger that holds it."""
        return self.origin_hash or self.hash


#: Makes the row that follows a head; None when there is nothing to write after all.
Make = Callable[[Head], Row | None]


@runtime_checkable
class Store(Protocol):
    """Keeps the rows of one ledger (entry point `negawatt.stores`).

    Rows are added at the end and never change: the store's own rules refuse an
    update or a removal. Every failure is a `LedgerError` that names the place.
    """

    @property
    def place(self) -> str:
        """How messages name it: a path, or an address without its password."""

    def append(self, makes: Iterable[Make]) -> int:
        """Add rows at the end, all or none, and return how many; then they are on disk.

        While it runs nobody else writes. Each of `makes` is called in turn with
        the head it is to follow. A row with an `origin_hash` that a row here
        already has as its `id` is passed over: the same entry is kept once.
        """

    def read(self, kind: str | None = None, since: str | None = None) -> Generator[Row, None, None]:
        """Rows in order of `sequence`, of one kind and from a time on when asked; close it when leaving early."""

    def head(self) -> Head:
        """Where the store says that the chain ends."""

    def keep(self, checkpoint: str) -> None:
        """Add the text of a checkpoint beside the rows."""

    def kept(self) -> tuple[str, ...]:
        """The texts of all checkpoints, in the order they were kept."""

    def moment(self) -> AbstractContextManager[None]:
        """Reads inside it see one moment, whoever else writes; the medium is checked first."""

    def close(self) -> None:
        """Let go of it; calling twice is harmless."""
