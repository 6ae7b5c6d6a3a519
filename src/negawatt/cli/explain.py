"""`negawatt explain`: where the joules of requests go, and what would make them fewer."""

from __future__ import annotations

import json
from pathlib import Path

import click

_ABOVE_NOUGHT = click.IntRange(min=1)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("model")
@click.option("--device", metavar="NAME", default="h100", show_default=True, help="On what.")
@click.option(
    "--precision", metavar="NAME", default="bf16", show_default=True, help="Of the weights."
)
@click.option(
    "--batch", type=_ABOVE_NOUGHT, metavar="N", default=8, show_default=True,
    help="Requests at once.",
)  # fmt: skip
@click.option(
    "--in", "prompt", type=_ABOVE_NOUGHT, metavar="TOKENS", default=512, show_default=True,
    help="Read of each request.",
)  # fmt: skip
@click.option(
    "--out", "written", type=_ABOVE_NOUGHT, metavar="TOKENS", default=256, show_default=True,
    help="Written for each.",
)  # fmt: skip
@click.option(
    "--gpus", type=_ABOVE_NOUGHT, metavar="N",
    help="Devices that share the model; the fewest that hold it if not given.",
)  # fmt: skip
@click.option(
    "--kv-bits", type=_ABOVE_NOUGHT, metavar="BITS", default=16, show_default=True,
    help="Of keys and values.",
)  # fmt: skip
@click.option(
    "--html", "html_path", type=_FILE, metavar="FILE", help="Also write a flame graph as a page."
)
@click.option(
    "--speedscope", "samples_path", type=_FILE, metavar="FILE",
    help="Also write a flame graph for speedscope.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    model: str,
    device: str,
    precision: str,
    batch: int,
    prompt: int,
    written: int,
    gpus: int | None,
    kv_bits: int,
    html_path: Path | None,
    samples_path: Path | None,
    as_json: bool,
) -> None:
    """Tell where the joules of requests to MODEL go, and what would make them fewer.

    MODEL is a Hugging Face folder or hub id, a .gguf file, package:NAME, or the path of a
    config.json alone. Joules are split by phase, layer, operation and level of the machine; the
    watts that a device draws whatever it does are shared by time. All of it is modelled.

    \b
    Examples:
      negawatt explain config.json --device h100 --batch 8
      negawatt explain org/name --device l4 --html flame.html --speedscope flame.json
    """  # fmt: skip
    from negawatt.energy.foretold import Asked
    from negawatt.wiring import explain as wired

    asked = Asked(batch=batch, prompt=prompt, written=written, context_bits=kv_bits, devices=gpus)
    found = wired.explain(model, device, precision=precision, asked=asked)
    if html_path is not None:
        wired.picture(found, html_path)
    if samples_path is not None:
        wired.samples(found, samples_path)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.explained import show

    show(found, Console(highlight=False))
    for path in filter(None, (html_path, samples_path)):
        click.echo(f"the flame graph is in {path}")
