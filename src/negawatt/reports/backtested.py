"""A back-test, or a published experiment done again, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.decisions.backtests import Awhile, Backtest, Limits, Nightly
from negawatt.reports.figures import UNKNOWN, plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table

    from negawatt.decisions.backtests import Means, Score


def show(found: Backtest | Awhile | Nightly | Limits, console: Console) -> None:
    """Whatever was found, for people."""
    console = fitting(console)
    if isinstance(found, Backtest):
        _backtest(found, console)
    elif isinstance(found, Awhile):
        _awhile(found, console)
    elif isinstance(found, Nightly):
        _nightly(found, console)
    else:
        _limits(found, console)


def percent(value: float | None, digits: int = 2) -> str:
    """A share in percent, as tables of savings have it.

    >>> percent(0.15589), percent(None)
    ('15.59', '—')
    """
    return UNKNOWN if value is None else f"{round(100 * value, digits) + 0.0:.{digits}f}"


def _backtest(found: Backtest, console: Console) -> None:
    put(Text(f"{found.zone}: {found.jobs:,} jobs ({found.jobs_from})", style="bold"), console)
    put(
        Text(
            f"{found.duration_h:.3g} h each and {found.slack_h:.3g} h of slack, means;"
            f" {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d} in steps of {found.step_s / 60:g} min\n"
            f"{found.basis}, {found.unit}, {found.source}; {plain(found.kwh)} kWh in all\n"
        ),
        console,
    )
    put(_scores(found.scores, console, moved=bool(found.places)), console)
    if len(found.places) or any(_changes(found)):
        put(title("What saved it"), console)
        put(_parts(found, console), console)
    put(title("How to read it"), console)
    notes = (
        *found.notes,
        "kept is the saving over that of the oracle of its kind, which knew what would happen",
        "95 % intervals: days drawn again 2 000 times, run now and policy on the same days",
    )
    for note in notes:
        put(Text(f"- {note}"), console)


def _changes(found: Backtest) -> Iterable[bool]:
    for parts in found.parts.values():
        yield any(abs(parts[name]) > 1e-12 for name in ("efficiency", "variant"))


def _scores(scores: Iterable[Score], console: Console, *, moved: bool) -> Table:
    table = ruled(console)
    table.add_column("policy\n")
    heads = ["intensity\ng/kWh", "saving\n%", "95 %\n", "kept\n%", "regret\npoints", "wait\nh"]
    for head in (*heads, *(["moved\n%"] if moved else []), "late\njobs"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in scores:
        spread = f"{percent(one.saving.low, 1)}…{percent(one.saving.high, 1)}"
        kept = percent(one.kept, 1) if one.shape != "now" else UNKNOWN
        style = "bold" if one.forecast == "oracle" or one.shape == "now" else ""
        table.add_row(
            "run now" if one.shape == "now" else one.policy,
            plain(one.intensity),
            percent(one.saving.value),
            UNKNOWN if one.shape == "now" else spread,
            kept,
            percent(one.regret),
            f"{one.delay_h:.1f}",
            *([percent(one.moved, 0)] if moved else []),
            str(one.missed),
            style=style,
        )
    return table


def _parts(found: Backtest, console: Console) -> Table:
    names = ("efficiency", "time", "place", "variant")
    table = ruled(console)
    table.add_column("policy")
    for head in (*names, "together, %"):
        table.add_column(head, justify="right")
    for policy, parts in found.parts.items():
        name = "run now" if policy == "now" else policy
        table.add_row(name, *(percent(parts[n]) for n in names), percent(found.whole[policy]))
    return table


def _awhile(found: Awhile, console: Console) -> None:
    put(
        Text(
            f"Let's Wait Awhile in {found.zone}: {found.jobs:,} jobs on {found.workdays} workdays of"
            f" {found.year}, mean {plain(found.mean)} g/kWh",
            style="bold",
        ),
        console,
    )
    told = "; ".join(
        f"{rule}: {percent(part, 1)} % of jobs can wait, {found.slack_h[rule]:.1f} h in the mean"
        for rule, part in found.shiftable.items()
    )
    put(Text(f"{told}\n"), console)
    table = ruled(console)
    for head in ("deadline", "shape", "known"):
        table.add_column(f"{head}\n")
    for head in ("as published\n%", "late\njobs", "deadlines kept\n%", "95 %\n"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found.rows:
        noise = f"± {100 * row.error:g} %" if row.error else "all"
        table.add_row(
            row.rule,
            row.shape,
            noise if row.forecast == "noisy-oracle" else row.forecast,
            percent(row.published),
            UNKNOWN if row.published is None else f"{row.late:.0f}",
            percent(row.saving),
            f"{percent(row.low, 1)}…{percent(row.high, 1)}",
        )
    put(table, console)
    put(title("How to read it"), console)
    for note in found.notes:
        put(Text(f"- {note}"), console)


def _nightly(found: Nightly, console: Console) -> None:
    told = f"± {100 * found.error:g} %" if found.error else "no"
    put(
        Text(
            f"Let's Wait Awhile in {found.zone}, half an hour every night at one, {found.year},"
            f" {told} error\n",
            style="bold",
        ),
        console,
    )
    table = ruled(console)
    for head in ("window, ± h", "g/kWh", "saving, %", "published: saving, %", "nights"):
        table.add_column(head, justify="right")
    lines = zip(
        found.windows_h,
        found.intensity,
        found.saving,
        found.published,
        found.nights,
        strict=True,
    )
    for window, intensity, saving, published, nights in lines:
        table.add_row(
            f"{window:g}",
            f"{intensity:.2f}",
            percent(saving),
            percent(published),
            str(nights),
        )
    put(table, console)
    put(
        Text("\n- published: divided by 365 nights also where the first one could not be run"),
        console,
    )


def _limits(found: Limits, console: Console) -> None:
    put(
        Text(
            f"Limits of shifting: {len(found.zones)} zones, {found.starts:,} starts in each,"
            f" {found.hours:g} h of work and {found.slack_h:g} h of slack",
            style="bold",
        ),
        console,
    )
    put(Text(f"mean {plain(found.mean)} g/kWh; all is known but in the last rows\n"), console)
    table = ruled(console)
    table.add_column("saving\n")
    for head in ("published\n%", "95 %\n", "all grams\n%", "zones alike\n%", "zones alike\ng/kWh"):
        table.add_column(head, justify="right", no_wrap=True)
    bounds = [("deferral", found.deferral), ("interruption, besides", found.interruption)]
    known = [(f"deferral, {name}", means) for name, means in found.foreseen.items()]
    for name, means in (*bounds, *known):
        table.add_row(name, *_means(means))
    put(table, console)
    put(title("One move"), console)
    put(
        Text(
            f"- to {found.lowest}, always: {found.one_move_g:.4f} g/kWh less,"
            f" {percent(found.one_move)} %\n"
            f"- to wherever is lowest, hour by hour: {found.any_move_g:.4f} g/kWh less,"
            f" {percent(found.any_move)} %\n"
            f"- to {found.lowest}, and shifting there: {percent(found.both)} %"
        ),
        console,
    )
    if found.left_out:
        put(Text(f"- left out, with gaps: {', '.join(found.left_out)}"), console)


def _means(means: Means) -> tuple[str, ...]:
    return (
        percent(means.published, 4),
        f"{percent(means.low, 1)}…{percent(means.high, 1)}",
        percent(means.pooled),
        percent(means.zones),
        f"{means.grams:.2f}",
    )
