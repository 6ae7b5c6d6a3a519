"""`negawatt ledger export`, `import` and `merge`: entries on their way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from negawatt.cli.ledger.look import KIND, SINCE
from negawatt.cli.ledger.place import (
    FILE,
    LEDGER,
    Place,
    entries_word,
    file_source,
    is_parquet,
    place_of,
)

if TYPE_CHECKING:
    from negawatt.core.stores import Row
    from negawatt.ledger import Ledger
    from negawatt.ledger.merge import Header, Taken

_INTO = click.option(
    "--into", type=Place(), metavar="LEDGER", help="Where to; your own ledger by default."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@LEDGER
@KIND
@SINCE
@click.option(
    "--output",
    type=FILE,
    metavar="FILE",
    help="Write there: FILE.parquet as Parquet, others as lines.",
)
@_JSON
def export(
    *,
    ledger: str | Path | None,
    kind: str | None,
    since: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write entries with their hashes, as lines of JSON or as Parquet.

    LEDGER is verified first: an export vouches for what it carries. The first
    line says what the file holds, and each other one is an entry; so a file
    that was cut is noticed when it is read back by `negawatt ledger import`.

    \b
    Examples:
      negawatt ledger export > ledger.jsonl
      negawatt ledger export --since 2026-01-01 --output year.parquet
    """  # fmt: skip
    from negawatt.core.errors import UsageError
    from negawatt.ledger import open_ledger
    from negawatt.ledger.jsonlines import lines

    if as_json and output is None:
        raise UsageError("--json tells about a file", fix="name it with --output; lines are JSON")
    start = _stamp(since)
    with open_ledger(place_of(ledger), readonly=True) as opened:
        opened.verify()
        with opened.store.moment():
            header = _header(opened, kind, start)
            with closing(opened.store.read(kind, start)) as rows:
                if output is None:
                    for line in lines(header, rows, opened.place):
                        click.echo(line)
                    return
                _write(output, header, rows, opened.place)
    if as_json:
        click.echo(
            json.dumps({"file": str(output), "entries": header.entries, "whole": header.whole})
        )
    else:
        click.echo(f"written: {output}, {entries_word(header.entries)}", err=True)


@click.command(name="import")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@_INTO
@_JSON
def import_files(*, files: tuple[Path, ...], into: str | Path | None, as_json: bool) -> None:
    """Take the entries of exported files into a ledger.

    Each FILE was written by `negawatt ledger export`. It is verified first, and
    nothing is taken from one that does not hold. An entry keeps its id and its
    hash, and one that is there already is passed over.

    \b
    Examples:
      negawatt ledger import node1.jsonl node2.parquet --into team.db
    """
    from negawatt.ledger import open_ledger
    from negawatt.ledger.merge import take_in

    with open_ledger(place_of(into)) as target:
        taken = [take_in(target, file_source(path)) for path in files]
        _tell(target, taken, as_json=as_json)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=Place(), metavar="LEDGER...")
@_INTO
@_JSON
def merge(*, sources: tuple[str | Path, ...], into: str | Path | None, as_json: bool) -> None:
    """Take the entries of other ledgers into one.

    Each LEDGER is verified first. An entry is kept once, however often and by
    whatever way it comes. Entries that measured the same machine over the same
    time, as the ranks of one job do, are told: in a sum they count once.

    \b
    Examples:
      negawatt ledger merge node1.db node2.db --into team.db
      negawatt ledger merge nightly.db --into postgresql://db.example.org/energy
    """
    from negawatt.ledger import open_ledger
    from negawatt.ledger.merge import LedgerSource, take_in

    with open_ledger(place_of(into)) as target:
        taken = []
        for place in sources:
            with open_ledger(place, readonly=True) as source:
                taken.append(take_in(target, LedgerSource(source)))
        _tell(target, taken, as_json=as_json)


def _tell(target: Ledger, taken: list[Taken], *, as_json: bool) -> None:
    """What came of it, and what measured the same."""
    from negawatt.core.codec import encode
    from negawatt.ledger.overlap import shares
    from negawatt.reports.totals import below_zero

    entries = list(target.entries())
    twice, bad = shares(entries), [one.sequence for one in entries if below_zero(one.body)]
    if as_json:
        told = {"ledger": target.place, "taken": encode(taken), "overlaps": encode(twice)}
        told["below_zero"] = bad
        click.echo(json.dumps(told))
        return
    for one in taken:
        part = "" if one.whole else ", a selection of its ledger"
        click.echo(f"{one.source}: {entries_word(one.entries)} new, {one.known} known{part}")
    if bad:
        click.echo(
            f"{entries_word(len(bad))} with a figure below zero, kept as they were written and"
            f" left out of every sum: {', '.join(map(str, bad[:8]))}{', …' if len(bad) > 8 else ''}"
        )
    if twice:
        click.echo(
            f"{entries_word(len(twice))} measured what others measured too, and count once in a"
            f" sum: {', '.join(f'{key[:12]} ({share.counted:.0%})' for key, share in list(twice.items())[:8])}"
            f"{', …' if len(twice) > 8 else ''}"
        )


def _header(ledger: Ledger, kind: str | None, start: str | None) -> Header:
    """What the export will hold."""
    from negawatt.ledger.merge import Header

    head = ledger.store.head()
    count = head.sequence
    if kind is not None or start is not None:
        with closing(ledger.store.read(kind, start)) as rows:
            count = sum(1 for _ in rows)
    return Header(head.sequence, head.hash, count, ledger.store.kept())


def _stamp(since: str | None) -> str | None:
    from datetime import UTC, datetime

    from negawatt.ledger.entry import stamp
    from negawatt.ledger.since import parse_since

    return stamp(parse_since(since, datetime.now(UTC))) if since else None


def _write(output: Path, header: Header, rows: Iterable[Row], place: str) -> None:
    """Write a file that is whole or not there: beside its place first, then moved into it."""
    from negawatt.core.errors import OutputError
    from negawatt.ledger import parquet
    from negawatt.ledger.jsonlines import lines

    beside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if is_parquet(output):
            parquet.write(beside, header, rows)
        else:
            with beside.open("w", encoding="ascii", newline="\n") as stream:
                stream.writelines(f"{line}\n" for line in lines(header, rows, place))
                stream.flush()
                os.fsync(stream.fileno())
        beside.replace(output)
    except OSError as error:
        raise OutputError(
            f"cannot write {output}: {error.strerror or error}",
            fix="free some space, or name a place you may write to",
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
