"""`negawatt queue`: jobs with deadlines that take turns in clean hours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from negawatt.cli.run import asked, job_options

if TYPE_CHECKING:
    from negawatt.reports.ran import Ran

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def command() -> None:
    """Keep jobs with deadlines, and run them in clean hours by turns.

    Jobs lie in a file (`negawatt settings` shows `paths.queue`) until a worker takes them. Any number of
    workers may work on it, and be killed: no job is started twice, and none is forgotten.
    """  # fmt: skip


@command.command(context_settings={"allow_interspersed_args": False})
@job_options
@_JSON
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
def add(*, as_json: bool, cmd: tuple[str, ...], **given: Any) -> None:
    """Put CMD into the queue, with its deadline.

    \b
    Examples:
      negawatt queue add --deadline +12h --duration 2h --zone DE -- python train.py
      negawatt queue add --deadline +1d --duration 6h --zone DE --interruptible --power 300W -- ./job
    """  # fmt: skip
    from negawatt.reports import ran as report
    from negawatt.wiring import queue as wired

    added = wired.add(asked(cmd, given))
    if as_json:
        click.echo(report.line(added))
        return
    click.echo(f"{added.number}: {added.name}, by {added.deadline:%Y-%m-%d %H:%M} UTC")
    for note in added.notes:
        click.echo(f"  note: {note}", err=True)


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also what `negawatt run` ran.")
@_JSON
def list_(*, everything: bool, as_json: bool) -> None:
    """List the jobs, what they wait for, and what came of them.

    \b
    Examples:
      negawatt queue list
      negawatt queue list --json
    """
    from negawatt.wiring import queue as wired

    _tell(wired.listed(everything=everything), as_json=as_json)


@command.command()
@click.argument("number", type=int)
@_JSON
def show(*, number: int, as_json: bool) -> None:
    """Show job NUMBER and everything that happened to it.

    \b
    Examples:
      negawatt queue show 3
    """
    from negawatt.reports import ran as report
    from negawatt.wiring import queue as wired

    ran, events, output = wired.shown(number)
    if as_json:
        told = {**report.mapping(ran), "events": events, "output": str(output)}
        click.echo(json.dumps(told, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    report.show(ran, console)
    report.show_events(events, output, console)


@command.command()
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many jobs run at a time.",
)
@click.option(
    "--power",
    metavar="WATTS",
    help="What all jobs together may draw; each tells its own with --power.",
)
@click.option("--forever", is_flag=True, help="Wait for more when nothing is left.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Replay what waits, so many times as fast.",
)
@click.option("--at", metavar="TIME", help="From when on; the earliest release by default.")
@_JSON
def work(
    *, slots: int, power: str | None, forever: bool, speed: float, at: str | None, as_json: bool
) -> int:
    """Work on the queue until nothing is left.

    Jobs run in their clean hours, as many as slots and power allow; those that have no time left
    go first, and others that may be paused make room. Ctrl-C ends the worker and not the jobs:
    the next worker takes over.

    \b
    Examples:
      negawatt queue work --slots 2 --power 500W
      negawatt queue work --forever
      negawatt queue work --speed 3600
    """
    from negawatt.actions.run.asked import watts
    from negawatt.actions.run.steer import Limits
    from negawatt.wiring import queue as wired

    limits = Limits(slots, None if power is None else watts(power))
    ran = wired.work(limits=limits, forever=forever, speed=speed, at=at)
    _tell(ran, as_json=as_json)
    return int(any(one.phase == "failed" for one in ran))


@command.command()
@click.argument("numbers", type=int, nargs=-1, required=True)
@_JSON
def cancel(*, numbers: tuple[int, ...], as_json: bool) -> None:
    """Cancel jobs by their NUMBERS.

    One that waits is cancelled at once, one that runs by its worker.

    \b
    Examples:
      negawatt queue cancel 3 4
    """
    from negawatt.wiring import queue as wired

    found = wired.cancel(numbers)
    if as_json:
        _tell(found, as_json=True)
        return
    for one in found:
        ended = one.phase in {"done", "failed", "cancelled"}
        click.echo(f"{one.number}: {one.phase if ended else 'will be cancelled'}")


@command.command()
@_JSON
def report(*, as_json: bool) -> None:
    """Tell what the queue has saved against starting everything at once.

    Worked out anew from the intensities that are known by now, and split: what the hours saved,
    what restarts cost, what waiting cost.

    \b
    Examples:
      negawatt queue report
      negawatt queue report --json
    """
    from negawatt.reports import ran as shown
    from negawatt.wiring import queue as wired

    found = wired.listed()
    if as_json:
        click.echo(json.dumps(shown.report_mapping(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    shown.show_report(found, Console(highlight=False))


def _tell(found: Sequence[Ran], *, as_json: bool) -> None:
    from negawatt.reports import ran as shown

    if as_json:
        told = {"orders": [shown.mapping(one) for one in found]}
        click.echo(json.dumps(told, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    shown.show_list(found, Console(highlight=False))
