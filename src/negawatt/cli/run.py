"""`negawatt run`: run CMD in clean hours, by its deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from negawatt.wiring.orders import Asked

F = TypeVar("F", bound=Callable[..., Any])

_JOB = (
    click.option("--deadline", metavar="TIME", help="When it has ended: 2026-12-01T07:00, +12h."),
    click.option("--duration", metavar="TIME", help="How long it runs; from the ledger's past runs of CMD if it has any."),
    click.option("--longest", metavar="TIME", help="How long it runs at most, where that is not certain."),
    click.option("--power", metavar="WATTS", help="What it draws, for planning: 150W."),
    click.option("--idle-power", "idle", metavar="WATTS", help="What hardware that is reserved for it draws while it waits."),
    click.option("--interruptible", is_flag=True, help="It may be paused and go on later."),
    click.option("--checkpoint", metavar="HOW", help="A pause asks for a checkpoint: a signal (USR1), or a command with {pid} in it. CMD then exits with 0 or 75."),
    click.option("--restart", metavar="CMD", help="What goes on from the checkpoint; CMD itself by default."),
    click.option("--restart-cost", metavar="TIME", help="How long going on takes."),
    click.option("--min-run", metavar="TIME", help="It is not paused before it has run so long."),
    click.option("--max-wait", metavar="TIME", help="It waits no longer than this, altogether."),
    click.option("--zone", metavar="ZONE", help="Whose electricity: DE, US-CAL-CISO."),
    click.option("--provider", metavar="ADDRESS", help="Whom to ask for the hours, or a CSV file of them."),
    click.option("--at", metavar="TIME", help="Replay the hours from this moment on instead of living in the present."),
    click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="With --at: so many times as fast. 3600 is an hour in a second."),
    click.option("--name", help="What to call it; the name of CMD by default."),
    click.option("--runner", default="process", show_default=True, metavar="NAME", help="What runs it: process, slurm, kubernetes, ray; with its options as NAME?key=value."),
    click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the runner for this task, such as partition=gpu."),
)  # fmt: skip


def job_options(function: F) -> F:
    """Everything that describes a job; for `run` and for `queue add`."""
    for option in reversed(_JOB):
        function = option(function)
    return function


def asked(cmd: tuple[str, ...], given: dict[str, Any]) -> Asked:
    """The options of a job as one record."""
    from negawatt.core.errors import UsageError
    from negawatt.wiring.orders import Asked

    pairs = [text.partition("=") for text in given.pop("options")]
    if not all(key and mark for key, mark, _ in pairs):
        raise UsageError("an option is no KEY=VALUE", fix="write --option partition=gpu")
    return Asked(argv=cmd, options={key: value for key, _, value in pairs}, **given)


@click.command(context_settings={"allow_interspersed_args": False})
@job_options
@click.option("--dry-run", is_flag=True, help="Tell when it would run, and run nothing.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=0,
    type=int,
    metavar="NUMBER",
    help="Go on with a run whose negawatt has died; the last one without a NUMBER.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED)
def command(
    *, dry_run: bool, resume: int | None, as_json: bool, cmd: tuple[str, ...], **given: Any
) -> int:
    """Run CMD in the cleanest hours before its deadline.

    It waits, starts, and where it may pauses and goes on; it plans anew when newer forecasts are
    there. Whatever happens to forecasts, providers or the clock, it starts in time. Output,
    signals and exit status of CMD pass through. What it took stands in the ledger, and what it
    emitted beside having started at once is told at the end, by the hours as they turned out.

    It may be killed: CMD runs on, and `negawatt run --resume` takes over.

    \b
    Examples:
      negawatt run --deadline +12h --duration 2h --zone DE -- python train.py
      negawatt run --deadline 2026-12-01T07:00 --duration 6h --zone DE --interruptible -- ./job
      negawatt run --deadline +1d --duration 3h --zone GB --checkpoint USR1 -- python train.py
      negawatt run --deadline +12h --duration 2h --zone DE --dry-run -- ./job
      negawatt run --resume
    """  # fmt: skip
    from negawatt.wiring import run as wired

    if dry_run:
        _tell_plan(asked(cmd, given), as_json=as_json)
        return 0
    ran = wired.run(asked(cmd, given)) if resume is None else wired.resume(resume or None)
    from negawatt.reports import ran as report

    if as_json:
        click.echo(report.line(ran))
    else:
        from rich.console import Console

        report.show(ran, Console(highlight=False, stderr=True))
    return 1 if ran.exit_status is None else ran.exit_status


def _tell_plan(said: Asked, *, as_json: bool) -> None:
    import json

    from negawatt.core.codec import encode
    from negawatt.reports import ran as report
    from negawatt.wiring import run as wired

    order, plan, notes = wired.dry_run(said)
    if as_json:
        record = {"order": order, "plan": plan, "notes": notes}
        click.echo(json.dumps(encode(record), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    report.show_plan(plan, notes, Console(highlight=False), power_known=order.power_w is not None)
