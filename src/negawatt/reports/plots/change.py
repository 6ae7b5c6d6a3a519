"""Before and after: how many times as much each figure is, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from negawatt.core.estimate import Estimate
from negawatt.reports.compare import Change
from negawatt.reports.figures import listing
from negawatt.reports.plots.plot import Plot, Trace, axis, bars, layout, safe, told, wrapped

LESS, MORE, UNSURE, OTHER = (
    "less after", "more after", "not told from no change", "does not count the same things",
)  # fmt: skip
#: Meaning -> symbol and colour; the symbol tells it on paper without colours too.
_LOOKS = (
    (LESS, "circle", "var(--accent)"),
    (MORE, "diamond", "var(--bad)"),
    (UNSURE, "circle-open", "var(--muted)"),
    (OTHER, "x-thin-open", "var(--muted)"),
)
_WIDE = 8.0  # from such a span of ratios on, halving is drawn as far as doubling
_TICKS = 9

_Shown = Sequence[tuple[Change, Estimate]]


def plot(changes: Sequence[Change]) -> Plot | None:
    """After over before of each figure, with its interval; None when no figure has a ratio."""
    shown = [(change, change.ratio) for change in changes if change.ratio is not None]
    if not shown:
        return None
    names = [change.name for change, _ in shown]
    return Plot(
        name="change",
        title="After over before",
        caption=_caption(changes),
        alt="; ".join(
            f"{change.name}: {ratio.value:.3g} times as much after"
            f" ({ratio.low:.3g} to {ratio.high:.3g}), {meaning(change)}"
            for change, ratio in shown
        ),
        traces=[
            _points(look, members)
            for look in _LOOKS
            if (members := [one for one in shown if meaning(one[0]) == look[0]])
        ],
        layout=layout(
            xaxis=_ratios([ratio for _, ratio in shown]),
            yaxis=axis(
                "", type="category", categoryorder="array", categoryarray=names, ticksuffix="  ",
                range=[len(names) - 0.5, -0.5], gridcolor="var(--grid)",
            ),
            shapes=[
                {
                    "type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1,
                    "layer": "below", "line": {"color": "var(--ink)", "width": 1.5, "dash": "dot"},
                }
            ],
        ),
        height=170 + 54 * len(shown),
    )  # fmt: skip


def meaning(change: Change) -> str:
    """What can be said of a change: one of `LESS`, `MORE`, `UNSURE` and `OTHER`."""
    if change.before.boundary != change.after.boundary:
        return OTHER
    if change.difference.high < 0:
        return LESS
    return MORE if change.difference.low > 0 else UNSURE


def _points(look: tuple[str, str, str], members: _Shown) -> Trace:
    name, symbol, colour = look
    return {
        "type": "scatter", "mode": "markers+text", "name": name,
        "x": [ratio.value for _, ratio in members], "y": [change.name for change, _ in members],
        "error_x": bars([ratio for _, ratio in members], thickness=2, color=colour),
        "text": [f"{ratio.value:.3g}" for _, ratio in members],
        "textposition": "top center", "textfont": {"size": 12, "color": "var(--ink)"},
        "customdata": [_story(change, ratio) for change, ratio in members],
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"symbol": symbol, "size": 11, "color": colour,
                   "line": {"width": 2, "color": colour}},
    }  # fmt: skip


def _story(change: Change, ratio: Estimate) -> str:
    lines = [f"<b>{safe(change.name)}</b>", told("after over before", ratio)]
    lines += [told("after minus before", change.difference), safe(wrapped(change.sentence))]
    return "<br>".join(lines)


def _ratios(ratios: Sequence[Estimate]) -> dict[str, Any]:
    """An axis that holds every interval and no change."""
    low = min(1.0, *(ratio.low for ratio in ratios))
    high = max(1.0, *(ratio.high for ratio in ratios))
    title = "after over before (1 is no change)"
    if low > 0 and high > _WIDE * low:
        ends = math.log10(low), math.log10(high)
        pad = 0.08 * (ends[1] - ends[0])
        span = (ends[0] - pad, ends[1] + pad)
        marks = _powers(*span)
        return axis(title, type="log", range=span, tickvals=marks, ticktext=_names(marks))
    pad = max(0.08 * (high - low), 0.01)  # marks closer to each other would read alike
    span = (max(0.0, low - pad), high + pad)  # no ratio lies below zero
    marks = _steps(*span)
    return axis(title, range=span, tickvals=marks, ticktext=_names(marks))


def _powers(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 and so on between two powers of ten; fewer when they are many."""
    inside = [
        (power, digit)
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in (1, 2, 5)
        if low <= power + math.log10(digit) <= high
    ]
    if len(inside) > _TICKS:
        tens = [(power, digit) for power, digit in inside if digit == 1]
        every = 1 + len(tens) // _TICKS
        inside = [(power, digit) for power, digit in tens if power % every == 0]
    return [float(f"{digit}e{power}") for power, digit in inside]


def _steps(low: float, high: float) -> list[float]:
    """Round numbers between two, and 1 among them."""
    base = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(base * n for n in (1, 2, 5, 10) if (high - low) / (base * n) <= _TICKS)
    round_ones = (n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1))
    apart = (round(mark, 12) for mark in round_ones if abs(mark - 1) > step / 2)
    return sorted([1.0, *apart])


def _names(marks: Sequence[float]) -> list[str]:
    return [f"{mark:g}" for mark in marks]


def _caption(changes: Sequence[Change]) -> str:
    text = (
        "Left of the dotted line there is less after than before. Where an interval reaches over"
        " the line, the figure may as well be unchanged."
    )
    without = [change.name for change in changes if change.ratio is None]
    if without:
        text += f" There is no ratio for {listing(without)}: before may have been zero."
    return text
