"""Quality against joules: every variant, the Pareto line, the budget."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.outcome import Outcome, Point
from negawatt.reports.plots.plot import Plot, Trace, axis, bars, layout, safe, told

_LOOK = MappingProxyType(
    {
        "reference": ("diamond", "var(--role-reference)"),
        "base": ("square", "var(--role-base)"),
        "uniform": ("triangle-up", "var(--role-uniform)"),
        "searched": ("circle", "var(--role-searched)"),
    }
)


def plot(outcome: Outcome) -> Plot | None:
    """Perplexity loss [%] over energy [J/token]; None when no quality was measured."""
    shown = [(p, p.variant.quality.loss) for p in outcome.points if p.variant.quality is not None]
    if not shown:
        return None
    points = [point for point, _ in shown]
    traces: list[Trace] = [_pareto(shown), *_paired_bars(shown)]
    for role, (symbol, colour) in _LOOK.items():
        members = [(p, loss) for p, loss in shown if p.role == role]
        if members:
            traces.append(_cloud(role, members, outcome, symbol, colour))
    traces.append(_choice(shown, outcome))
    budget = 100 * outcome.facts.max_loss
    return Plot(
        name="front",
        title="Quality against joules",
        caption=_caption(points, paired=any(p.cpu_vs_int8 for p in points)),
        alt=_alt(shown, outcome),
        traces=traces,
        layout=layout(
            xaxis=axis(f"energy, J/token ({_kinds(points)})", rangemode="tozero"),
            yaxis=axis("perplexity loss, %", zeroline=True, zerolinecolor="var(--line)"),
            shapes=[
                {
                    "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": budget, "y1": budget,
                    "line": {"color": "var(--warn)", "width": 1.5, "dash": "dash"},
                }
            ],
            annotations=[
                {
                    "xref": "paper", "x": 1, "y": budget, "text": f"budget {budget:g} %",
                    "showarrow": False, "xanchor": "right", "yanchor": "bottom",
                    "font": {"color": "var(--warn)", "size": 12},
                }
            ],
        ),
        height=480,
        views=_views(shown, outcome),
    )  # fmt: skip


_Shown = Sequence[tuple[Point, Estimate]]


def _pareto(shown: _Shown) -> Trace:
    front = sorted((p.energy.value, 100 * loss.value) for p, loss in shown if p.on_front)
    return {
        "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
        "x": [x for x, _ in front], "y": [y for _, y in front],
        "line": {"color": "var(--accent)", "width": 1.5, "shape": "hv", "dash": "dot"},
    }  # fmt: skip


def _cloud(role: str, members: _Shown, outcome: Outcome, symbol: str, colour: str) -> Trace:
    energies = [point.energy for point, _ in members]
    losses = [loss for _, loss in members]
    return {
        "type": "scatter", "mode": "markers+text", "name": role,
        "x": [energy.value for energy in energies], "y": [100 * loss.value for loss in losses],
        "error_x": bars(energies, thickness=1, color="var(--faint)", visible=any(not e.is_exact for e in energies)),
        "error_y": bars(losses, 100, thickness=1.5, color=colour),
        "text": [f" {safe(point.variant.name)}" for point, _ in members],
        "textposition": "top right", "textfont": {"size": 12, "color": "var(--muted)"},
        "customdata": [_story(point, loss, outcome) for point, loss in members],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"symbol": symbol, "size": 11, "color": colour,
                   "line": {"width": 1, "color": "var(--paper)"}},
        "cliponaxis": True,
    }  # fmt: skip


def _paired_bars(shown: _Shown) -> list[Trace]:
    """How far apart the paired CPU-seconds put the variants: the part not shared by all."""
    paired = [
        (p, loss, p.cpu_vs_int8) for p, loss in shown if p.cpu_vs_int8 and p.cpu_vs_int8.value
    ]
    if not paired:
        return []
    spans = [
        Estimate(
            value=p.energy.value,
            low=p.energy.value * ratio.low / ratio.value,
            high=p.energy.value * ratio.high / ratio.value,
            unit="J/token", kind=ratio.kind, source=ratio.source,
        )
        for p, _, ratio in paired
    ]  # fmt: skip
    return [
        {
            "type": "scatter", "mode": "markers", "name": "resolved by paired CPU time",
            "hoverinfo": "skip", "x": [s.value for s in spans],
            "y": [100 * loss.value for _, loss, _ in paired],
            "marker": {"symbol": "line-ew-open", "size": 9, "color": "var(--ink)"},
            "error_x": bars(spans, thickness=4, color="var(--ink)"),
            "opacity": 0.75,
        }
    ]  # fmt: skip


def _choice(shown: _Shown, outcome: Outcome) -> Trace:
    ring = [(p, loss) for p, loss in shown if p.variant.name == outcome.decision.choice]
    return {
        "type": "scatter", "mode": "markers", "name": "chosen", "hoverinfo": "skip",
        "x": [p.energy.value for p, _ in ring], "y": [100 * loss.value for _, loss in ring],
        "marker": {"symbol": "circle-open", "size": 24, "color": "var(--accent)",
                   "line": {"width": 3, "color": "var(--accent)"}},
    }  # fmt: skip


def _story(point: Point, loss: Estimate, outcome: Outcome) -> str:
    mark = ", chosen" if point.variant.name == outcome.decision.choice else ""
    lines = [f"<b>{safe(point.variant.name)}</b> ({point.role}{mark})"]
    lines += [told("energy", point.energy), told("loss", loss, 100, "%")]
    if point.cpu_vs_int8:
        lines.append(told("CPU time × uniform int8", point.cpu_vs_int8))
    if point.cpu_vs_reference:
        lines.append(told("CPU time × reference", point.cpu_vs_reference))
    return "<br>".join(lines)


def _views(shown: _Shown, outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Axis ranges near the budget first, since one bad variant flattens all others."""
    far = max(3 * outcome.facts.max_loss, 0.01)
    near = [
        (p, loss) for p, loss in shown
        if (loss.value <= far and p.role in ("uniform", "searched"))
        or p.variant.name == outcome.decision.choice
    ]  # fmt: skip
    everything = _ranges(shown, outcome, intervals=True)
    if len(near) == len(shown):
        return {"Everything": everything}
    return {
        "Near the budget": _ranges(near, outcome, intervals=False),
        f"All {len(shown)} variants": everything,
    }


