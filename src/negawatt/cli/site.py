"""`negawatt site`: a site with its own solar and battery, cooling and water."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--size", is_flag=True, help="Find the best size of solar and battery too.")
@click.option("--example", is_flag=True, help="Print a file to begin with, and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, file: Path | None, size: bool, example: bool, as_json: bool) -> None:
    """Run a site with its own solar, battery and cooling at the fewest grams.

    FILE says in TOML what the site draws, what its grid emits, what its panels and its battery
    are, which jobs may wait and how it is cooled. Told are the flows, grams and litres with their
    intervals, and what free cooling, solar, battery and waiting each saved. All of it is modelled.

    \b
    Examples:
      negawatt site --example > roof.toml
      negawatt site roof.toml
      negawatt site roof.toml --size
    """  # fmt: skip
    from negawatt.core.errors import UsageError
    from negawatt.wiring import site as wired

    if example:
        click.echo(wired.example(), nl=False)
        return
    if file is None:
        raise UsageError(
            "no file was named", fix="write one, beginning with `negawatt site --example`"
        )
    found = wired.site(file, size=size)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.sited import show

    show(found, Console(highlight=False))
