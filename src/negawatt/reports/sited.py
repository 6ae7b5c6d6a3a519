"""A site on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.core.estimate import Estimate
from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.decisions.site.account import Account
    from negawatt.decisions.site.building import Sizing


def show(found: Account, console: Console) -> None:
    """The site for people."""
    console = fitting(console)
    put(
        title(f"{found.name}: {plain(found.hours)} h from {found.start:%Y-%m-%d %H:%M} UTC"),
        console,
    )
    put(_flows(found, console), console)
    put(title("What it takes"), console)
    for line in _takes(found):
        put(Text(line), console)
    put(title("What each part saved"), console)
    put(_saved(found, console), console)
    saving = found.saving
    spread = "" if saving.is_exact else f" ({saving.low:.0%} to {saving.high:.0%})"
    put(Text(f"all of them {saving.value:.0%}{spread}"), console)
    if found.foreseen is not None:
        put(
            Text(
                f"planned each day by the day before, the battery keeps {found.foreseen:.0%} of what"
                " knowing the future would save"
            ),
            console,
        )
    if found.ways:
        put(title(f"How it is cooled ({found.envelope})"), console)
        ways = [f"{way} {share:.0%}" for way, share in found.ways.items() if share]
        put(Text(f"PUE {_told(found.pue)}: {', '.join(ways)} of the time"), console)
    if found.sizing is not None:
        put(title(f"What size would be best, by {found.sizing.aim}"), console)
        _sized(found.sizing, console)
    put(title("Why"), console)
    for sentence in (found.because, *found.would_change, *found.notes):
        put(Text(f"- {sentence}"), console)


def _flows(found: Account, console: Console) -> Table:
    table = ruled(console)
    for name in found.energy:
        table.add_column(f"{name}\nkWh", justify="right")
    table.add_row(*(plain(value) for value in found.energy.values()))
    return table


def _takes(found: Account) -> Iterator[str]:
    yield f"{_told(found.grams, 1e-3)} kgCO2e, {found.grams.boundary}; {found.source}"
    if found.making is not None and found.making.value > 0:
        yield f"{_told(found.making, 1e-3)} kgCO2e on top for {found.making.boundary}, this time's part"
    if found.cost is not None:
        yield f"{plain(found.cost)} in the currency of the price"
    yield f"{_told(found.onsite)} L of water on site, {_told(found.offsite)} L for the electricity"
    if found.weighted is not None:
        yield f"{_told(found.weighted)} L on site, weighted by scarcity"


def _saved(found: Account, console: Console) -> Table:
    table = ruled(console)
    table.add_column("part")
    table.add_column("kgCO2e", justify="right")
    table.add_column("of what it would be without any", justify="right")
    whole = found.without.value
    table.add_row("none of them", plain(whole / 1e3), "100%" if whole > 0 else "")
    for part, grams in found.saved.items():
        small = abs(grams) < 0.05
        share = f"{-grams / whole:+.1%}" if whole > 0 and not small else ""
        table.add_row(part, "0" if small else plain(-grams / 1e3), share)
    return table


def _sized(sizing: Sizing, console: Console) -> None:
    table = ruled(console)
    table.add_column("what\n")
    for head in (
        "solar\nkWp", "battery\nkWh", "bought\nkWh/year", "emitted\nkgCO2e/year",
        "of it making\nkgCO2e/year",
    ):  # fmt: skip
        table.add_column(head, justify="right")
    for built in (sizing.best, *sizing.beside):
        table.add_row(
            built.what,
            _size(built.solar_kwp),
            _size(built.battery_kwh),
            plain(built.bought_kwh),
            _told(built.grams, 1e-3),
            _told(built.making_g, 1e-3),
        )
    put(table, console)
    for sentence in (sizing.because, *sizing.would_change, *sizing.notes):
        put(Text(f"- {sentence}"), console)


def _size(value: float) -> str:
    return plain(value) if value > 1e-3 else "0"


def _told(one: Estimate, scale: float = 1.0) -> str:
    if one.is_exact:
        return plain(one.value * scale)
    return f"{plain(one.value * scale)} ({plain(one.low * scale)} to {plain(one.high * scale)})"
