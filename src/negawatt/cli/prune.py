"""`negawatt prune`: fewer channels, heads, blocks and tokens, taught again by the base."""

from __future__ import annotations

import json
from pathlib import Path

import click

#: Stages in order, with the share of the whole each usually takes.
_STAGES = {
    "prepare": 0.05,
    "reference": 0.2,
    "prune": 0.15,
    "heal": 0.33,
    "trim": 0.02,
    "grade": 0.15,
    "race": 0.1,
}


@click.command()
@click.argument("model")
@click.option(
    "--ffn",
    default="100%",
    show_default=True,
    metavar="SHARE",
    help="Inner channels of every feed-forward part that stay.",
)
@click.option("--blocks", type=int, metavar="N", help="Blocks that stay.  [default: all]")
@click.option(
    "--heads",
    default="100%",
    show_default=True,
    metavar="SHARE",
    help="Attention heads of every block that stay, with keys and values they share.",
)
@click.option(
    "--vocabulary",
    metavar="TEXT|N",
    help="Tokens that stay: those of a text file, or the N most used.  [default: all]",
)
@click.option(
    "--importance",
    default="wanda",
    show_default=True,
    metavar="NAME",
    help="Which channels and heads stay: magnitude, wanda, second-order or gradient.",
)
@click.option(
    "--heal",
    metavar="BUDGET",
    help="Let the base teach what is left, for a time or an energy: 5m, 300s, 2Wh, 500J. All joules "
    "of learning count, those of the machine at rest included.",
)
@click.option(
    "--healing",
    "how",
    default="weights",
    show_default=True,
    metavar="NAME",
    help="What moves: weights, or lora for small matrices beside them.",
)
@click.option(
    "--healing-states",
    "states",
    type=float,
    default=0.0,
    show_default=True,
    metavar="WEIGHT",
    help="What the base's hidden states weigh beside its answers; 0 learns answers alone.",
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
    ffn: str,
    blocks: int | None,
    heads: str,
    vocabulary: str | None,
    importance: str,
    heal: str | None,
    how: str,
    states: float,
    out: Path | None,
    text: str | None,
    task: str | None,
    seed: str | None,
    as_json: bool,
) -> None:
    """Take channels, heads, blocks or tokens out, so that less is multiplied.

    MODEL is a Hugging Face folder or hub id, a .gguf file, or package:NAME; it is not changed.
    Inner channels of the feed-forward parts and attention heads go by an importance, and those
    that stay are fitted to make up for them; blocks go by how little their absence changes; of
    the vocabulary the tokens stay that a text uses, with letters for every other text. What is
    left is an ordinary smaller model, which other verbs and other tools take. What it loses is
    measured on held-out text before and after healing, what it saves in turns with the base. A
    stopped run goes on where it was.

    \b
    Examples:
      negawatt prune ./my-encoder --ffn 50% --heal 3m
      negawatt prune ./my-model --ffn 75% --blocks 28 --heal 2Wh --healing lora
      negawatt prune ./my-model --vocabulary my-corpus.txt
    """
    from negawatt.cli.optimize import progress_shown
    from negawatt.wiring import prune as wired

    with progress_shown(_STAGES) as progress:
        found = wired.prune(
            model,
            ffn=ffn,
            blocks=blocks,
            heads=heads,
            vocabulary=vocabulary,
            importance=importance,
            heal=heal,
            how=how,
            states=states,
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

    from negawatt.reports.pruned import show

    show(found, Console(highlight=False))
