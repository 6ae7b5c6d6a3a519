"""`negawatt quantise`: one method of compression, alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

#: Stages in order, with the share of the whole each usually takes.
_STAGES = {
    "prepare": 0.05,
    "reference": 0.12,
    "transform": 0.15,
    "candidates": 0.28,
    "search": 0.2,
    "grade": 0.12,
    "export": 0.08,
}


@click.command()
@click.argument("model")
@click.option(
    "--format",
    "fmt",
    default="int4-g128-asym",
    show_default=True,
    metavar="FORMAT",
    help="Of the linear layers: int<bits>-g<group>|row-sym|asym, 2 to 8 bits, or nl4-g32.",
)
@click.option(
    "--method",
    default="polished",
    show_default=True,
    metavar="NAME",
    help="How to round: rtn, gptq, polished or signround.",
)
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    metavar="NAME",
    help="What goes before: awq, smooth or rotate. May be given again.",
)
@click.option(
    "--activations",
    type=click.Choice(["float", "int8", "mixed"]),
    default="float",
    show_default=True,
    help="What enters the layers of an encoder: floats, codes of 8 bits, or what a search finds.",
)
@click.option(
    "--max-distance",
    type=float,
    metavar="FAR",
    help="With mixed activations: largest 1 - cosine, or KL, to the original, such as 0.002.",
)
@click.option(
    "--head",
    default="int8-row-sym",
    show_default=True,
    metavar="FORMAT",
    help="Of head and embedding; bf16 leaves them as they are.",
)
@click.option(
    "--as",
    "targets",
    metavar="KINDS",
    help="What to write, by commas: huggingface, openvino, onnxruntime, llamacpp, none.  "
    "[default: huggingface; openvino for an encoder]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for what is written.  [default: negawatt-out/<model>]",
)
@click.option(
    "--text",
    metavar="FILE",
    help="Calibration and evaluation text: .txt, .jsonl or a folder.",
)
@click.option(
    "--task",
    metavar="FILE",
    help="Labelled examples for an encoder: .csv of two sentences and a score, or `label text`.",
)
@click.option("--seed", metavar="N", help="Start of every random draw.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    model: str,
    fmt: str,
    method: str,
    transforms: tuple[str, ...],
    activations: Literal["float", "int8", "mixed"],
    max_distance: float | None,
    head: str,
    targets: str | None,
    task: str | None,
    out: Path | None,
    text: str | None,
    seed: str | None,
    as_json: bool,
) -> None:
    """Round MODEL by one method in one format, and tell what that loses.

    MODEL is a Hugging Face folder or hub id, a .gguf file, or package:NAME. Formats are not
    searched: every linear layer gets the one named. What it loses is measured on held-out text beside
    the 16-bit model, and every artifact is reloaded and compared. Layers whose rows do not
    divide into the groups get smaller ones. An encoder (BERT and its kin) is judged by how like
    its base it is and by a task; with --activations mixed a search finds for which of its layers
    8-bit inputs are worth it. A stopped run goes on where it was.

    \b
    Examples:
      negawatt quantise ./my-model --format int4-g128-asym --method gptq
      negawatt quantise ./my-model --format int4-g32-sym --transform awq --method rtn --as llamacpp
      negawatt quantise ./my-bert --format int8-row-sym --activations mixed --max-distance 0.002
    """
    from negawatt.cli.optimize import progress_shown
    from negawatt.wiring import quantise as wired

    kinds = None
    if targets is not None:
        kinds = [kind.strip() for kind in targets.split(",") if kind.strip() not in {"", "none"}]
    with progress_shown(_STAGES) as progress:
        found = wired.quantise(
            model,
            format=fmt,
            method=method,
            transforms=transforms,
            activations=activations,
            max_distance=max_distance,
            head=head,
            targets=kinds,
            out=out,
            text=text,
            task=task,
            progress=progress,
            flags={"run.seed": seed},
        )
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.quantised import show

    show(found, Console(highlight=False))
