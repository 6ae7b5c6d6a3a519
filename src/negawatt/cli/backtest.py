"""`negawatt backtest`: what policies would have emitted, had they known what was known then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

_POLICIES = ("contiguous", "interruptible", "threshold", "stop-and-go", "lowest-slot")
_STUDIES = ("lets-wait-awhile", "lets-wait-awhile-nightly", "limits")


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--zone", help="Of a file that tells several.")
@click.option("--column", help="That holds the intensity, where rows name their zone.")
@click.option(
    "--signal",
    type=click.Choice(["average", "marginal"]),
    default="average",
    show_default=True,
    help="What the intensity is; the two are never mixed.",
)
@click.option(
    "--accounting",
    type=click.Choice(["life cycle", "direct"]),
    help="Which emissions it counts; not stated if not given.",
)
@click.option(
    "--unit",
    type=click.Choice(["g", "kg", "lb/MWh"]),
    default="g",
    show_default=True,
    help="Of CO2e in a kWh, or pounds in a MWh.",
)
@click.option("--naive-utc", is_flag=True, help="Times without a zone are UTC.")
@click.option("--from", "start", metavar="TIME", help="Leave out what lies before.")
@click.option("--to", "end", metavar="TIME", help="Leave out what lies after.")
@click.option(
    "--jobs",
    default="every 1h",
    show_default=True,
    metavar="SPEC",
    help='"every 1h", "daily 01:00", "workdays 09:00-16:30", "lets-wait-awhile semi-weekly" for the '
    "jobs of that study, or a CSV with columns release (or "
    "arrival_time), duration (or length), and if wanted deadline, slack, power_w, cpus.",
)
@click.option("--duration", default="4h", show_default=True, help="Of a job.")
@click.option(
    "--slack",
    default="24h",
    show_default=True,
    help='How much later a job may begin; "2x" for twice its length.',
)
@click.option(
    "--power", "power_w", type=float, default=1000.0, show_default=True, help="Of a job. [W]"
)
@click.option(
    "--jobs-unit",
    type=click.Choice(["s", "m", "h"]),
    default="s",
    show_default=True,
    help="Of numbers in the CSV of jobs.",
)
@click.option("--jobs-begin", metavar="TIME", help="What moment 0 of that CSV is.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME",
    help=f"{', '.join(_POLICIES)}; may be given again. Run now and both oracles are always there.",
)
@click.option(
    "--forecast",
    "forecasts",
    multiple=True,
    metavar="NAME",
    help="What a policy knows: persistence, last-week, mean28, own, recorded, recorded-day, revised, "
    "noisy-oracle, perfect; may be given again.",
)
@click.option("--forecast-column", metavar="NAME", help="The forecast that is on record.")
@click.option(
    "--revision-step",
    metavar="TIME",
    help="Columns f1, f2, ... are forecasts made anew in each row; how far ahead each next one lies.",
)
@click.option("--noise", default="", metavar="SHARE", help="Of a noisy oracle, over the mean: 5%.")
@click.option("--seeds", type=click.IntRange(1), default=10, show_default=True, help="Of it.")
@click.option(
    "--replan",
    is_flag=True,
    help="Beside each policy that plans, one that plans anew in every slot, by the newest forecast.",
)
@click.option(
    "--threshold",
    default="30%",
    show_default=True,
    metavar="SHARE",
    help="Low enough is below this quantile of the last 28 days.",
)
@click.option(
    "--place",
    "places",
    multiple=True,
    metavar="ZONE|FILE[:ZONE]",
    help="Where jobs may run besides; may be given again.",
)
@click.option(
    "--by",
    "chosen_by",
    metavar="FILE[:ZONE]",
    help="Choose by this signal of the other kind (marginal, where FILE is average), and score by "
    "FILE.",
)
@click.option(
    "--by-unit", "chosen_unit", type=click.Choice(["g", "kg", "lb/MWh"]), default="g",
    show_default=True, help="Of that signal.",
)  # fmt: skip
@click.option(
    "--efficiency",
    type=float,
    default=1.0,
    show_default=True,
    help="Joules for the work done better, over those of run now.",
)
@click.option(
    "--variant",
    type=float,
    default=1.0,
    show_default=True,
    help="Joules of another variant, over those of the first.",
)
@click.option("--study", type=click.Choice(_STUDIES), help="Do a published experiment instead.")
@click.option(
    "--zones", metavar="ZONE,...|FILE:GROUP", help="Of the limits study; all of FILE if not given."
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="NAME",
    help="Of Let's Wait Awhile: next-workday, semi-weekly, next-monday; may be given again.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT",
    help="Also write a page with pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *, study: str | None, html_path: Path | None, as_json: bool, file: str, **asked: Any
) -> None:
    """Tell what policies would have emitted, each with what was known then.

    FILE, or FILE:ZONE, is a CSV of intensities in g per kWh, with a column of times and either a column for each
    zone or rows that name theirs; it may be gzipped. Every policy runs the same jobs, no job ends
    after its deadline, and the saving is against the same job begun at once in the same zone,
    with a 95 % interval drawn over days. The share of the oracle's saving that is kept stands
    beside it, and the saving is split into efficiency, time, place and variant by Shapley's value.

    \b
    Examples:
      negawatt backtest ci.csv:DE --duration 4h --slack 20h
      negawatt backtest ci.csv:DE --policy contiguous --forecast mean28 --noise 5%
      negawatt backtest ci.csv:DE --place SE --place FR --variant 0.6
      negawatt backtest ci.csv:GB --study lets-wait-awhile
      negawatt backtest zones.csv --study limits --duration 6h --slack 24h
    """  # fmt: skip
    from negawatt.core.codec import encode
    from negawatt.wiring import backtest as wired

    # what was not said keeps the default of `Question`
    given = {name: value for name, value in asked.items() if value not in (None, ())}
    found: Any = wired.study(study, file, **given) if study else wired.backtest(file, **given)
    if html_path is not None:
        wired.picture(found, html_path)
    if as_json:
        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.backtested import show

    show(found, Console(highlight=False))
    if html_path is not None:
        click.echo(f"\nthe pictures are in {html_path}")
