"""Where the joules go, before and after: parts that sum to the whole."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.core.outcome import Outcome, Part
from negawatt.reports.figures import amount
from negawatt.reports.plots.plot import Plot, Trace, axis, layout, safe, told

BEFORE, AFTER = "uniform int8", "chosen"


def plot(outcome: Outcome) -> Plot | None:
    """Two stacked bars; None when the outcome tells of no parts."""
    if not outcome.before or not outcome.after:
        return None
    names = list(dict.fromkeys(part.name for part in (*outcome.before, *outcome.after)))
    return Plot(
        name="parts",
        title="One token's energy, part by part",
        caption="What one token's energy is spent on; the parts of a bar sum to its whole.",
        alt=f"Stacked bars. {_words(BEFORE, outcome.before)} {_words(AFTER, outcome.after)}",
        traces=[_trace(index, name, outcome) for index, name in enumerate(names)],
        layout=layout(
            barmode="stack",
            legend={
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "traceorder": "normal",
            },
            bargap=0.35,
            xaxis=axis("energy, J/token", rangemode="tozero"),
            yaxis=axis("", autorange="reversed", showgrid=False, ticksuffix="  "),
        ),
        height=260,
    )


def total(parts: Sequence[Part]) -> float:
    """The whole that the parts make. [J/token]"""
    return sum(part.energy.value for part in parts)


def _trace(index: int, name: str, outcome: Outcome) -> Trace:
    x: list[float | None] = []
    text: list[str] = []
    stories: list[str] = []
    for label, parts in ((BEFORE, outcome.before), (AFTER, outcome.after)):
        part = next((part for part in parts if part.name == name), None)
        share = part.energy.value / total(parts) if part and total(parts) else 0.0
        x.append(part.energy.value if part else None)
        text.append(f"{100 * share:.0f} %" if share >= 0.03 else "")
        stories.append(
            f"<b>{safe(name)}</b>, {label}: {100 * share:.1f} %<br>{told('energy', part.energy)}"
            if part
            else ""
        )
    return {
        "type": "bar", "orientation": "h", "name": safe(name), "y": [BEFORE, AFTER], "x": x,
        "text": text, "textposition": "inside", "insidetextanchor": "middle", "textangle": 0,
        "customdata": stories, "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"color": f"var(--part-{index % 6})",
                   "line": {"width": 1, "color": "var(--paper)"}},
    }  # fmt: skip


def _words(label: str, parts: Sequence[Part]) -> str:
    told_parts = ", ".join(f"{part.name} {amount(part.energy.value, 'J')}" for part in parts)
    return f"{label}: {amount(total(parts), 'J')} per token: {told_parts}."
