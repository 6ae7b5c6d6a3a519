"""`negawatt ledger`: look into the ledger, verify it, take it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from negawatt.ledger import Entry, Head

_LEDGER = click.argument(
    "ledger", required=False, type=click.Path(dir_okay=False, path_type=Path), metavar="[LEDGER]"
)


@click.group()
def command() -> None:
    """Look into the ledger and verify it.

    The ledger keeps what was measured. Each entry is chained to the one before
    it by a hash, so an entry that was edited, removed or moved is found. LEDGER
    is your own ledger when left out.
    """


@command.command()
@_LEDGER
@click.option(
    "--expect", metavar="N:HASH", help="An end of the chain noted earlier: it must still be there."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, ledger: Path | None, expect: str | None, as_json: bool) -> None:
    """Follow the whole chain; the first entry that is wrong is named.

    The last line is the end of the chain. Note it elsewhere, and --expect
    proves later that nothing before it was rewritten.

    \b
    Examples:
      negawatt ledger verify
      negawatt ledger verify team.db --expect 41:9f86d081884c7d65...
    """  # fmt: skip
    from negawatt.ledger import open_ledger

    path = _place(ledger)
    noted = _head(expect)
    with open_ledger(path, readonly=True) as opened:
        head = opened.verify(expect=noted)
    if as_json:
        click.echo(json.dumps({"ledger": str(path), "sequence": head.sequence, "hash": head.hash}))
        return
    click.echo(f"{path}: {head.sequence} {'entry' if head.sequence == 1 else 'entries'}, all sound",
               err=True)  # fmt: skip
    click.echo(f"{head.sequence}:{head.hash}")


@command.command(name="list")
@_LEDGER
@click.option("--kind", metavar="KIND", help="Only entries of this kind, such as measure.")
@click.option(
    "--since", metavar="TIME", help="Only entries since a date, a time or 7d, 24h, 30min."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each entry.")
def list_entries(
    *, ledger: Path | None, kind: str | None, since: str | None, as_json: bool
) -> None:
    """List entries, oldest first.

    \b
    Examples:
      negawatt ledger list --since 24h
      negawatt ledger list team.db --kind optimize --json
    """
    from negawatt.reports.totals import Grid, name_of, shown_figures

    for entry in _entries(ledger, kind, since):
        if as_json:
            click.echo(_line(entry))
            continue
        figures = shown_figures(entry.body, Grid())
        energy = str(figures["energy"]) if "energy" in figures else "energy unknown"
        click.echo(
            f"{entry.sequence:>6}  {entry.time:%Y-%m-%d %H:%M:%S}  {entry.kind:<9}"
            f"  {name_of(entry.body)}  {energy}"
        )


@command.command()
@_LEDGER
@click.option("--kind", metavar="KIND", help="Only entries of this kind, such as measure.")
@click.option(
    "--since", metavar="TIME", help="Only entries since a date, a time or 7d, 24h, 30min."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write there instead of to standard output.",
)
def export(
    *, ledger: Path | None, kind: str | None, since: str | None, output: Path | None
) -> None:
    """Write entries as lines of JSON, hashes included.

    The chain is verified first: an export vouches for what it carries.

    \b
    Examples:
      negawatt ledger export > ledger.jsonl
      negawatt ledger export --since 2026-01-01 --output year.jsonl
    """  # fmt: skip
    from negawatt.ledger import open_ledger

    path = _place(ledger)
    with open_ledger(path, readonly=True) as opened:
        opened.verify()
    lines = (_line(entry) for entry in _entries(path, kind, since))
    if output is None:
        for line in lines:
            click.echo(line)
        return
    from negawatt.reports.files import replace_all

    replace_all({output: "".join(f"{line}\n" for line in lines)})
    click.echo(f"written: {output}", err=True)


def _place(ledger: Path | None) -> Path:
    from negawatt import settings

    return settings.load().paths.ledger if ledger is None else ledger


def _entries(ledger: Path | None, kind: str | None, since: str | None) -> Iterator[Entry]:
    from datetime import UTC, datetime

    from negawatt.ledger import open_ledger
    from negawatt.ledger.since import parse_since

    moment = parse_since(since, datetime.now(UTC)) if since else None
    with open_ledger(_place(ledger), readonly=True) as opened:
        yield from opened.entries(kind, moment)


def _line(entry: Entry) -> str:
    from negawatt.core.codec import encode

    return json.dumps(encode(entry))  # ASCII, so that no output can alter what was hashed


def _head(text: str | None) -> Head | None:
    from negawatt.core.errors import UsageError
    from negawatt.ledger import Head

    if text is None:
        return None
    number, _, own = text.partition(":")
    if not number.isdigit() or len(own) != 64:
        raise UsageError(
            f"{text!r} is not the end of a chain",
            fix="give the line that `negawatt ledger verify` printed, N:HASH",
        )
    return Head(int(number), own)
