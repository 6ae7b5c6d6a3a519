"""`negawatt endpoint`: a model behind a server's address, beside its base."""

from __future__ import annotations

import json

import click

_STAGES = {"prepare": 0.2, "reference": 0.5, "serve": 0.3}


@click.command()
@click.argument("address")
@click.option("--base", required=True, metavar="MODEL", help="What it is compared with.")
@click.option("--model", default="", metavar="NAME", help="Which of the models served there.")
@click.option(
    "--kind", default="vllm", show_default=True, metavar="NAME", help="The server's kind."
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    metavar="N",
    help="Tokens of text that are scored.",
)
@click.option(
    "--max-loss",
    default="1%",
    show_default=True,
    metavar="SHARE",
    help="Largest relative increase of perplexity allowed.",
)
@click.option("--text", metavar="FILE", help="What is scored: .txt, .jsonl or a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    address: str,
    base: str,
    model: str,
    kind: str,
    tokens: int,
    max_loss: str,
    text: str | None,
    as_json: bool,
) -> int:
    """Tell how well and fast a server at ADDRESS serves, beside its base.

    ADDRESS is that of a running vLLM, such as http://127.0.0.1:8000. The base, a Hugging Face
    folder or hub id, a .gguf file or package:NAME, runs here in PyTorch; both score the same
    tokens. The server's key, if it asks for one, is read from NEGAWATT_ENDPOINT_KEY. The exit
    status is 5 when the served model loses more than is allowed.

    \b
    Examples:
      negawatt endpoint http://127.0.0.1:8000 --base HuggingFaceTB/SmolLM2-135M-Instruct
      negawatt endpoint https://models.example.org --base ./my-model --model small --json
    """
    from negawatt.actions.optimize.order import share_of_loss
    from negawatt.cli.optimize import progress_shown
    from negawatt.core.errors import BudgetUnreachable
    from negawatt.wiring import endpoint as wired

    with progress_shown(_STAGES) as progress:
        found = wired.endpoint(
            address,
            base=base,
            model=model,
            kind=kind,
            tokens=tokens,
            max_loss=share_of_loss(max_loss),
            text=text,
            progress=progress,
        )
    if as_json:
        from negawatt.core.codec import encode

        told = encode(found) | {"within": found.within}
        click.echo(json.dumps(told, ensure_ascii=False, allow_nan=False))
    else:
        from rich.console import Console

        from negawatt.reports.served import show

        show(found, Console(highlight=False))
    return 0 if found.within else BudgetUnreachable.exit_status
