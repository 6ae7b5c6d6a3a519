"""The front of an exploration: joules against area and time, and where the joules go."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.energy.chips.exploration import Exploration
from negawatt.energy.chips.explore import Candidate, described
from negawatt.reports.figures import plain
from negawatt.reports.plots.plot import Plot, Trace, axis, layout, safe, wrapped

#: What parts of the joules are drawn together; a colour of the page each.
_GROUPS = (
    ("memory beside the dies", ("memory", "standby")),
    ("memory on the dies", ("shared memory", "local memory")),
    ("multipliers", ("arithmetic",)),
    ("clocks", ("clocks",)),
    ("links", ("links",)),
    ("leakage", ("leakage",)),
)


def of_exploration(found: Exploration) -> dict[str, Plot]:
    """Both pictures, by name."""
    return {plot.name: plot for plot in (_front(found), _parts(found))}


def _front(found: Exploration) -> Plot:
    one = found.choice
    return Plot(
        name="chips",
        title="Designs that nothing beats",
        caption="Further left and lower is better; colour is the time of a batch of requests. A "
        "design is here when no other is as good in joules, area and time and better in one.",
        alt=f"Scatter plot of {len(found.front)} designs. Chosen: {described(one.design)}, "
        f"{one.joules:.3g} J/token, {one.area:.3g} mm², {one.seconds:.3g} s.",
        traces=[_cloud(found.front), _ring(one)],
        layout=layout(
            xaxis=axis("area of all dies, mm² (modelled)", type="log"),
            yaxis=axis("energy, J/token (modelled)", type="log"),
            showlegend=False,
        ),
        height=480,
    )


def _cloud(front: Sequence[Candidate]) -> Trace:
    return {
        "type": "scatter", "mode": "markers", "name": "front",
        "x": [one.area for one in front], "y": [one.joules for one in front],
        "customdata": [_story(one) for one in front],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {
            "size": 11, "color": [one.seconds for one in front], "colorscale": "Viridis",
            "showscale": True, "colorbar": {"title": {"text": "s"}, "thickness": 14},
            "line": {"width": 1, "color": "var(--paper)"},
        },
    }  # fmt: skip


def _ring(one: Candidate) -> Trace:
    return {
        "type": "scatter", "mode": "markers+text", "name": "chosen", "hoverinfo": "skip",
        "x": [one.area], "y": [one.joules], "text": ["chosen<br> "], "textposition": "top center",
        "textfont": {"size": 12, "color": "var(--accent)"},
        "marker": {"symbol": "circle-open", "size": 24, "color": "var(--accent)",
                   "line": {"width": 3, "color": "var(--accent)"}},
    }  # fmt: skip


def _parts(found: Exploration) -> Plot:
    shown = _spread(found)
    names = [
        f"{'chosen: ' if one is found.choice else ''}{plain(one.area)} mm², {plain(one.seconds)} s"
        for one in shown
    ]
    return Plot(
        name="chip-parts",
        title="Where a token's joules go",
        caption="Designs of the front from few joules to many; parts sum to the whole.",
        alt="Stacked bars. "
        + "; ".join(
            f"{name}: {', '.join(f'{part} {value:.3g} J' for part, value in one.parts.items())}"
            for name, one in zip(names, shown, strict=True)
        ),
        traces=[_bar(at, shown) for at in range(len(_GROUPS))],
        layout=layout(
            barmode="stack",
            xaxis=axis("energy, J/token (modelled)"),
            yaxis=axis(
                "",
                autorange="reversed",
                tickvals=list(range(len(names))),
                ticktext=names,
                ticksuffix="  ",
            ),
        ),
        height=200 + 30 * len(shown),
    )


def _bar(at: int, shown: Sequence[Candidate]) -> Trace:
    name, parts = _GROUPS[at]
    return {
        "type": "bar", "orientation": "h", "name": name, "y": list(range(len(shown))),
        "x": [sum(one.parts[part] for part in parts) for one in shown],
        "marker": {"color": f"var(--part-{at})"},
        "hovertemplate": f"{name}: %{{x:.3g}} J/token<extra></extra>",
    }  # fmt: skip


def _spread(found: Exploration) -> list[Candidate]:
    """The choice and some others, evenly by joules."""
    step = max(1, len(found.front) // 8)
    wanted = [found.choice, *found.front[::step]]
    return [one for one in found.front if any(one is other for other in wanted)]


def _story(one: Candidate) -> str:
    lines = [
        f"<b>{safe(wrapped(described(one.design)))}</b>",
        f"{one.joules:.3g} J/token, {one.area:.3g} mm², {one.seconds:.3g} s",
        f"{one.power:.3g} W mean, {one.peak:.3g} W at most, {one.carbon:.3g} kgCO2e to make",
        f"multipliers {one.busy:.0%} busy, memory {one.memory_share:.0%} of the time",
    ]
    return "<br>".join(lines)
