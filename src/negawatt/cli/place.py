"""`negawatt place`: which machines read and which write, at least carbon or energy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from negawatt.decisions.placement.records import Aim


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--for",
    "aim",
    type=click.Choice(["carbon", "energy"]),
    default="carbon",
    show_default=True,
    help="What is to be least.",
)
@click.option("--example", is_flag=True, help="Print a file to begin with, and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, file: Path | None, aim: Aim, example: bool, as_json: bool) -> None:
    """Choose which machines read and which write for whom.

    FILE says in TOML which sites, machines and models there are, and which requests arrive. Prompts may
    be read on one kind of machine and replies written on another, if sending the keys and values
    pays. The choice is exact but for the gap that is told, and explained. All of it is modelled.

    \b
    Examples:
      negawatt place --example > fleet.toml
      negawatt place fleet.toml --for carbon
    """  # fmt: skip
    from negawatt.core.errors import UsageError
    from negawatt.wiring import place as wired

    if example:
        click.echo(wired.example(), nl=False)
        return
    if file is None:
        raise UsageError(
            "no file was named", fix="write one, beginning with `negawatt place --example`"
        )
    found = wired.place(file, aim)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.placed import show

    show(found, Console(highlight=False))
