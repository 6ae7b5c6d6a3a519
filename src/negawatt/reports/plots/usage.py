"""What each piece of work has drawn, out of a ledger."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.core.estimate import Estimate
from negawatt.reports.figures import amount
from negawatt.reports.plots.plot import Plot, axis, bars, layout, safe, told
from negawatt.reports.totals import Total

_SHOWN = 16  # groups, most energy first


def plot(totals: Sequence[Total]) -> Plot | None:
    """Energy by name as bars with intervals [J]; None when no energy is known."""
    known = [(total, total.sums["energy"].estimate) for total in totals if "energy" in total.sums][
        :_SHOWN
    ]
    if not known:
        return None
    energies: list[Estimate] = [energy for _, energy in known]
    return Plot(
        name="usage",
        title="Energy by name",
        caption="Bars are sums over the entries; the whiskers add the ends of their intervals.",
        alt="; ".join(f"{t.name}: {amount(energy.value, 'J')}" for t, energy in known),
        traces=[
            {
                "type": "bar", "orientation": "h",
                "y": [f"{safe(t.name)} ({safe(t.kind)})" for t, _ in known],
                "x": [energy.value for energy in energies],
                "error_x": bars(energies, thickness=1.5, color="var(--ink)"),
                "marker": {"color": "var(--role-searched)"},
                "customdata": [
                    f"<b>{safe(t.name)}</b>, {t.entries} entries<br>{told('energy', energy)}"
                    for t, energy in known
                ],
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        ],
        layout=layout(
            xaxis=axis("energy, J", rangemode="tozero"),
            yaxis=axis("", autorange="reversed", showgrid=False, ticksuffix="  "),
            showlegend=False,
            bargap=0.45,
        ),
        height=130 + 36 * len(known),
    )  # fmt: skip
