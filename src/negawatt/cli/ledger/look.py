"""`negawatt ledger list` and `show`: what stands in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from negawatt.cli.ledger.place import LEDGER, Place, place_of

if TYPE_CHECKING:
    from negawatt.ledger import Entry

KIND = click.option("--kind", metavar="KIND", help="Only entries of this kind, such as measure.")
SINCE = click.option(
    "--since", metavar="TIME", help="Only entries since a date, a time or 7d, 24h, 30min."
)


@click.command(name="list")
@LEDGER
@KIND
@SINCE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each entry.")
def list_entries(
    *, ledger: str | Path | None, kind: str | None, since: str | None, as_json: bool
) -> None:
    """List entries of LEDGER, oldest first.

    \b
    Examples:
      negawatt ledger list --since 24h
      negawatt ledger list team.db --kind optimize --json
    """
    from negawatt.reports.totals import Grid, name_of, shown_figures

    for entry in _entries(ledger, kind, since):
        if as_json:
            click.echo(line_of(entry))
            continue
        figures = shown_figures(entry, Grid())
        energy = str(figures["energy"]) if "energy" in figures else "energy unknown"
        click.echo(
            f"{entry.sequence:>6}  {entry.time:%Y-%m-%d %H:%M:%S}  {entry.kind:<9}"
            f"  {name_of(entry.body)}  {energy}"
        )


@click.command()
@click.argument("entry")
@click.option("--ledger", type=Place(), metavar="LEDGER", help="Which ledger; your own by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(*, entry: str, ledger: str | Path | None, as_json: bool) -> None:
    """Show one entry in full, and what else measured the same.

    ENTRY is its number, or the beginning of its id, which is the same in every
    ledger that holds it.

    \b
    Examples:
      negawatt ledger show 41
      negawatt ledger show 9f86d081 --ledger team.db --json
    """
    from negawatt.core.codec import encode
    from negawatt.ledger import open_ledger
    from negawatt.ledger.overlap import shares

    with open_ledger(place_of(ledger), readonly=True) as opened:
        opened.verify()
        found = _found(list(opened.entries()), entry, opened.place)
        share = shares(opened.entries()).get(found.id)
    if as_json:
        click.echo(json.dumps({**encode(found), "id": found.id, "overlap": encode(share)}))
        return
    rows = [
        ("entry", f"{found.sequence}, {found.kind}"),
        ("id", found.id),
        ("written", f"{found.time:%Y-%m-%d %H:%M:%S} UTC by {found.who} on {found.host}"),
        ("machine", found.machine or "unknown"),
        ("versions", ", ".join(f"{k} {v}" for k, v in found.versions.items())),
    ]
    if found.origin is not None:
        rows.append(("origin", f"entry {found.origin.sequence} of another ledger, imported here"))
    if share is not None:
        same = ", ".join(one[:12] for one in share.same_as)
        rows.append(("counted", f"{share.counted:.0%} in a sum: measured too by {same}"))
    for label, text in rows:
        click.echo(f"{label:<9} {text}")
    click.echo(json.dumps(found.body, indent=2))  # ASCII: what was hashed, and no terminal's codes


def line_of(entry: Entry) -> str:
    """An entry as one line of JSON."""
    from negawatt.core.codec import encode

    return json.dumps(encode(entry))


def _entries(ledger: str | Path | None, kind: str | None, since: str | None) -> Iterator[Entry]:
    from datetime import UTC, datetime

    from negawatt.ledger import open_ledger
    from negawatt.ledger.since import parse_since

    moment = parse_since(since, datetime.now(UTC)) if since else None
    with open_ledger(place_of(ledger), readonly=True) as opened:
        yield from opened.entries(kind, moment)


def _found(entries: list[Entry], wanted: str, place: str) -> Entry:
    from negawatt.core.errors import UsageError

    by_number = [one for one in entries if str(one.sequence) == wanted]
    found = by_number or [one for one in entries if one.id.startswith(wanted.lower())]
    if len(found) != 1:
        fact = "no entry" if not found else f"{len(found)} entries"
        raise UsageError(
            f"{place} has {fact} {wanted!r}",
            fix="give a number that `negawatt ledger list` shows, or more of the id",
        )
    return found[0]
