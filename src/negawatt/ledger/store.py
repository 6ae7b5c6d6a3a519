"""The ledger: append-only, hash-chained, signed now and then, over whatever keeps its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.errors import LedgerError, UsageError
from negawatt.core.stores import STORES, Head, Make, Row, Store
from negawatt.ledger.chain import Chain, follow
from negawatt.ledger.checkpoint import Audit, Checkpoint, audited, read_checkpoint
from negawatt.ledger.entry import (
    Entry,
    Origin,
    canonical,
    entry_of,
    plain,
    sealed,
    stamp,
    told,
)
from negawatt.ledger.faults import broken
from negawatt.ledger.keys import Key
from negawatt.ledger.sqlite import SqliteStore

#: How the address of a database begins.
POSTGRES = ("postgresql://", "postgres://")


def open_ledger(
    place: Path | str,
    *,
    readonly: bool = False,
    clock: Clock | None = None,
    origin: Origin | None = None,
) -> Ledger:
    """Open a ledger, making it first unless `readonly`.

    Args:
        place: A file, or the address of a PostgreSQL database: `postgresql://host/name`.
        readonly: Change nothing; `append` is then refused.
        clock: Tells when an entry is written; the machine's by default.
        origin: Who writes; the current user, machine and versions by default.

    Raises:
        LedgerError: it is missing (`readonly`), is no ledger, is newer than
            this version, is damaged, or cannot be opened.
        RuntimeUnavailable: the address needs a package that is not installed.
        UsageError: it is an address of something else.
    """
    return Ledger(_store(place, readonly=readonly), clock or SystemClock(), origin)


def _store(place: Path | str, *, readonly: bool) -> Store:
    if isinstance(place, str) and place.startswith(POSTGRES):
        from negawatt.core import registry

        store: Store = registry.load(STORES, "postgres")(place, readonly=readonly)
        return store
    if isinstance(place, str) and "://" in place:
        raise UsageError(
            f"a ledger cannot lie in {place.partition('://')[0]}://…",
            fix="name a file, or the address of a database: postgresql://user@host/name",
        )
    return SqliteStore(Path(place), readonly=readonly)


class Ledger:
    """An open ledger. Use it in a `with` block, from the thread that opened it."""

    def __init__(self, store: Store, clock: Clock, origin: Origin | None = None) -> None:
        self.store = store
        self._clock = clock
        self._origin = origin

    @property
    def place(self) -> str:
        """Where it is: a path, or an address without its password."""
        return self.store.place

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Write one entry at the end and return it; when this returns it is on disk.

        Args:
            kind: What happened: "measure", "optimize".
            body: Records, mappings, lists, texts and finite numbers.

        Raises:
            LedgerError: the body is not JSON, the disk is full or read-only,
                or the end of the chain is not where it should be.
        """
        made: list[Row] = []
        make = self.drafted(kind, canonical(body))

        def kept(head: Head) -> Row | None:
            row = make(head)
            made.extend(filter(None, [row]))
            return row

        self.store.append([kept])
        return self._entry(made[0])

    def drafted(self, kind: str, body: str) -> Make:
        """What makes the row of a new entry when its turn has come.

        Args:
            kind: What happened.
            body: Canonical JSON.
        """
        plain(kind, "kind")
        writer = self._origin = self._origin or Origin.here()

        def make(head: Head) -> Row:
            row = Row(
                head.sequence + 1, stamp(self._clock.now()), kind, told(writer.who), told(writer.host), body,
                canonical(writer.versions), head.hash, "", writer.machine,
            )  # fmt: skip
            return sealed(row)

        return make

    def entries(self, kind: str | None = None, since: datetime | None = None) -> Iterator[Entry]:
        """Entries in order, one at a time.

        Args:
            kind: Only this kind.
            since: Only entries written at or after this aware time.
        """
        with closing(self.store.read(kind, stamp(since) if since else None)) as rows:
            for row in rows:
                yield self._entry(row)

    def head(self) -> Head:
        """Where the chain ends. Note it elsewhere to prove later that nothing moved."""
        return self.store.head()

    def verify(self, expect: Head | None = None) -> Head:
        """Follow the whole chain and return its end.

        Finds any entry edited, removed, added or reordered, and every kept
        checkpoint that no longer fits. Somebody who rewrites every later entry,
        the head and the checkpoints can forge a chain: to catch that, keep a
        checkpoint (see `audit`) or a `Head` elsewhere and hand it in.

        Raises:
            LedgerError: naming the first entry that is wrong, and how.
        """
        chain = self._followed((), () if expect is None else (expect,))[0]
        if expect is not None and expect not in chain.seen:
            raise broken(
                self.place,
                f"entry {expect.sequence} is not the one noted as {expect.hash[:12]}…:"
                " the chain was written anew",
                0,
            )
        return chain.head

    def audit(self, keys: Sequence[Key] = (), held: Sequence[Checkpoint] = ()) -> Audit:
        """Verify the chain, and the checkpoints with it.

        Args:
            keys: What signatures are checked with. A checkpoint of another key
                must be in the chain too, but covers nothing.
            held: Checkpoints kept elsewhere, besides those kept in the ledger.

        Raises:
            LedgerError: naming the first entry that is wrong, and how.
        """
        chain, checkpoints = self._followed(held)
        return audited(self.place, chain, checkpoints, keys)

    def checkpoint(self, key: Key) -> Checkpoint:
        """Verify everything, sign the end of the chain, and keep the signature in the ledger.

        The one that is returned belongs elsewhere too: with somebody who cannot
        write to this ledger.

        Raises:
            LedgerError: the ledger does not verify, is empty, or the key cannot sign.
        """
        chain, checkpoints = self._followed(())
        audited(self.place, chain, checkpoints, [key])
        if not chain.head.sequence:
            raise LedgerError(
                f"the ledger {self.place} is empty: there is nothing to sign",
                fix="measure something first (`negawatt measure --ledger FILE -- CMD`)",
            )
        writer = self._origin = self._origin or Origin.here()
        made = Checkpoint(
            ledger=chain.first, sequence=chain.head.sequence, hash=chain.head.hash,
            time=stamp(self._clock.now()), who=writer.who, algorithm=key.algorithm, key=key.id,
        ).signed_with(key)  # fmt: skip
        self.store.keep(made.text)
        return made

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Those kept in the ledger, in order."""
        return tuple(read_checkpoint(text) for text in self.store.kept())

    def close(self) -> None:
        """Let go of it; calling twice is harmless."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _followed(
        self, held: Sequence[Checkpoint], expected: Sequence[Head] = ()
    ) -> tuple[Chain, tuple[Checkpoint, ...]]:
        """The whole chain at one moment, and all checkpoints."""
        with self.store.moment():
            checkpoints = (*self.checkpoints(), *held)
            watched = {*expected, *(one.head for one in checkpoints)}
            with closing(self.store.read()) as rows:
                chain = follow(rows, Chain(self.place, watched=watched))
            chain.end(self.store.head())
        return chain, checkpoints

    def _entry(self, row: Row) -> Entry:
        try:
            return entry_of(row)
        except (TypeError, ValueError) as error:
            raise broken(
                self.place, f"entry {row.sequence} cannot be read ({error})", row.sequence - 1
            ) from error
