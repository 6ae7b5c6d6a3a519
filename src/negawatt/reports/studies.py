"""Published experiments done again: one table in words, for the terminal and for a page."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.decisions.backtests import Awhile, Limits, Means, Nightly
from negawatt.reports.figures import UNKNOWN, Sources, plain
from negawatt.reports.plots import studies as drawing
from negawatt.reports.webpage import render

Study = Awhile | Nightly | Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A study in words.

    Args:
        title: What was done, and where.
        lede: What else to know before the table.
        heads: Of the columns; a line break parts name and unit.
        names: How many of the first columns are words.
        rows: Cells.
        notes: How to read it.
    """

    title: str
    lede: str
    heads: tuple[str, ...]
    names: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def told(found: Study) -> Told:
    """A study in words."""
    if isinstance(found, Awhile):
        return _awhile(found)
    return _nightly(found) if isinstance(found, Nightly) else _limits(found)


def page(found: Study) -> str:
    """A study as HTML text that needs nothing but itself."""
    drawn = {plot.name: plot for plot in (drawing.of_study(found),)}
    content = {"title": "A published experiment done again", "told": told(found), "plots": drawn}
    return render("study.html", content, drawn, Sources())


def percent(value: float | None, digits: int = 2) -> str:
    """A share in percent, as tables of savings have it.

    >>> percent(0.15589), percent(None)
    ('15.59', '—')
    """
    return UNKNOWN if value is None else f"{round(100 * value, digits) + 0.0:.{digits}f}"


def _awhile(found: Awhile) -> Told:
    rows = []
    for row in found.rows:
        noise = f"± {100 * row.error:g} %" if row.error else "all"
        rows.append(
            (
                row.rule,
                row.shape,
                noise if row.forecast == "noisy-oracle" else row.forecast,
                percent(row.published),
                UNKNOWN if row.published is None else f"{row.late:.0f}",
                percent(row.saving),
                f"{percent(row.low, 1)}…{percent(row.high, 1)}",
            )
        )
    waiting = "; ".join(
        f"{rule}: {percent(part, 1)} % of jobs can wait, {found.slack_h[rule]:.1f} h in the mean"
        for rule, part in found.shiftable.items()
    )
    return Told(
        title=(
            f"Let's Wait Awhile in {found.zone}: {found.jobs:,} jobs on {found.workdays} workdays"
            f" of {found.year}, mean {plain(found.mean)} g/kWh"
        ),
        lede=waiting,
        heads=(
            "deadline\n", "shape\n", "known\n", "as published\n%", "late\njobs",
            "deadlines kept\n%", "95 %\n",
        ),
        names=3,
        rows=tuple(rows),
        notes=found.notes,
    )  # fmt: skip


def _nightly(found: Nightly) -> Told:
    error = f"± {100 * found.error:g} %" if found.error else "no"
    lines = zip(
        found.windows_h,
        found.intensity,
        found.saving,
        found.published,
        found.nights,
        strict=True,
    )
    return Told(
        title=(
            f"Let's Wait Awhile in {found.zone}: half an hour every night at one, {found.year},"
            f" {error} error"
        ),
        lede="",
        heads=("window, ± h", "g/kWh", "saving, %", "as published, %", "nights"),
        names=0,
        rows=tuple(
            (f"{window:g}", f"{grams:.2f}", percent(saving), percent(published), str(nights))
            for window, grams, saving, published, nights in lines
        ),
        notes=("as published: divided by 365 nights also where the first one could not be run",),
    )


def _limits(found: Limits) -> Told:
    bounds = [("deferral", found.deferral), ("interruption, besides", found.interruption)]
    known = [(f"deferral, {name}", means) for name, means in found.foreseen.items()]
    moves = (
        (
            f"one move to {found.lowest}, always: {found.one_move_g:.4f} g/kWh less,"
            f" {percent(found.one_move)} %"
        ),
        (
            f"to wherever is lowest, hour by hour: {found.any_move_g:.4f} g/kWh less,"
            f" {percent(found.any_move)} %"
        ),
        f"to {found.lowest}, and shifting there: {percent(found.both)} %",
        "published: mean over the hours of what all zones save over what all emit",
    )
    gaps = f"left out, with gaps: {', '.join(found.left_out)}"
    return Told(
        title=(
            f"Limits of shifting: {len(found.zones)} zones, {found.starts:,} starts in each,"
            f" {found.hours:g} h of work and {found.slack_h:g} h of slack"
        ),
        lede=f"mean {plain(found.mean)} g/kWh; all is known but where a forecast is named",
        heads=(
            "saving\n", "published\n%", "95 %\n", "all grams\n%", "zones alike\n%",
            "zones alike\ng/kWh",
        ),
        names=1,
        rows=tuple((name, *_means(means)) for name, means in (*bounds, *known)),
        notes=(*moves, gaps) if found.left_out else moves,
    )  # fmt: skip


def _means(means: Means) -> tuple[str, ...]:
    return (
        percent(means.published, 4),
        f"{percent(means.low, 1)}…{percent(means.high, 1)}",
        percent(means.pooled),
        percent(means.zones),
        f"{means.grams:.2f}",
    )
