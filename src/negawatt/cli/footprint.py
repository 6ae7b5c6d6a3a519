"""`negawatt footprint`: what an energy means outside the machine, in the standards' words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from negawatt.cli.ledger.place import Place

if TYPE_CHECKING:
    from negawatt.ledger.footprint.account import Site
    from negawatt.reports.standards.question import Question

_FORMS = ("model-card", "sci", "sci-ai", "ghg", "eu-ai-act", "ai-energy-score")
_NOT_NEGATIVE = click.FloatRange(min=0)


@click.command()
@click.option("--energy", metavar="ENERGY", help="Of the IT equipment, such as 12kWh or 10:14kWh.")
@click.option(
    "--ledger",
    type=Place(),
    metavar="LEDGER",
    help="Take the energy from this ledger; your own when --energy is not given.",
)
@click.option("--kind", metavar="KIND", help="Only entries of this kind, such as measure.")
@click.option("--name", metavar="NAME", help="Only entries of this name.")
@click.option("--since", metavar="TIME", help="Only entries since a date or 7d, 24h, 30min.")
@click.option("--zone", metavar="CODE", help="Country or grid zone, such as DE or US-CAL-CISO.")
@click.option(
    "--intensity",
    type=_NOT_NEGATIVE,
    metavar="G_PER_KWH",
    help="Average intensity of the grid, instead of a zone. [gCO2e/kWh]",
)
@click.option(
    "--intensity-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="CSV of average intensities by time, for the hours of each entry of a ledger.",
)
@click.option(
    "--pue", type=click.FloatRange(min=1), metavar="RATIO", help="Facility over IT energy. [1]"
)
@click.option(
    "--wue", type=_NOT_NEGATIVE, metavar="L_PER_KWH", help="Water used at the site. [L/kWh]"
)
@click.option(
    "--wue-offsite",
    type=_NOT_NEGATIVE,
    metavar="L_PER_KWH",
    help="Water used to make the electricity. [L/kWh]",
)
@click.option(
    "--market",
    type=_NOT_NEGATIVE,
    metavar="G_PER_KWH",
    help="Intensity of the electricity bought by contract or certificate. [gCO2e/kWh]",
)
@click.option(
    "--market-share",
    type=click.FloatRange(min=0, max=1, min_open=True),
    metavar="SHARE",
    default=1.0,
    help="Share of the energy the contract covers; all of it when not given. [1]",
)
@click.option(
    "--residual",
    type=_NOT_NEGATIVE,
    metavar="G_PER_KWH",
    help="Residual mix, for what no contract covers. [gCO2e/kWh]",
)
@click.option(
    "--hardware",
    multiple=True,
    metavar="NAME:AMOUNT",
    help="What was held, such as h100:8, gpu-server or ram:512; may be given again.",
)
@click.option("--hours", type=_NOT_NEGATIVE, metavar="H", help="How long it was held. [h]")
@click.option(
    "--busy-hours",
    type=_NOT_NEGATIVE,
    metavar="H",
    help="How long of that it worked; the rest adds its idle draw. [h]",
)
@click.option(
    "--share",
    type=click.FloatRange(min=0, max=1),
    metavar="SHARE",
    default=1.0,
    help="Share of the hardware that was yours. [1]",
)
@click.option(
    "--units",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="How much was delivered, for figures per unit.",
)
@click.option("--unit", metavar="NAME", default="token", help="What --units counts; token.")
@click.option(
    "--training-type",
    type=click.Choice(["pre-training", "fine-tuning"]),
    help="For a model card.",
)
@click.option(
    "--training-kg",
    type=_NOT_NEGATIVE,
    metavar="KG",
    help="What training emitted, for SCI for AI. [kgCO2e]",
)
@click.option(
    "--lifetime-units",
    type=_NOT_NEGATIVE,
    metavar="N",
    help="Units the model serves until it is retired, which carry its training.",
)
@click.option("--remote", metavar="PROVIDER/MODEL", help="A request to a remote model instead.")
@click.option(
    "--params", metavar="B", help="Billions of parameters of a remote model: 7.3, or 20:400."
)
@click.option(
    "--active-params", metavar="B", help="Those that work for a token, in a mixture of experts."
)
@click.option(
    "--tokens", type=click.IntRange(min=1), metavar="N", help="Written by the remote model."
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="How long the remote answer took. [s]",
)
@click.option("--as", "form", type=click.Choice(_FORMS), help="Print this form instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool, **given: Any) -> None:
    """Tell what an energy means outside the machine, each figure with its source.

    Both Scope 2 views, water, primary energy and the share of making the hardware, with
    intervals. The energy is given, or comes from a ledger's entries of one name. Without
    a zone or an intensity the place is unknown, and the world's band is used. With
    --remote or --params it is one request to somebody else's model, by the EcoLogits method.

    \b
    Examples:
      negawatt footprint --energy 12kWh --zone DE --pue 1.2 --market 0
      negawatt footprint --energy 12kWh --zone DE --hardware h100:8 --hours 24 --units 5e6
      negawatt footprint --name train --zone FR --as model-card --training-type fine-tuning
      negawatt footprint --name train --intensity-file grid.csv --market 0
      negawatt footprint --remote openai/gpt-4o --tokens 500 --latency 6
    """  # fmt: skip
    from negawatt import settings
    from negawatt.reports.standards.question import Question

    asked = Question(**given)
    known = settings.load()
    grams = None if known.carbon.intensity is None else known.carbon.intensity.value
    if asked.is_remote:
        _tell_remote(asked, asked.site(grams), as_json=as_json)
    else:
        _tell_account(asked, grams, known.paths.ledger, as_json=as_json)


def _tell_account(
    asked: Question, set_intensity: float | None, own_ledger: Path | str, *, as_json: bool
) -> None:
    """Work out an account and print it, or a form of it."""
    from negawatt.ledger.footprint.account import account
    from negawatt.reports.standards import forms

    spent = asked.spent(own_ledger)
    found = account(spent.energy, asked.site(set_intensity, spent.grid), asked.hold(spent.wall))
    found = replace(found, notes=(*found.notes, *spent.notes))
    wish = asked.wish()
    if asked.form is not None:
        filled = forms.fill(asked.form, found, wish)
        click.echo(_json(filled.record) if as_json else filled.text, nl=as_json)
        return
    score = forms.score(found, wish)
    if as_json:
        click.echo(_json({"account": found, "sci": score}))
        return
    from rich.console import Console

    from negawatt.reports.standards import view

    view.show(spent.title, view.account_rows(found, score), found.notes, Console(highlight=False))


def _tell_remote(asked: Question, site: Site, *, as_json: bool) -> None:
    """Work out a request to a remote model and print it."""
    found = asked.answer(site)
    if as_json:
        click.echo(_json(found))
        return
    from rich.console import Console

    from negawatt.reports.standards import view

    what = asked.remote or f"a model of {asked.params} billion parameters"
    title = f"{asked.tokens} tokens from {what}, by the EcoLogits method"
    notes = (f"grid: {site.grid.place}, {site.grid.basis}",)
    view.show(title, view.remote_rows(found), notes, Console(highlight=False))


def _json(record: object) -> str:
    from negawatt.core.codec import encode

    return json.dumps(encode(record), ensure_ascii=False, allow_nan=False)
