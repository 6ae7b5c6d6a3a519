"""`negawatt predict`: joules per token before anything is run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from negawatt.core.estimate import Estimate
    from negawatt.energy.predict import Forecast, Prediction

_ABOVE_NOUGHT = click.IntRange(min=1)
_MANY = MappingProxyType({"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12})


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
@click.option("--batch", type=_ABOVE_NOUGHT, metavar="N", help="Requests at once.")
@click.option("--in", "prompt", type=_ABOVE_NOUGHT, metavar="TOKENS", help="Read of each request.")
@click.option("--out", "written", type=_ABOVE_NOUGHT, metavar="TOKENS", help="Written for each.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="Foretell for a device that need not be here, such as h100; may be given again.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help="Of the weights on a device: bf16, fp8, int8, int4, nf4, mxfp4 or nvfp4; bf16 if not "
    "given; may be given again.",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=1),
    metavar="N",
    help="Devices that share the model; the fewest that hold it if not given.",
)
@click.option("--kv-bits", type=_ABOVE_NOUGHT, metavar="BITS", help="Of keys and values; 16.")
@click.option(
    "--train",
    metavar="TOKENS",
    help="Foretell a training on so many tokens instead, such as 2e12 or 300B.",
)
@click.option("--grid", metavar="ZONE", help="Such as DE, or gCO2e per kWh.")
@click.option(
    "--pue", type=click.FloatRange(min=1), metavar="RATIO", help="Facility over IT energy."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    model: str,
    formats: tuple[str, ...],
    workload: str | None,
    threads: str | None,
    measure: bool | None,
    batch: int | None,
    prompt: int | None,
    written: int | None,
    devices: tuple[str, ...],
    precisions: tuple[str, ...],
    gpus: int | None,
    kv_bits: int | None,
    train: str | None,
    grid: str | None,
    pue: float | None,
    as_json: bool,
) -> None:
    """Tell the joules per token of MODEL before running it.

    MODEL is a Hugging Face folder or hub id, a .gguf file, package:NAME, or the path of a
    config.json alone: no weight is read or downloaded. Costs come from the table measured on
    this machine, by `negawatt optimize` or now, and every figure is modelled, with its interval.

    With --device the machine is another one: costs come from its calibration or, where nobody
    measured it, from its datasheet, and the interval says which. A training is foretold with
    --train; --in is then the length of a sequence and --batch how many are in a step.

    \b
    Examples:
      negawatt predict ./my-model
      negawatt predict org/name --format int8-row-sym --format int4-g128-sym --workload batch
      negawatt predict config.json --device h100 --device b200 --batch 64 --in 512 --out 256
      negawatt predict config.json --device h100 --train 300B --gpus 64 --grid FR
    """  # fmt: skip
    sizes = _sizes(workload, batch, prompt, written)
    if devices:
        _refuse("--device", {"--format": formats, "--threads": threads, "--measure": measure})
        _elsewhere(
            model, devices, precisions, sizes, gpus=gpus, kv_bits=kv_bits, train=train, grid=grid,
            pue=pue, as_json=as_json,
        )  # fmt: skip
        return
    others = {
        "--precision": precisions, "--gpus": gpus, "--kv-bits": kv_bits, "--train": train,
        "--grid": grid, "--pue": pue,
    }  # fmt: skip
    _refuse("this machine", others, fix="name a device too, for example --device h100")
    from negawatt import wiring

    spec = ":".join(map(str, sizes)) if sizes else None
    flags = {"run.workload": spec, "run.threads": threads}
    found = wiring.predict(model, formats=formats, measure=measure, progress=_tell, flags=flags)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False))
        return
    from rich.console import Console

    _show(found, Console(highlight=False))


def _sizes(
    workload: str | None, batch: int | None, prompt: int | None, written: int | None
) -> tuple[int, int, int] | None:
    """Tokens read, tokens written and requests at once, or None when nothing was asked."""
    from negawatt.core.records import Workload

    if workload is None and batch is prompt is written is None:
        return None
    usual = Workload.parse(workload) if workload else Workload(512, 256, 1)
    return (prompt or usual.prompt, written or usual.generate, batch or usual.batch)


def _refuse(what: str, given: Mapping[str, object], fix: str = "") -> None:
    """Options that say nothing there are a misunderstanding, not a detail."""
    from negawatt.core.errors import UsageError

    names = [name for name, value in given.items() if value not in {None, ()}]
    if names:
        raise UsageError(
            f"{', '.join(names)} cannot be used with {what}",
            fix=fix or f"leave out {', '.join(names)}, or {what}",
        )


def _tokens(text: str) -> float:
    """Tokens as people write them: 2e12, 300B, 15T."""
    from negawatt.core.errors import UsageError

    scale = _MANY.get(text[-1:].upper(), 1.0)
    try:
        return float(text[:-1] if scale > 1 else text) * scale
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no number of tokens", fix="write such as 2e12, 300B or 15T"
        ) from error


def _elsewhere(
    model: str,
    devices: tuple[str, ...],
    precisions: tuple[str, ...],
    sizes: tuple[int, int, int] | None,
    *,
    gpus: int | None,
    kv_bits: int | None,
    train: str | None,
    grid: str | None,
    pue: float | None,
    as_json: bool,
) -> None:
    """On devices that need not be here."""
    from negawatt.energy.foretold import Asked
    from negawatt.energy.training import Training
    from negawatt.wiring.foretell import foretell

    prompt, written, batch = sizes or (512, 256, 1)
    asked = Asked(
        batch=batch, prompt=prompt, written=written, context_bits=kv_bits or 16.0, devices=gpus
    )
    training = None
    if train is not None:
        one = Training(tokens=_tokens(train), devices=gpus or 8)
        if sizes:
            one = replace(one, length=prompt, sequences=batch if batch > 1 else None)
        training = one
    found = foretell(
        model, devices, precisions=precisions, asked=asked, training=training, grid=grid, pue=pue
    )
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.foretold import show

    show(found, Console(highlight=False))


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
