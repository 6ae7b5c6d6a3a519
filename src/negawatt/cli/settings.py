"""`negawatt settings`: what is set, and by whom."""

from __future__ import annotations

import json

import click

from negawatt import settings as tree


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool) -> None:
    """List every setting with its value and where it came from.

    A flag is stronger than the environment, the environment than a file, a
    file than the default. Files are negawatt.toml in the current folder, then
    negawatt/negawatt.toml in the configuration folder of your account.

    \b
    Example:
      NEGAWATT_WORKLOAD=batch negawatt settings
    """
    current = tree.load()
    if as_json:
        table = {
            row.name: {
                "value": row.value or None,
                "origin": row.origin,
                "description": row.description,
            }
            for row in tree.rows(current)
        }
        click.echo(json.dumps({"settings": table, "ignored": current.ignored}, indent=2))
        return
    rows = tree.rows(current)
    name_width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{row.name:<{name_width}}  {row.value or '(unset)'}  [{row.origin}]")
        click.echo(f"{'':<{name_width}}  {row.description}")
    for variable in current.ignored:
        click.echo(f"note: {variable} names no setting and is not read", err=True)
