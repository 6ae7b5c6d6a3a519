"""`negawatt agree`: does a compressed model still decide as its base does?"""

from __future__ import annotations

import json
from pathlib import Path

import click

#: Stages in order, with the share of the whole each usually takes.
_STAGES = {"prepare": 0.05, "base": 0.25, "yardstick": 0.25, "variant": 0.25, "slices": 0.2}
_ABOVE_NOUGHT = click.IntRange(min=1)


@click.command()
@click.argument("base")
@click.argument("variant")
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="NAME=FILE",
    help="A language or domain: .txt, .jsonl or a folder. May be given again.",
)
@click.option(
    "--tokens", type=_ABOVE_NOUGHT, metavar="N", default=4096, show_default=True,
    help="Scored of every slice.",
)  # fmt: skip
@click.option(
    "--decisions", type=_ABOVE_NOUGHT, metavar="N", default=24, show_default=True,
    help="Whose attributions are compared, spread over the slices.",
)  # fmt: skip
@click.option(
    "--context", type=_ABOVE_NOUGHT, metavar="N", default=24, show_default=True,
    help="Tokens read before each decision.",
)  # fmt: skip
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for what is kept.  [default: negawatt-out/<base>]",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Also write a page with the tokens that decisions rest on.",
)  # fmt: skip
@click.option("--seed", metavar="N", help="Start of every random draw.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    base: str,
    variant: str,
    slices: tuple[str, ...],
    tokens: int,
    decisions: int,
    context: int,
    out: Path | None,
    html: Path | None,
    seed: str | None,
    as_json: bool,
) -> None:
    """Tell whether VARIANT decides as BASE does, and which text loses most.

    BASE is a model as for optimize; VARIANT is what optimize, quantise or prune made of it, or any
    model that reads the same tokens. For decisions of the base on held-out text, the tokens they
    rest on are found in both models, by integrated gradients and by leaving out one token after
    the other, and compared; the same comparison of the base at 32 and at 16 bits is the yardstick.
    Every slice of text is scored beside the base, and a slice that loses more than the mean of all
    is named. A stopped run goes on where it was.

    \b
    Examples:
      negawatt agree ./my-model negawatt-out/my-model/huggingface --html agreement.html
      negawatt agree ./my-model ./smaller --slice english=en.txt --slice chinese=zh.txt
    """
    from negawatt.cli.optimize import progress_shown
    from negawatt.wiring import agree as wired

    with progress_shown(_STAGES) as progress:
        found = wired.agree(
            base,
            variant,
            slices=_named(slices),
            tokens=tokens,
            decisions=decisions,
            context=context,
            out=out,
            html=html,
            progress=progress,
            flags={"run.seed": seed},
        )
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from negawatt.reports.agreed import show

    show(found, Console(highlight=False))
    if html is not None:
        click.echo(f"the page is in {html}")


def _named(given: tuple[str, ...]) -> dict[str, str]:
    """NAME=FILE, each name once."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, place = text.partition("=")
        if not (name and sign and place) or name in found:
            raise click.BadParameter(
                f"{text!r} is not NAME=FILE with a name of its own", param_hint="--slice"
            )
        found[name] = place
    return found
