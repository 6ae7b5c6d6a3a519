"""A back-test, or a published experiment done again, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.decisions.backtests import Backtest
from negawatt.reports.figures import UNKNOWN, plain
from negawatt.reports.screen import fitting, put, ruled, title
from negawatt.reports.studies import Study, percent, told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table

    from negawatt.decisions.backtests import Score


def show(found: Backtest | Study, console: Console) -> None:
    """Whatever was found, for people."""
    console = fitting(console)
    if isinstance(found, Backtest):
        _backtest(found, console)
    else:
        _study(found, console)


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


def _study(found: Study, console: Console) -> None:
    words = told(found)
    put(Text(words.title, style="bold"), console)
    put(Text(f"{words.lede}\n" if words.lede else ""), console)
    table = ruled(console)
    for at, head in enumerate(words.heads):
        right = at >= words.names
        table.add_column(head, justify="right" if right else "left", no_wrap=right)
    for row in words.rows:
        table.add_row(*row)
    put(table, console)
    put(title("How to read it"), console)
    for note in words.notes:
        put(Text(f"- {note}"), console)
