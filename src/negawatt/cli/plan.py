"""`negawatt plan`: when and where a job runs cleanest."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from negawatt.core.errors import UsageError

_POWER_W = 100.0  # grams are proportional to it, and the choice does not depend on it


@click.command()
@click.option("--duration", metavar="TIME", help="How long it runs: 90min, 12h.")
@click.option(
    "--deadline",
    default="+24h",
    show_default=True,
    metavar="WHEN",
    help="When it has to have ended: 2026-12-01T07:00Z, or +36h from the start.",
)
@click.option(
    "--start",
    metavar="WHEN",
    help="When it could start, such as 2026-12-01T18:00Z; now by default.",
)
@click.option(
    "--zone",
    "zones",
    multiple=True,
    metavar="ZONE",
    help="Where it may run, the usual place first; several with several --zone.",
)
@click.option(
    "--sites",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Places with their buildings, devices, latencies and the data to be moved, instead.",
)
@click.option("--example", is_flag=True, help="Print a file of sites to begin with.")
@click.option(
    "--power",
    type=click.FloatRange(min=0, min_open=True),
    metavar="W",
    help="What one node draws; 100 W if not given, and shares do not depend on it.",
)
@click.option("--interruptible", is_flag=True, help="It may be stopped and go on later.")
@click.option("--restart", metavar="TIME", help="Running time that each going-on costs.")
@click.option("--min-run", metavar="TIME", help="How long it runs at a stretch at least.")
@click.option(
    "--scaling",
    metavar="S,S,...",
    help="Speed on 1, 2, ... nodes beside that on one, such as 1,1.9,2.6: it may be spread.",
)
@click.option("--longest", metavar="TIME", help="How long it runs at most, if that is unsure.")
@click.option(
    "--idle-power",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="W",
    help="Drawn while it waits, by hardware that is reserved for it.",
)
@click.option(
    "--price-weight",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="G",
    help="Grams that a unit of money is worth; needs a provider of prices.",
)
@click.option(
    "--provider",
    metavar="ADDRESS",
    help="Who tells the hours, such as uk://, or a CSV file of them.",
)
@click.option("--name", default="the job", show_default=True, help="What to call it.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a page with the curve and the chosen hours.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    duration: str | None,
    deadline: str,
    start: str | None,
    zones: tuple[str, ...],
    sites: Path | None,
    example: bool,
    power: float | None,
    interruptible: bool,
    restart: str | None,
    min_run: str | None,
    scaling: str | None,
    longest: str | None,
    idle_power: float,
    price_weight: float,
    provider: str | None,
    name: str,
    html: Path | None,
    as_json: bool,
) -> None:
    """Tell when and where a job runs cleanest, and why.

    Hours come from the providers of the settings (`negawatt grid --providers`); without one, from
    built-in typical hours of the zone. The saving is told beside running at once in the zone that
    is named first. Nothing is run: `negawatt run` does that.

    \b
    Examples:
      negawatt plan --zone DE --duration 4h --deadline +24h
      negawatt plan --zone DE --zone FR --zone SE-SE3 --duration 12h --deadline +36h --html plan.html
      negawatt plan --sites sites.toml --duration 12h --deadline +2d
      negawatt plan --zone GB --provider uk:// --duration 90min --interruptible --restart 2min --json
    """
    from negawatt.actions.run.asked import moment, seconds
    from negawatt.decisions.when import Job
    from negawatt.reports import planned
    from negawatt.wiring import plan as wired

    if example:
        click.echo(wired.example(), nl=False)
        return
    if duration is None:
        raise UsageError("how long the job runs is not told", fix="give --duration, such as 4h")
    now = wired.clock()
    release, since = moment(start, now, "start") if start else (now, "")
    end, until = moment(deadline, release)
    _refuse_past(end, now)
    job = Job(
        name=name,
        work_s=seconds(duration),
        power_w=_POWER_W if power is None else power,
        release=release,
        deadline=end,
        interruptible=interruptible,
        restart_s=seconds(restart) if restart else 0.0,
        min_run_s=seconds(min_run) if min_run else 0.0,
        scaling=_numbers(scaling),
        work_high_s=seconds(longest) if longest else None,
        idle_w=idle_power,
    )
    found = wired.plan(job, zones, sites=sites, provider=provider, price_weight=price_weight)
    for note in filter(None, (since, until)):
        click.echo(note, err=True)
    if html is not None:
        from negawatt.reports.files import replace_all

        replace_all({html: planned.page(found)})
    if as_json:
        click.echo(json.dumps(planned.record(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    planned.show(found, Console(highlight=False))
    if html is not None:
        click.echo(f"the page is in {html}")


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise UsageError(
            f"--scaling {text!r} are no numbers", fix="write the speeds as 1,1.9,2.6"
        ) from error


def _refuse_past(deadline: datetime, now: datetime) -> None:
    if deadline <= now:
        raise UsageError(
            f"the deadline {deadline:%Y-%m-%d %H:%M} UTC is past: it is {now:%Y-%m-%d %H:%M} UTC",
            fix="give a later --deadline, such as +24h",
        )
