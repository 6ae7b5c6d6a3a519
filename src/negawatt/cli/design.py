"""`negawatt design`: which accelerator would do the work on the fewest joules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from negawatt.core.estimate import Estimate
    from negawatt.energy.chips.exploration import Exploration
    from negawatt.energy.chips.explore import Candidate

_SHOWN = 12  # designs of the front


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--mix",
    "workloads",
    multiple=True,
    metavar="NAME",
    help="What the models are run for: chat, batch or PROMPT:GEN:BATCH; may be given again, and "
    "every model then does all of them alike.",
)
@click.option("--max-area", type=float, metavar="MM2", help="Of all dies together. [mm²]")
@click.option("--max-power", type=float, metavar="W", help="Of the step that draws most. [W]")
@click.option(
    "--max-latency",
    type=float,
    metavar="S",
    help="From the arrival of a batch of requests to its last token. [s]",
)
@click.option("--node", "nodes", metavar="NM,...", help="Processes, such as 7 or 5,3.")
@click.option(
    "--memory", "memories", metavar="KIND,...", help="Memories, such as hbm2e,hbm3 or lpddr5."
)
@click.option(
    "--precision",
    "precisions",
    metavar="NAME,...",
    help="Multipliers, such as bf16 or int8,int4; bf16 and int8 if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a page with pictures of the front.",
)
def command(
    *,
    models: tuple[str, ...],
    workloads: tuple[str, ...],
    max_area: float | None,
    max_power: float | None,
    max_latency: float | None,
    nodes: str | None,
    memories: str | None,
    precisions: str | None,
    as_json: bool,
    html_path: Path | None,
) -> None:
    """Explore accelerators that would run MODEL on the fewest joules.

    MODEL is a Hugging Face folder or hub id, a .gguf file, package:NAME, or the path of a
    config.json alone; several models share the chip alike. Every combination of arrays, dataflow,
    precision, memories, clock, node and dies is tried, the ones that nothing beats in joules,
    area and time are refined along gradients, and the best compromise is explained. Everything is
    modelled from published tables; how far to trust it stands below the table.

    \b
    Examples:
      negawatt design config.json --max-power 200
      negawatt design org/name --mix 512:128:8 --node 7 --memory hbm2e,hbm3 --html chips.html
    """  # fmt: skip
    from negawatt.wiring import design as wired

    limits = {"area": max_area, "power": max_power, "seconds": max_latency}
    found = wired.design(
        models,
        workloads=workloads,
        choices={
            "nodes": _listed(nodes),
            "memories": _listed(memories),
            "precisions": _listed(precisions),
        },
        limits={name: value for name, value in limits.items() if value is not None},
        progress=_tell,
    )
    if html_path is not None:
        wired.picture(found, html_path)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    _show(found, Console(highlight=False))
    if html_path is not None:
        click.echo(f"\nthe pictures are in {html_path}")


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _tell(stage: str, share: float) -> None:
    """Where it stands, on one line of standard error that a terminal writes over."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{stage}" if share < 1 else "\r\033[K", err=True, nl=False)


def _show(found: Exploration, console: Console) -> None:
    """The exploration for people."""
    from rich.text import Text

    from negawatt.reports.figures import plain
    from negawatt.reports.screen import fitting, put, title

    console = fitting(console)
    put(Text(f"accelerators for {', '.join(found.models)}", style="bold"), console)
    put(Text(f"{_asked(found)}\n"), console)
    put(_table(found, console), console)
    put(title("The choice"), console)
    put(_choice(found), console)
    for sentence in found.because:
        put(Text(f"- {sentence}"), console)
    put(title("How far to trust it"), console)
    kappa, stability = found.overhead.factor, found.stability
    put(
        Text(
            f"- Whole chips take κ = {_spanned(kappa)} times the dynamic energy of their circuits: "
            f"fitted to {kappa.source}."
        ),
        console,
    )
    put(
        Text(
            f"- With every constant wrong by up to {plain(stability.factor)}× the ranking by joules "
            f"agrees with this one by a Kendall τ of {_spanned(stability.tau)}, and the choice stays "
            f"among the best ten of {stability.designs} in {stability.stays:.0%} of "
            f"{stability.draws} draws."
        ),
        console,
    )
    for note in found.notes:
        put(Text(f"- {note}"), console)


def _asked(found: Exploration) -> str:
    from negawatt.reports.chips import limits_in_words, work_in_words

    refined = f"; refining made the least energy × delay × area {found.gained:.0%} less"
    return (
        f"{work_in_words(found)}; {limits_in_words(found)}\n"
        f"{found.tried:,} designs tried, {found.met:,} keep the limits, nothing beats "
        f"{len(found.front)}{refined}"
    )


def _table(found: Exploration, console: Console) -> Table:
    from negawatt.reports.screen import glyphs_of, ruled

    glyphs = glyphs_of(console)
    table = ruled(console)
    table.add_column("")
    table.add_column("design\n")
    for head in ("energy\nJ/token", "area\nmm²", "time\ns", "mean\nW", "peak\nW", "making\nkgCO2e"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in _picked(found):
        chosen = one is found.choice
        style = "bold" if chosen else ""
        table.add_row(glyphs.chosen if chosen else "", _words(one), *_cells(one), style=style)
    return table


def _cells(one: Candidate) -> Sequence[str]:
    from negawatt.reports.figures import plain

    values = (one.joules, one.area, one.seconds, one.power, one.peak, one.carbon)
    return [plain(value) for value in values]


def _words(one: Candidate) -> Text:
    from negawatt.energy.chips.explore import described
    from negawatt.reports.screen import stacked

    first, second, rest = described(one.design).split(", ", 2)
    return stacked(f"{first}, {second}", rest)


def _picked(found: Exploration) -> list[Candidate]:
    """The choice, the ends, and others spread evenly by joules."""
    front = found.front
    ends = [min(front, key=lambda c: c.area), min(front, key=lambda c: c.seconds)]
    step = max(1, -(-len(front) // (_SHOWN - 3)))
    wanted = [found.choice, *ends, *front[::step]]
    return [one for one in front if any(one is other for other in wanted)]


def _choice(found: Exploration) -> Text:
    from rich.text import Text

    from negawatt.energy.chips.explore import described

    told = found.chosen
    words = (
        ("", told.joules, "J/token"),
        ("", told.area, "mm²"),
        ("", told.seconds, "s"),
        ("mean ", told.power, "W"),
        ("making ", told.carbon, "kgCO2e"),
    )
    figures = "; ".join(f"{name}{_spanned(value)} {unit}" for name, value, unit in words)
    return Text(f"{described(found.choice.design)}\n{figures} (all modelled)")


def _spanned(estimate: Estimate) -> str:
    from negawatt.reports.figures import plain

    return f"{plain(estimate.value)} ({plain(estimate.low, 2)}…{plain(estimate.high, 2)})"
