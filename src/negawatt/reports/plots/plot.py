"""What one picture is, and the look they share."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from negawatt.core.estimate import Estimate

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture with the words that stand for it where it cannot be seen."""

    name: str
    title: str
    caption: str
    alt: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    height: int = 420  # [px]
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # button -> axis ranges


def axis(title: str, **more: Any) -> dict[str, Any]:
    """One axis in the shared look."""
    return {
        "title": {"text": title, "standoff": 12},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "tickcolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
        **more,
    }


def layout(**more: Any) -> dict[str, Any]:
    """The shared look: the page's own paper, ink and letters."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "var(--letters)", "size": 13, "color": "var(--ink)"},
        "margin": {"l": 64, "r": 24, "t": 36, "b": 56},
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--line)",
            "font": {"family": "var(--letters)", "size": 13, "color": "var(--ink)"},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": "var(--faint)",
            "activecolor": "var(--accent)",
        },
        **more,
    }


def bars(estimates: Sequence[Estimate], scale: float = 1.0, **more: Any) -> dict[str, Any]:
    """Error bars from the intervals of some estimates."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [scale * (e.high - e.value) for e in estimates],
        "arrayminus": [scale * (e.value - e.low) for e in estimates],
        "width": 0,
        **more,
    }


def told(name: str, estimate: Estimate, scale: float = 1.0, unit: str | None = None) -> str:
    """One line of a hover text: value, interval, kind and source."""
    value, low, high = (scale * n for n in (estimate.value, estimate.low, estimate.high))
    shown = estimate.unit if unit is None else unit
    span = "" if estimate.is_exact else f" ({low:.3g} to {high:.3g})"
    return (
        f"{name}: <b>{value:.3g}{f' {shown}' if shown not in ('', '1') else ''}</b>{span},"
        f" {estimate.kind}<br>  <i>{safe(wrapped(estimate.source))}</i>"
    )


def safe(text: str) -> str:
    """Text in which the picture's own markup (b, i, br) is literal."""
    return html.escape(text, quote=False).replace("\n", "<br>  ")


def wrapped(text: str, width: int = 64) -> str:
    """Text broken into lines short enough for a hover label."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
