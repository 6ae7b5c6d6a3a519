"""`negawatt optimize`: the main job."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from negawatt.core.aside import stdout_aside

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Progress


_TELLING = 0.05  # of the whole, from which on the pace says something
_MINUTES = 90  # seconds from which on minutes are told
_QUIET_S = 15  # between two lines on one stage, where there is no terminal for a bar


@click.command()
@click.argument("model")
@click.option(
    "--max-loss",
    default="1%",
    show_default=True,
    metavar="SHARE",
    help="Largest relative increase of perplexity allowed.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    help="Largest size of the packed weights allowed, such as 90MB.",
)
@click.option(
    "--max-latency",
    metavar="TIME",
    help="Longest time that a written token may take here, such as 20ms.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu"]),
    default="auto",
    show_default=True,
    help="What to optimise for: the device that serves best here, or the CPU.",
)
@click.option(
    "--workload",
    metavar="NAME",
    help="What the model is run for: chat, batch or PROMPT:GEN:BATCH.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for artifacts and reports.  [default: negawatt-out/<model>]",
)
@click.option(
    "--text",
    metavar="FILE",
    help="Calibration and evaluation text: .txt, .jsonl or a folder.",
)
@click.option("--runtime", metavar="NAME", help="The engine; all installed ones if not given.")
@click.option("--threads", metavar="N", help="Threads of the engine; chosen by cost if not given.")
@click.option(
    "--cache",
    metavar="BITS",
    help="Key-value cache: own, 16, 8, 8/4 or 4 bits; auto measures what is worth it.",
)
@click.option("--seed", metavar="N", help="Start of every random draw.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def command(
    *,
    model: str,
    max_loss: str,
    max_size: str | None,
    max_latency: str | None,
    device: str,
    workload: str | None,
    out: Path | None,
    text: str | None,
    runtime: str | None,
    threads: str | None,
    cache: str | None,
    seed: str | None,
    as_json: bool,
) -> None:
    """Find the variant of MODEL that spends the fewest joules.

    MODEL is a Hugging Face folder or hub id, a .gguf file, or package:NAME for a model inside an
    installed Python package. It is measured, compressed layer by layer within the loss budget,
    exported for the engine that takes least and for Hugging Face, reloaded and checked. A stopped run goes on where it
    was when the same command is given again.

    \b
    Examples:
      negawatt optimize HuggingFaceTB/SmolLM2-135M-Instruct --max-loss 1%
      negawatt optimize ./my-model --max-loss 3% --workload batch --text my-domain.txt
    """
    from negawatt import reports, wiring
    from negawatt.actions.optimize.order import bytes_of, seconds_of, share_of_loss

    del device  # both answers mean the CPU, the only device this version's engines serve on
    flags = {
        "run.workload": workload,
        "run.runtime": runtime,
        "run.threads": threads,
        "run.cache": cache,
        "run.seed": seed,
    }
    with progress_shown() as progress:
        outcome = wiring.optimize(
            model,
            max_loss=share_of_loss(max_loss),
            max_size=None if max_size is None else bytes_of(max_size),
            max_latency=None if max_latency is None else seconds_of(max_latency),
            out=out,
            text=text,
            flags=flags,
            progress=progress,
        )
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(outcome)))
        return
    from rich.console import Console

    reports.show(outcome, Console())
    folder = out or wiring.default_out(model)
    click.echo(f"\nReport: {folder / 'report.html'}", err=True)


@contextmanager
def progress_shown(stages: Mapping[str, float] | None = None) -> Iterator[Progress]:
    """Show the stages on standard error: a bar with time left, or lines when it is no terminal.

    Standard output is for the result alone: what a library writes there meanwhile, from C or from
    Python, goes to standard error too.

    Args:
        stages: In order, with the share of the whole each takes; those of `optimize` when None.
    """
    if stages is None:
        from negawatt.actions.optimize.order import STAGES

        stages = STAGES
    if not sys.stderr.isatty():
        with stdout_aside():
            yield _lines(stages)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with (
        stdout_aside(),
        Progress(
            TextColumn("[bold]{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left about"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bars,
    ):
        task = bars.add_task("starting", total=1.0)

        def tell(stage: str, share: float) -> None:
            if stage not in stages:
                bars.console.print(stage)
                return
            bars.update(task, description=stage, completed=_of_all(stages, stage, share))

        yield tell


def _lines(stages: Mapping[str, float]) -> Progress:
    """One line per stage and then at most one every few seconds."""
    start = time.monotonic()
    told: dict[str, float] = {}  # stage -> when it was last told [s]
    first: list[tuple[float, float]] = []  # when something was done first, and how much of all

    def tell(stage: str, share: float) -> None:
        now = time.monotonic() - start
        if stage in stages and not first:
            first.append((now, _of_all(stages, stage, share)))
        if now - told.get(stage, -60.0) < _QUIET_S:
            return
        told.clear()
        told[stage] = now
        if stage not in stages:  # a remark
            click.echo(f"[{now:6.0f} s] {stage}", err=True)
            return
        left = _left(first[0], (now, _of_all(stages, stage, share)))
        click.echo(f"[{now:6.0f} s] {stage} {share:.0%}{left}", err=True)

    return tell


def _of_all(stages: Mapping[str, float], stage: str, share: float) -> float:
    """How much of all stages together is done, 0 to 1."""
    names = list(stages)
    before = sum(stages[name] for name in names[: names.index(stage)])
    return (before + share * stages[stage]) / sum(stages.values())


def _left(first: tuple[float, float], now: tuple[float, float]) -> str:
    """Time left at the pace so far, from two moments with what was done by then.

    >>> _left((0.0, 0.0), (60.0, 0.25)), _left((0.0, 0.0), (60.0, 0.01))
    (', about 3 min left', '')
    """
    (start, some), (moment, more) = first, now
    if more - some < _TELLING:
        return ""
    seconds = (moment - start) / (more - some) * (1 - more)
    told = f"{seconds:.0f} s" if seconds < _MINUTES else f"{seconds / 60:.0f} min"
    return f", about {told} left"
