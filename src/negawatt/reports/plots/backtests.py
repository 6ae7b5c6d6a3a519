"""A back-test in pictures: what each policy saved, what saved it, and on which days."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.decisions.backtests import Backtest, Score
from negawatt.reports.plots.plot import Plot, Trace, axis, bars, layout, safe

_PARTS = (
    ("efficiency", "var(--role-reference)"),
    ("time", "var(--accent)"),
    ("place", "var(--role-uniform)"),
    ("variant", "var(--role-base)"),
)
_SHADES = ("var(--accent)", "var(--role-uniform)", "var(--role-base)")


def of_backtest(found: Backtest) -> dict[str, Plot]:
    """Every picture that there are figures for, by name."""
    drawn = [saving(found), days(found)]
    if found.places or any(
        parts["variant"] or parts["efficiency"] for parts in found.parts.values()
    ):
        drawn.insert(1, parts(found))
    return {plot.name: plot for plot in drawn}


def label(name: str) -> str:
    """A policy's name for people."""
    return "run now" if name == "now" else name


def saving(found: Backtest) -> Plot:
    """Saving of each policy with its interval [%], the oracles apart."""
    names = [label(one.policy) for one in found.scores]
    groups = (
        (
            "foreseen or known",
            [o for o in found.scores if not _oracle(o)],
            "circle",
            "var(--accent)",
        ),
        ("oracle", [o for o in found.scores if _oracle(o)], "diamond", "var(--role-reference)"),
    )
    return Plot(
        name="saving",
        title="What each policy saved",
        caption="Against the same jobs run now, in the same zone; lines are 95 % intervals over days.",
        alt="; ".join(_told(one) for one in found.scores),
        traces=[
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [100 * one.saving.value for one in members],
                "y": [label(one.policy) for one in members],
                "error_x": bars([one.saving for one in members], 100.0),
                "marker": {"symbol": symbol, "size": 11, "color": colour},
                "hovertemplate": "%{y}: %{x:.2f} %<extra></extra>",
            }
            for name, members, symbol, colour in groups
        ],
        layout=layout(
            xaxis=axis("saving, %", rangemode="tozero"),
            yaxis=axis(
                "",
                type="category",
                categoryorder="array",
                categoryarray=names,
                autorange="reversed",
                ticksuffix="  ",
            ),
        ),
        height=150 + 30 * len(names),
    )


def _oracle(one: Score) -> bool:
    return one.forecast == "oracle"


def _told(one: Score) -> str:
    return (
        f"{label(one.policy)} saves {100 * one.saving.value:.2f} %"
        f" ({100 * one.saving.low:.1f} to {100 * one.saving.high:.1f})"
    )


def parts(found: Backtest) -> Plot:
    """Shares of efficiency, time, place and variant in each saving, on one another. [%]"""
    names = list(found.parts)
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "x": [100 * found.parts[name][part] for name in names],
            "y": [label(name) for name in names],
            "marker": {"color": colour},
            "hovertemplate": f"{part}: %{{x:.2f}} %<extra></extra>",
        }
        for part, colour in _PARTS
    ]
    return Plot(
        name="parts",
        title="What saved it",
        caption=(
            "Shapley's value: what each change adds on average over every order of making them. The"
            " parts add up to the saving of all together."
        ),
        alt="; ".join(
            f"{label(name)}: "
            + ", ".join(f"{part} {100 * found.parts[name][part]:.2f} %" for part, _ in _PARTS)
            for name in names
        ),
        traces=traces,
        layout=layout(
            barmode="relative",
            xaxis=axis("saving, %"),
            yaxis=axis("", type="category", autorange="reversed", ticksuffix="  "),
        ),
        height=150 + 30 * len(names),
    )


def days(found: Backtest) -> Plot:
    """Saving day by day of the best policy that is no oracle, and of the oracle of its kind. [%]"""
    shown = _lines(found.scores)
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": label(name),
            "x": list(found.days),
            "y": [100 * value for value in found.daily[name]],
            "line": {"width": 1.2, "color": _SHADES[place % len(_SHADES)]},
            "hovertemplate": f"%{{x}}: %{{y:.1f}} %<extra>{safe(label(name))}</extra>",
        }
        for place, name in enumerate(shown)
    ]
    return Plot(
        name="days",
        title="Day by day",
        caption="Jobs released on that day. Below 0 a forecast led to dirtier hours than running now.",
        alt=f"Saving of {' and of '.join(label(name) for name in shown)} on {len(found.days)} days.",
        traces=traces,
        layout=layout(xaxis=axis("", type="date"), yaxis=axis("saving, %", zeroline=True)),
    )


def _lines(scores: Sequence[Score]) -> list[str]:
    foreseen = [one for one in scores if not _oracle(one) and one.shape != "now"]
    if not foreseen:
        return [scores[-1].policy]
    best = max(foreseen, key=lambda one: one.saving.value)
    kind = "interruptible" if best.shape in ("interruptible", "stop-and-go") else "contiguous"
    oracle = next(one for one in scores if _oracle(one) and one.shape == kind)
    return [oracle.policy, best.policy]
