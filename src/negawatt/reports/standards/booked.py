"""The energy a ledger's entries of one kind and name add up to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger import open_ledger
from negawatt.ledger.since import parse_since
from negawatt.reports import book


def booked(
    path: Path, kind: str | None, name: str | None, since: str | None
) -> tuple[Estimate, Estimate | None, str]:
    """Energy and wall time of the chosen entries, and what they are called.

    The ledger is verified first. Entries of different names are not added,
    because one window may lie inside another.

    Args:
        path: Of the ledger.
        kind: Only entries of this kind.
        name: Only entries of this name.
        since: Only entries since a date, a time or an age.

    Raises:
        UsageError: no entry with an energy was chosen, or entries of several names.
        LedgerError: the ledger cannot be read, or does not verify.
    """
    moment = parse_since(since, datetime.now(UTC)) if since else None
    with open_ledger(path, readonly=True) as ledger:
        read = book.read_book(ledger, book.Choice(kind, name, moment))
    known = [total for total in read.totals if "energy" in total.sums]
    if not known:
        raise UsageError(
            f"{path} holds no energy of {read.choice}",
            fix="choose other entries, or give the energy: --energy 12kWh",
        )
    if len(known) > 1:
        names = ", ".join(f"{total.name} ({total.kind})" for total in known)
        raise UsageError(
            f"entries of {len(known)} names have no sum, because windows may lie in one another",
            fix=f"choose one with --name, or --kind as well: {names}",
        )
    (total,) = known
    wall = total.sums.get("wall_seconds")
    whole = wall is not None and wall.known == total.entries
    title = f"Footprint of {total.name}, {total.entries} entries of {path.name}"
    return total.sums["energy"].estimate, wall.estimate if wall and whole else None, title
