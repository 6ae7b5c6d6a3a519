"""When and where a job runs, on the terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from rich.text import Text

from negawatt.core.codec import encode
from negawatt.reports.figures import Sources, plain
from negawatt.reports.hours import Told, as_mapping
from negawatt.reports.plots import plan as drawn_plan
from negawatt.reports.screen import fitting, put, ruled, speaks_unicode, title
from negawatt.reports.webpage import render

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table

    from negawatt.core.estimate import Estimate
    from negawatt.decisions.when import Schedule, Stretch
    from negawatt.ledger.footprint.water import Water
    from negawatt.signals.series import Series

_CHART = 72  # columns of a curve at most
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.:-=+*#"


class _Option(Protocol):
    """One place."""

    @property
    def place(self) -> str: ...

    @property
    def zone(self) -> str: ...

    @property
    def grams(self) -> Estimate: ...

    @property
    def now(self) -> Estimate: ...

    @property
    def transfer(self) -> Estimate | None: ...

    @property
    def water(self) -> Water | None: ...

    @property
    def excluded(self) -> str: ...

    @property
    def rung(self) -> str: ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def outlook(self) -> Series | None: ...

    @property
    def remarks(self) -> Sequence[str]: ...


class _Part(Protocol):
    """A share of the saving."""

    @property
    def name(self) -> str: ...

    @property
    def grams(self) -> Estimate: ...


class _Planned(Protocol):
    """All places, the best one first."""

    @property
    def options(self) -> Sequence[_Option]: ...

    @property
    def here(self) -> str: ...

    @property
    def because(self) -> Sequence[str]: ...

    @property
    def would_change(self) -> Sequence[str]: ...

    @property
    def parts(self) -> Sequence[_Part]: ...

    @property
    def left_out(self) -> Sequence[str]: ...


def show(found: _Planned, console: Console) -> None:
    """The plan for people.

    Args:
        found: Of `negawatt plan`.
        console: Where to.
    """
    console = fitting(console)
    best = found.options[0]
    put(title(f"{best.schedule.job.name}: {best.place}, {_span(best.schedule)}"), console)
    for sentence in found.because:
        put(Text(f"- {sentence}"), console)
    put(title("Every place"), console)
    put(_table(found, console), console)
    for option in found.options:
        if words := told(option):
            put(Text(f"- {option.place}: {words}"), console)
    for option in found.options:
        if option.outlook is not None:
            _curve(option.schedule, option.outlook, console)
    if found.parts:
        put(title("Where the saving comes from"), console)
        for part in found.parts:
            put(Text(f"- {part.name}: {mass(part.grams)}"), console)
    put(title("What else was looked at, and what would change it"), console)
    for other in best.schedule.alternatives:
        put(Text(f"- {other.what}: {mass(other.grams)}, from {_moment(other.start)}"), console)
    for sentence in found.would_change:
        put(Text(f"- {sentence}"), console)
    for option in found.options:
        for remark in option.remarks:
            put(Text(f"- {option.place}: {remark}", style="dim"), console)
    for why in found.left_out:
        put(Text(f"- {why}"), console)


def page(found: _Planned) -> str:
    """The plan as an HTML file that needs nothing but itself."""
    sources = Sources()
    drawn = {
        f"plan-{place}": drawn_plan.plot(option.schedule, option.outlook, f"plan-{place}")
        for place, option in enumerate(found.options)
        if option.outlook is not None
    }
    best = found.options[0].schedule
    content = {
        "title": f"{best.job.name}: {found.options[0].place}, {_span(best)}",
        "found": found,
        "best": best,
        "plots": drawn,
        "rows": [
            {
                "place": option.place,
                "here": option.place == found.here,
                "told": told(option),
                "span": _span(option.schedule),
                "grams": sources.figure(option.grams, "planned emissions"),
                "now": sources.figure(option.now, "emissions of running now"),
                "saving": sources.figure(option.schedule.saving, "saving", style="percent"),
            }
            for option in found.options
        ],
        "parts": [(part.name, sources.figure(part.grams, part.name)) for part in found.parts],
        "others": [
            (other.what, _moment(other.start), sources.figure(other.grams, other.what))
            for other in best.alternatives
        ],
    }
    return render("plan.html", content, drawn, sources)


def record(found: _Planned) -> dict[str, Any]:
    """The plan as JSON values; what is not known is null."""
    return {
        "here": found.here,
        "because": list(found.because),
        "would_change": list(found.would_change),
        "parts": encode(found.parts),
        "left_out": list(found.left_out),
        "options": [
            {
                "place": option.place,
                "zone": option.zone,
                "grams": encode(option.grams),
                "now": encode(option.now),
                "transfer": encode(option.transfer),
                "water": encode(option.water),
                "excluded": option.excluded,
                "schedule": encode(option.schedule),
                "outlook": None
                if option.outlook is None
                else as_mapping(
                    Told(option.outlook, option.rung, option.remarks, option.schedule.job.release)
                ),
            }
            for option in found.options
        ],
    }


def mass(grams: Estimate) -> str:
    """An emission with its interval, in grams or kilograms.

    >>> from negawatt.core.estimate import Estimate
    >>> mass(Estimate.exact(1234.0, unit="gCO2e", source="grid"))
    '1.23 kgCO2e'
    """
    big = abs(grams.high) >= 1000
    factor, unit = (1e-3, "kgCO2e") if big else (1.0, "gCO2e")
    text = f"{plain(grams.value * factor)} {unit}"
    if grams.is_exact:
        return text
    return f"{text} ({plain(grams.low * factor)} to {plain(grams.high * factor)})"


def told(option: _Option) -> str:
    """What a place has beside its grams: data moved there, water, why it may not be chosen."""
    words = [] if option.zone == option.place else [option.zone]
    if option.transfer is not None:
        words.append(f"{mass(option.transfer)} for moving data")
    if option.water is not None:
        total = option.water.total
        words.append(f"{plain(total.low)} to {plain(total.high)} L of water")
    return "; ".join([*words, *([option.excluded] if option.excluded else [])])


def _table(found: _Planned, console: Console) -> Table:
    table = ruled(console)
    table.add_column("place", no_wrap=True)
    table.add_column("runs (UTC)")
    for head in ("planned", "run now", "saved there"):
        table.add_column(head, justify="right")
    for option in found.options:
        schedule = option.schedule
        saving = schedule.saving
        table.add_row(
            f"{option.place}{' (here)' * (option.place == found.here)}",
            _span(schedule),
            mass(option.grams),
            mass(option.now),
            f"{saving.value:.1%} ({saving.low:.1%} to {saving.high:.1%})",
        )
    return table


def _curve(schedule: Schedule, outlook: Series, console: Console) -> None:
    """The intensity as a line of bars, and under it the columns in which the job runs."""
    start, end = schedule.job.release, min(outlook.end, schedule.job.deadline)
    columns = min(_CHART, max(8, round((end - start) / outlook.step)))
    edges = [start + place * (end - start) / columns for place in range(columns + 1)]
    heights = [_mean(outlook, *edges[place : place + 2]) for place in range(columns)]
    known = [value for value in heights if value is not None]
    if not known:
        return
    wide = speaks_unicode(console)
    bars, run, wait = (_BARS, "━", "·") if wide else (_PLAIN_BARS, "=", ".")
    low, high = min(known), max(known)
    line = "".join(
        "?" if value is None else bars[_level(value, low, high, len(bars))] for value in heights
    )
    marks = "".join(
        run if _runs(schedule.stretches, *edges[place : place + 2]) else wait
        for place in range(columns)
    )
    put(Text(f"\n{schedule.zone}: {plain(low)} to {plain(high)} {outlook.unit}"), console)
    put(Text(f"  {line}"), console)
    put(Text(f"  {marks}  {_moment(start)} to {_moment(end)}"), console)


def _level(value: float, low: float, high: float, levels: int) -> int:
    return 0 if high <= low else min(levels - 1, int((value - low) / (high - low) * levels))


def _mean(outlook: Series, start: datetime, end: datetime) -> float | None:
    first = max(0, outlook.place(start))
    last = max(first + 1, -((outlook.start - end) // outlook.step))
    values = outlook.values[first:last]
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _runs(stretches: Sequence[Stretch], start: datetime, end: datetime) -> bool:
    """Whether a column is run in for the greater part of it."""
    inside = sum(
        max(0.0, (min(end, one.end) - max(start, one.start)).total_seconds()) for one in stretches
    )
    return inside * 2 >= (end - start).total_seconds()


def _moment(moment: datetime) -> str:
    return f"{moment:%a %d %b %H:%M}"


def _span(schedule: Schedule) -> str:
    pieces = len(schedule.stretches)
    broken = f" in {pieces} stretches" if pieces > 1 else ""
    return f"{_moment(schedule.start)} to {_moment(schedule.end)}{broken}"