def _ranges(shown: _Shown, outcome: Outcome, *, intervals: bool) -> dict[str, Any]:
    x = [n for p, _ in shown for n in _ends(p.energy, intervals=intervals)]
    y = [100 * n for _, loss in shown for n in (loss.low, loss.high)]
    y += [0.0, 100 * outcome.facts.max_loss]
    pad_x, pad_y = 0.18 * (max(x) - min(x)) or 0.1 * max(x), 0.1 * (max(y) - min(y))
    return {
        "xaxis.range": [max(0.0, min(x) - pad_x), max(x) + pad_x],
        "yaxis.range": [min(y) - pad_y, max(y) + pad_y],
    }


def _ends(energy: Estimate, *, intervals: bool) -> tuple[float, ...]:
    return (energy.low, energy.high) if intervals else (energy.value,)


def _kinds(points: Sequence[Point]) -> str:
    return " and ".join(sorted({str(point.energy.kind) for point in points}))


def _caption(points: Sequence[Point], *, paired: bool) -> str:
    text = "Lower and further left is better. Thin bars are whole intervals."
    sources = {point.energy.source for point in points}
    if len(sources) == 1 and points[0].energy.kind is not Kind.MEASURED:
        text += (
            f" All energies have one source ({sources.pop()}), so their bars stretch together and"
            " do not exchange the order of the points."
        )
    if paired:
        text += " Thick bars are what paired CPU time resolves between the variants."
    return text


def _alt(shown: _Shown, outcome: Outcome) -> str:
    words = "; ".join(
        f"{p.variant.name} {p.energy.value:.3g} J/token at {100 * loss.value:.2g} % loss"
        for p, loss in sorted(shown, key=lambda one: one[0].energy.value)
    )
    return f"Scatter plot. Chosen: {outcome.decision.choice}. {words}."
