"""How well the energy model foretold what running the variants took."""

from __future__ import annotations

from negawatt.core.estimate import Estimate
from negawatt.core.outcome import Outcome, Point
from negawatt.reports.plots.plot import Plot, Trace, axis, bars, layout, safe, told


def plot(outcome: Outcome) -> Plot | None:
    """Predicted over found energy [J/token]; None when nothing was predicted."""
    pairs = [(p, p.predicted_energy) for p in outcome.points if p.predicted_energy is not None]
    if not pairs:
        return None
    kinds = " and ".join(sorted({str(point.energy.kind) for point, _ in pairs}))
    values = [n for point, predicted in pairs for n in (point.energy.value, predicted.value)]
    low, high = 0.92 * min(values), 1.08 * max(values)
    worst = max(abs(predicted.value / point.energy.value - 1) for point, predicted in pairs
                if point.energy.value)  # fmt: skip
    return Plot(
        name="accuracy",
        title="Predicted against found",
        caption=f"On the line the energy model was right; the worst of {len(pairs)} predictions is"
        f" {100 * worst:.1f} % off. Predictions were made before the variant was run.",
        alt="; ".join(
            f"{p.variant.name}: predicted {predicted.value:.3g}, found {p.energy.value:.3g} J/token"
            for p, predicted in pairs
        ),
        traces=[_line(low, high), _points(pairs)],
        layout=layout(
            xaxis=axis("predicted, J/token (modelled)", range=[low, high]),
            yaxis=axis(f"found by running, J/token ({kinds})", range=[low, high]),
            showlegend=False,
        ),
        height=400,
    )


def _line(low: float, high: float) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "hoverinfo": "skip", "x": [low, high],
        "y": [low, high], "line": {"color": "var(--muted)", "dash": "dot", "width": 1},
    }  # fmt: skip


def _points(pairs: list[tuple[Point, Estimate]]) -> Trace:
    found = [point.energy for point, _ in pairs]
    predicted = [estimate for _, estimate in pairs]
    return {
        "type": "scatter", "mode": "markers+text",
        "text": [f" {safe(point.variant.name)} " for point, _ in pairs],
        # away from the line, so that the names on its two sides do not meet
        "textposition": ["top left" if one.value > other.value else "bottom right"
                         for one, other in zip(found, predicted, strict=True)],
        "textfont": {"size": 12, "color": "var(--muted)"},
        "x": [estimate.value for estimate in predicted], "y": [energy.value for energy in found],
        "error_x": bars(predicted, thickness=1, color="var(--line)"),
        "error_y": bars(found, thickness=1, color="var(--line)"),
        "customdata": [
            f"<b>{safe(point.variant.name)}</b><br>{told('predicted', estimate)}<br>"
            f"{told('found', point.energy)}"
            for point, estimate in pairs
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"size": 11, "color": "var(--role-searched)",
                   "line": {"width": 1, "color": "var(--paper)"}},
    }  # fmt: skip
