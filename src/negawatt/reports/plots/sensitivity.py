"""Why a layer got its bits: what it costs against what narrowing it would harm."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.core.outcome import LayerChoice, Outcome
from negawatt.core.records import Format
from negawatt.reports.figures import amount
from negawatt.reports.plots.heat import colour, ordered
from negawatt.reports.plots.plot import Plot, Trace, axis, layout, safe, wrapped


def plot(outcome: Outcome) -> Plot | None:
    """Expected KL of the narrowest format over joules at the widest quantised one."""
    dots = [dot for dot in map(_dot, outcome.layers) if dot is not None]
    if not dots:
        return None
    formats = ordered(choice.chosen for choice, _, _ in dots)
    return Plot(
        name="sensitivity",
        title="Why: what a layer costs against what narrowing it would harm",
        caption="Across: the layer's energy in its widest quantised format (modelled). Up: expected"
        " KL if this layer alone took its narrowest format."
        " Low and far right are the layers to narrow first.",
        alt=f"Scatter plot of {len(dots)} layers, coloured by chosen format. "
        "The table below lists all.",
        traces=[_trace(name, [dot for dot in dots if dot[0].chosen == name]) for name in formats],
        layout=layout(
            xaxis=axis("energy, mJ/token (modelled)", type="log", dtick=1),
            yaxis=axis("expected KL, mnat/token (modelled)", type="log", dtick=1),
        ),
        height=420,
    )


_Dot = tuple[LayerChoice, float, float]


def _dot(choice: LayerChoice) -> _Dot | None:
    """The layer's place, or None when a logarithm cannot show it."""
    known = choice.sensitivity.keys() & choice.energy.keys()
    quantised = ordered(name for name in known if Format.parse(name).bits < 16)
    if not quantised:
        return None
    energy, harm = choice.energy[quantised[0]], choice.sensitivity[quantised[-1]]
    return (choice, energy, harm) if energy > 0 and harm > 0 else None


def _trace(name: str, dots: Sequence[_Dot]) -> Trace:
    return {
        "type": "scatter", "mode": "markers", "name": safe(name),
        "x": [1000 * energy for _, energy, _ in dots], "y": [1000 * harm for _, _, harm in dots],
        "customdata": [_story(*dot) for dot in dots],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"size": 9, "color": colour(name), "opacity": 0.9,
                   "line": {"width": 1, "color": "var(--muted)"}},
    }  # fmt: skip


def _story(choice: LayerChoice, energy: float, harm: float) -> str:
    return (
        f"<b>{safe(choice.layer.name)}</b>: {safe(choice.chosen)}<br>"
        f"{amount(energy, 'J/token')} (modelled), {1000 * harm:.3g} mnat/token<br>"
        f"{safe(wrapped(choice.because))}"
    )
