"""An outcome as one HTML file that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from negawatt.core.estimate import Estimate
from negawatt.core.outcome import Outcome, Part
from negawatt.core.records import Workload
from negawatt.reports import outside, plots, verdict, view
from negawatt.reports.figures import Figure, Sources, amount, duration, plain
from negawatt.reports.plots import parts as parts_plot
from negawatt.reports.plots.plot import Plot

SIGNS: Mapping[str, str] = MappingProxyType({"measured": "●", "modelled": "◐", "assumed": "○"})


def page(outcome: Outcome) -> str:
    """The whole report of an outcome as HTML text."""
    sources = Sources()
    drawn = plots.of_outcome(outcome)
    sure, unsure = verdict.certainties(outcome)
    content = {
        "title": f"{outcome.facts.model}: fewer joules per token",
        "outcome": outcome,
        "facts": outcome.facts,
        "workload": _workload(outcome.facts.workload),
        "headline": verdict.headline(outcome),
        "claims": verdict.claims(outcome, sources),
        "sure": sure,
        "unsure": unsure,
        "rows": view.rows(outcome, sources),
        "layers": outcome.layers,
        "parts": _parts(outcome, sources),
        "outside": outside.rows(outcome, sources),
        "job_seconds": sum(step.seconds for step in outcome.steps),
        "longest_step": max((step.seconds for step in outcome.steps), default=0.0),
        "job_energy": sources.figure(outcome.job_energy, "energy of the optimisation itself"),
        "plots": drawn,
    }
    return render("outcome.html", content, drawn, sources)


def render(
    template: str, content: Mapping[str, Any], drawn: Mapping[str, Plot], sources: Sources
) -> str:
    """Fill a template of this package; every text of `content` is escaped.

    Args:
        template: Its file name.
        content: What it shows.
        drawn: Pictures by name; the plotting library is put in only when there are any.
        sources: Listed after everything else has been formatted.
    """
    return _environment().get_template(template).render(
        **content,
        style=_own("page.css"),
        script=_own("page.js") if drawn else Markup(""),
        library=_plotting() if drawn else Markup(""),
        specs={name: _spec(plot) for name, plot in drawn.items()},
        sources=sources.listed(),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("negawatt.reports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        amount=amount, duration=duration, plain=plain, sign=lambda kind: SIGNS[str(kind)]
    )
    return environment


def _own(name: str) -> Markup:
    """A file of this package, put into the page as it is."""
    text = (files("negawatt.reports") / "templates" / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own file, not input


@cache
def _plotting() -> Markup:
    """Plotly's own script, from the installed package."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())  # noqa: S704 - the installed library, not input


def _spec(plot: Plot) -> Markup:
    """A picture as JSON that can stand inside a script element."""
    value = {"data": plot.traces, "layout": {**plot.layout, "height": plot.height}}
    text = json.dumps(value, allow_nan=False)
    for sign in "<>&":  # no text of ours may close the element
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _workload(workload: Workload) -> str:
    requests = "one request" if workload.batch == 1 else f"{workload.batch} requests"
    return f"{requests} at a time, {workload.prompt} tokens read and {workload.generate} written"


def _parts(outcome: Outcome, sources: Sources) -> list[dict[str, Any]]:
    """The rows behind the stacked bars, with each part's share of its whole."""

    def told(parts: tuple[Part, ...], name: str) -> tuple[Figure | None, str]:
        part = next((part for part in parts if part.name == name), None)
        whole = parts_plot.total(parts)
        if part is None:
            return None, ""
        figure = sources.figure(part.energy, f"energy of {name}", scale=1000)
        return figure, _share(part.energy.value / whole) if whole else ""

    names = dict.fromkeys(part.name for part in (*outcome.before, *outcome.after))
    made = [
        {"name": name, "before": told(outcome.before, name), "after": told(outcome.after, name)}
        for name in names
    ]
    return [*made, {"name": "whole", **_wholes(outcome, sources)}] if made else []


def _share(fraction: float) -> str:
    return f"{100 * fraction:.1f} %" if fraction >= 0.0005 or not fraction else "< 0.1 %"


def _wholes(outcome: Outcome, sources: Sources) -> dict[str, tuple[Figure | None, str]]:
    def summed(parts: tuple[Part, ...]) -> tuple[Figure | None, str]:
        if not parts:
            return None, ""
        first, *others = (part.energy for part in parts)
        whole: Estimate = sum(others, start=first)
        return sources.figure(whole, "energy of all parts", scale=1000), "100 %"

    return {"before": summed(outcome.before), "after": summed(outcome.after)}
