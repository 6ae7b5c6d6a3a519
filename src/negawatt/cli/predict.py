"""`negawatt predict`: joules per token before anything is run."""

from __future__ import annotations

import json
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from negawatt.core.estimate import Estimate
    from negawatt.energy.predict import Forecast, Prediction


@click.command()
@click.argument("model")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="NAME",
    help="Weight format, such as bf16, int8-row-sym or int4-g64-asym (these three if not "
    "given); may be given again.",
)
@click.option(
    "--workload",
    metavar="NAME",
    help="What the model is run for: chat, batch or PROMPT:GEN:BATCH.",
)
@click.option(
    "--threads", metavar="N", help="Threads of the engine; one, or those calibrated, if not given."
)
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Time every matrix product of the model, or none; only what is unknown if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    model: str,
    formats: tuple[str, ...],
    workload: str | None,
    threads: str | None,
    measure: bool | None,
    as_json: bool,
) -> None:
    """Tell the joules per token of MODEL before running it.

    MODEL is a Hugging Face folder or hub id, a .gguf file, package:NAME, or the path of a
    config.json alone: no weight is read or downloaded. Costs come from the table measured on
    this machine, by `negawatt optimize` or now, and every figure is modelled, with its interval.

    \b
    Examples:
      negawatt predict ./my-model
      negawatt predict org/name --format int8-row-sym --format int4-g128-sym --workload batch
    """  # fmt: skip
    from negawatt import wiring

    flags = {"run.workload": workload, "run.threads": threads}
    found = wiring.predict(model, formats=formats, measure=measure, progress=_tell, flags=flags)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False))
        return
    from rich.console import Console

    _show(found, Console(highlight=False))


def _tell(stage: str, share: float) -> None:
    """Where it stands, on one line of standard error that a terminal writes over."""
    watched = sys.stderr.isatty()
    end = "\r" if watched and share < 1 else "\n"
    click.echo(f"{stage}, {share:4.0%}{end}", err=True, nl=False)


def _show(found: Prediction, console: Console) -> None:
    """The prediction for people."""
    from rich.text import Text

    from negawatt.reports.screen import fitting, put, ruled, stacked

    console = fitting(console)
    subject, workload = found.subject, found.workload
    put(Text(f"{subject.model} ({subject.architecture})", style="bold"), console)
    put(
        Text(
            f"{subject.parameters / 1e6:,.1f} M parameters; {workload.prompt} tokens read and "
            f"{workload.generate} written, {workload.batch} at once; {found.runtime}, "
            f"{found.threads} thread{'s' if found.threads > 1 else ''}\n"
        ),
        console,
    )
    table = ruled(console)
    table.add_column("weights\n", no_wrap=True)
    columns = [_column(head, pick, found.forecasts) for head, pick in _COLUMNS]
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for i, forecast in enumerate(found.forecasts):
        cells = (stacked(*column[i]) for _, column in columns)
        table.add_row(forecast.format, *cells)
    put(table, console)
    products = f"{found.measured} products measured, {found.by_law} by law"
    inside = found.forecasts[0].decode_cpu.boundary if found.forecasts else ""
    put(Text(f"\nPer token; all modelled. {products}; inside: {inside}.", style="dim"), console)
    for note in found.notes:
        put(Text(f"- {note}"), console)


def _column(
    head: str, pick: str, forecasts: Sequence[Forecast]
) -> tuple[str, list[tuple[str, str]]]:
    """The head with its unit, and a value over its interval per forecast, all in that unit."""
    from negawatt.reports.figures import amount, plain

    estimates: list[Estimate] = [getattr(forecast, pick) for forecast in forecasts]
    base = estimates[0].unit.removesuffix("/token")
    unit = amount(max(e.value for e in estimates), base).rsplit(" ", 1)[-1]
    scale = _SCALES[unit.removesuffix(base)]
    cells = [
        (
            plain(e.value * scale),
            "" if e.is_exact else f"{plain(e.low * scale, 2)}…{plain(e.high * scale, 2)}",
        )
        for e in estimates
    ]
    return f"{head}\n{unit}", cells


_COLUMNS = (
    ("prefill", "prefill_energy"),
    ("decode", "decode_energy"),
    ("together", "energy"),
    ("prefill CPU", "prefill_cpu"),
    ("decode CPU", "decode_cpu"),
    ("memory", "weights_bytes"),
)
_SCALES = MappingProxyType(
    {"n": 1e9, "µ": 1e6, "m": 1e3, "": 1.0, "k": 1e-3, "M": 1e-6, "G": 1e-9, "T": 1e-12}
)
