"""When a job runs: the curve of the grid with its band, and the hours that were chosen."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from negawatt.reports.plots.plot import Plot, Trace, axis, layout, safe

if TYPE_CHECKING:
    from negawatt.decisions.when import Schedule
    from negawatt.signals.series import Series


def plot(schedule: Schedule, outlook: Series, name: str) -> Plot:
    """Intensity over time of one zone with the chosen hours under it.

    Args:
        schedule: Of one job.
        outlook: What it was chosen from.
        name: Of the picture, unique in a page.
    """
    band = "" if outlook.low is None else " The band is its interval."
    return Plot(
        name=name,
        title=f"{schedule.job.name} in {schedule.zone}",
        caption=f"{outlook.source}; filled where the job runs, dashed where it would run at once."
        f"{band} Times are UTC.",
        alt=f"{schedule.zone}: runs "
        + ", ".join(f"{one.start:%a %H:%M} to {one.end:%a %H:%M}" for one in schedule.stretches),
        traces=[*_band(outlook), _curve(outlook), *_chosen(schedule, outlook)],
        layout=layout(
            xaxis=axis("", type="date"),
            yaxis=axis(outlook.unit, rangemode="tozero"),
            shapes=[_deadline(schedule.job.deadline), _now(schedule)],
            showlegend=True,
        ),
        height=360,
    )


def _times(outlook: Series) -> list[str]:
    """When each step begins, and when the last one ends: a curve of steps needs both."""
    return [moment.isoformat() for moment in (*outlook.times(), outlook.end)]


def _stepped(column: list[float]) -> list[float | None]:
    held = [None if value != value else value for value in column]  # noqa: PLR0124  # NaN
    return [*held, held[-1]]


def _curve(outlook: Series) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "name": "intensity", "x": _times(outlook),
        "y": _stepped(outlook.values.tolist()),
        "line": {"color": "var(--role-base)", "width": 2, "shape": "hv"},
        "hovertemplate": "%{x|%a %H:%M}<br><b>%{y:.0f}</b> " + safe(outlook.unit) + "<extra></extra>",
    }  # fmt: skip


def _band(outlook: Series) -> list[Trace]:
    if outlook.low is None or outlook.high is None:
        return []
    shared: Trace = {
        "type": "scatter", "mode": "lines", "x": _times(outlook), "hoverinfo": "skip",
        "line": {"width": 0, "shape": "hv"}, "showlegend": False,
    }  # fmt: skip
    return [
        {**shared, "y": _stepped(outlook.low.tolist())},
        {**shared, "y": _stepped(outlook.high.tolist()), "fill": "tonexty",
         "fillcolor": "rgba(128,140,136,0.18)", "showlegend": True, "name": "interval"},
    ]  # fmt: skip


def _chosen(schedule: Schedule, outlook: Series) -> list[Trace]:
    """The area under the curve while the job runs, one trace a stretch."""
    made: list[Trace] = []
    for place, one in enumerate(schedule.stretches):
        inside = [moment for moment in outlook.times() if one.start < moment < one.end]
        moments = [one.start, *inside, one.end]
        values = [_at(outlook, moment) for moment in moments[:-1]]
        nodes = f", {one.nodes} nodes" if one.nodes > 1 else ""
        made.append({
            "type": "scatter", "mode": "lines", "fill": "tozeroy", "name": "runs",
            "legendgroup": "runs", "showlegend": not place,
            "x": [moment.isoformat() for moment in moments],
            "y": [*values, values[-1] if values else None],
            "line": {"color": "var(--accent)", "width": 2, "shape": "hv"},
            "hovertemplate": f"runs {one.start:%a %H:%M} to {one.end:%a %H:%M}{nodes}"
            "<extra></extra>",
        })  # fmt: skip
    return made


def _at(outlook: Series, moment: datetime) -> float | None:
    place = outlook.place(moment)
    if not 0 <= place < len(outlook):
        return None
    value = float(outlook.values[place])
    return None if value != value else value  # noqa: PLR0124  # NaN


def _deadline(moment: datetime) -> dict[str, object]:
    return {
        "type": "line", "x0": moment.isoformat(), "x1": moment.isoformat(), "yref": "paper",
        "y0": 0, "y1": 1, "line": {"color": "var(--warn)", "width": 1.5},
        "label": {"text": "deadline", "textposition": "end", "font": {"size": 11}},
    }  # fmt: skip


def _now(schedule: Schedule) -> dict[str, object]:
    from datetime import timedelta

    end = schedule.job.release + timedelta(seconds=schedule.job.work_s)
    return {
        "type": "rect", "x0": schedule.job.release.isoformat(), "x1": end.isoformat(),
        "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dash", "width": 1,
        "color": "var(--faint)"}, "fillcolor": "rgba(0,0,0,0)",
        "label": {"text": "run now", "textposition": "top left", "font": {"size": 11}},
    }  # fmt: skip
