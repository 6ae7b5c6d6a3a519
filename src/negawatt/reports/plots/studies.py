"""Published experiments in pictures: savings by rule and error, by window, and by zone."""

from __future__ import annotations

from negawatt.decisions.backtests import Awhile, Limits, Nightly
from negawatt.reports.plots.plot import Plot, Trace, axis, layout, safe

_SHADES = ("var(--accent)", "var(--role-uniform)", "var(--role-searched)", "var(--role-base)")


def of_study(found: Awhile | Nightly | Limits) -> Plot:
    """The picture of a study."""
    if isinstance(found, Awhile):
        return awhile(found)
    return windows(found) if isinstance(found, Nightly) else zones(found)


def awhile(found: Awhile) -> Plot:
    """Saving with deadlines kept [%], side by side for what was known."""
    known = list(dict.fromkeys(_known(row.forecast, row.error) for row in found.rows))
    traces: list[Trace] = []
    for place, name in enumerate(known):
        rows = [row for row in found.rows if _known(row.forecast, row.error) == name]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": [f"{row.rule}, {row.shape}" for row in rows],
                "y": [100 * row.saving for row in rows],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * max(0.0, row.high - row.saving) for row in rows],
                    "arrayminus": [100 * max(0.0, row.saving - row.low) for row in rows],
                    "width": 0,
                },
                "marker": {"color": _SHADES[place % len(_SHADES)]},
                "hovertemplate": "%{x}: %{y:.2f} %<extra>" + safe(name) + "</extra>",
            }
        )
    return Plot(
        name="study",
        title="What was saved, by what was known",
        caption="Deadlines kept; lines are 95 % intervals over days.",
        alt="; ".join(
            f"{row.rule}, {row.shape}, {_known(row.forecast, row.error)}: {100 * row.saving:.2f} %"
            for row in found.rows
        ),
        traces=traces,
        layout=layout(barmode="group", xaxis=axis("", type="category"), yaxis=axis("saving, %")),
    )


def _known(forecast: str, error: float) -> str:
    if forecast != "noisy-oracle":
        return forecast
    return f"truth ± {100 * error:g} %" if error else "truth"


def windows(found: Nightly) -> Plot:
    """Mean intensity [g/kWh] over the window that the job may move in [h]."""
    return Plot(
        name="study",
        title="How far a nightly job may move",
        caption="Mean intensity of the half-hours that were chosen.",
        alt=f"From {found.intensity[0]:.1f} to {found.intensity[-1]:.1f} g/kWh at "
        f"{found.windows_h[-1]:g} h to either side.",
        traces=[
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": list(found.windows_h),
                "y": list(found.intensity),
                "line": {"color": _SHADES[0]},
                "hovertemplate": "± %{x} h: %{y:.1f} g/kWh<extra></extra>",
            }
        ],
        layout=layout(
            xaxis=axis("window to either side, h"), yaxis=axis("gCO2e/kWh"), showlegend=False
        ),
    )


def zones(found: Limits) -> Plot:
    """Saving of each zone [%] over its mean intensity [g/kWh]."""
    kinds = (("deferral", 1, "circle"), ("interruption, besides", 2, "diamond"))
    names = list(found.by_zone)
    return Plot(
        name="study",
        title="Zones differ more than hours do",
        caption="Each zone with all known: what the lowest window saves, and the cheapest hours besides.",
        alt="; ".join(
            f"{name}: {told[0]:.0f} g/kWh, {100 * told[1]:.1f} % and {100 * told[2]:.1f} %"
            for name, told in found.by_zone.items()
        ),
        traces=[
            {
                "type": "scatter",
                "mode": "markers",
                "name": kind,
                "x": [found.by_zone[name][0] for name in names],
                "y": [100 * found.by_zone[name][place] for name in names],
                "text": [safe(name) for name in names],
                "marker": {"symbol": symbol, "color": _SHADES[place - 1], "size": 8},
                "hovertemplate": "%{text}: %{x:.0f} g/kWh, %{y:.2f} %<extra></extra>",
            }
            for kind, place, symbol in kinds
        ],
        layout=layout(
            xaxis=axis("mean intensity, gCO2e/kWh", rangemode="tozero"), yaxis=axis("saving, %")
        ),
    )
