"""Follow a chain from row to row and name the first that is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from negawatt.core.stores import Head, Row
from negawatt.ledger.entry import GENESIS, digest, first_form
from negawatt.ledger.faults import broken


class Chain:
    """The links of one ledger, checked in order.

    Args:
        place: What messages call the ledger.
        whole: True when every row must be there; False for a selection, in
            which rows may lack but none may be wrong.
        watched: Heads that are looked for on the way: `seen` tells which are in
            this chain, `imported` which are in one that entries came from.
    """

    def __init__(self, place: str, *, whole: bool = True, watched: Iterable[Head] = ()) -> None:
        self.head = Head(0, GENESIS)
        self.first = ""  # hash of entry 1, once it has been seen: the name of this chain
        self.rows = 0
        self._place = place
        self._whole = whole
        self._watched = frozenset(watched)
        self.seen: set[Head] = {self.head}
        self.imported: set[Head] = set()
        self.back: list[int] = []  # entries dated before what their machine had written before
        self._latest: dict[str | None, str] = {}  # machine -> the time of its last entry

    def add(self, row: Row) -> None:
        """Check the next row.

        Raises:
            LedgerError: it was changed, it does not follow, or one before it is missing.
        """
        last = self.head
        if self._whole or row.sequence <= last.sequence:
            self._check_order(row)
        name = f"entry {row.sequence} ({row.kind}, {row.time})"
        if digest(row) != row.hash:
            raise broken(self._place, f"{name} was changed after it was written", last.sequence)
        if row.sequence == last.sequence + 1 and row.previous != last.hash:
            raise broken(
                self._place,
                f"{name} does not follow entry {last.sequence}: one of them was replaced or moved",
                max(last.sequence - 1, 0),
            )
        if row.origin_hash is not None:
            self._check_origin(row, name)
        if row.sequence == 1:
            self.first = row.hash
        if row.origin_hash is None:  # imported ones come in the order of the imports
            if row.time < self._latest.get(row.machine, ""):
                self.back.append(row.sequence)
            self._latest[row.machine] = row.time
        self.head = Head(row.sequence, row.hash)
        self.rows += 1
        if self._watched:
            self._watch(row)

    def end(self, head: Head) -> None:
        """Check that the chain ends where it was said to end.

        Raises:
            LedgerError: entries were cut from its end, or the last was replaced.
        """
        last = self.head
        if head == last:
            return
        if head.sequence > last.sequence:
            fact = (
                f"entry {last.sequence + 1} is missing: {last.sequence} entries are here,"
                f" and {head.sequence} were written"
            )
        elif head.sequence < last.sequence:
            fact = f"entry {head.sequence + 1} was added behind the end of the chain"
        else:
            fact = f"entry {last.sequence} is not the one that the chain ended with"
        raise broken(self._place, fact, min(last.sequence, max(head.sequence - 1, 0)))

    def _check_order(self, row: Row) -> None:
        last = self.head.sequence
        if row.sequence > last + 1:
            raise broken(self._place, f"entry {last + 1} is missing", last)
        if row.sequence <= last:
            raise broken(self._place, f"entry {row.sequence} stands behind entry {last}", last)

    def _check_origin(self, row: Row, name: str) -> None:
        if digest(first_form(row)) != row.origin_hash:
            raise broken(
                self._place,
                f"{name} was imported, and is not the entry it is said to have been",
                self.head.sequence,
            )

    def _watch(self, row: Row) -> None:
        if self.head in self._watched:
            self.seen.add(self.head)
        if row.origin_sequence is not None and row.origin_hash is not None:
            origin = Head(row.origin_sequence, row.origin_hash)
            if origin in self._watched:
                self.imported.add(origin)


def follow(rows: Iterable[Row], chain: Chain) -> Chain:
    """Check every row in turn."""
    for row in rows:
        chain.add(row)
    return chain
