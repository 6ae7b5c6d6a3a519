"""`negawatt grid`: what the grid of a zone does in the hours ahead, or did."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("zone", required=False)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=24 * 366),
    default=48.0,
    show_default=True,
    help="How many hours, ahead or back.",
)
@click.option("--past", is_flag=True, help="What happened instead of what lies ahead.")
@click.option("--price", is_flag=True, help="The day-ahead price instead of the intensity.")
@click.option("--provider", metavar="ADDRESS", help="Whom to ask instead of grid.providers.")
@click.option(
    "--providers", "listed", is_flag=True, help="List who can be asked, and which key is missing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    zone: str | None,
    hours: float,
    past: bool,
    price: bool,
    provider: str | None,
    listed: bool,
    as_json: bool,
) -> None:
    """Show the carbon intensity of ZONE in the hours ahead, or what it was.

    From the best that can be had: a live forecast, a kept one, one made from history, typical hours
    that are built in, the mean of a year. What it is, how old, and what failed on the way is told.
    Without ZONE, that of the settings.

    \b
    Examples:
      negawatt grid DE --hours 24
      negawatt grid GB --provider uk://
      negawatt grid DK-DK1 --price --past --provider energinet://
      negawatt grid --providers
    """  # fmt: skip
    from negawatt.wiring import grid as wired

    if listed:
        _list(as_json=as_json)
        return
    told = wired.told(zone, hours, past=past, price=price, provider=provider)
    if as_json:
        from negawatt.reports.hours import as_mapping

        click.echo(json.dumps(as_mapping(told), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.hours import show

    show(told, Console(highlight=False))


def _list(*, as_json: bool) -> None:
    from negawatt.core.codec import encode
    from negawatt.wiring.grid import providers

    found = providers()
    if as_json:
        click.echo(json.dumps({"providers": encode(found)}, ensure_ascii=False))
        return
    from rich.console import Console

    from negawatt.reports.hours import show_providers

    show_providers(found, Console(highlight=False))
