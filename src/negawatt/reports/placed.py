"""A placement on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.reports.figures import UNKNOWN, plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.decisions.placement import Placement

_WHOLE_DAY = 86400.0


def show(found: Placement, console: Console) -> None:
    """The placement for people."""
    console = fitting(console)
    put(title("Who reads and who writes"), console)
    put(_routes(found, console), console)
    put(title("What is on"), console)
    put(_servers(found, console), console)
    put(title("What it costs"), console)
    put(Text(_cost(found)), console)
    for name, value in found.parts.items():
        put(Text(f"- {name}: {value / found.cost.value:.0%}"), console)
    put(title("Beside it"), console)
    for rival in found.rivals:
        ratio = (
            f"{plain(rival.ratio)} times as much" if rival.ratio else "cannot serve all requests"
        )
        put(Text(f"- {rival.name}: {ratio}"), console)
    put(title("Why"), console)
    for sentence in (*found.because, *found.notes):
        put(Text(f"- {sentence}"), console)


def _cost(found: Placement) -> str:
    cost = found.cost
    if found.aim == "energy":
        return (
            f"{plain(cost.value / 1e3)} kW ({plain(cost.low / 1e3, 2)} to "
            f"{plain(cost.high / 1e3, 2)}, {cost.kind}), {cost.boundary}; the best of all takes at "
            f"most {found.gap:.1%} less"
        )
    kilos = [value * _WHOLE_DAY / 1e3 for value in (cost.value, cost.low, cost.high)]
    return (
        f"{plain(kilos[0])} kgCO2e a day ({plain(kilos[1], 2)} to {plain(kilos[2], 2)}, "
        f"{cost.kind}), {cost.boundary}; the best of all emits at most {found.gap:.1%} less"
    )


def _routes(found: Placement, console: Console) -> Table:
    table = ruled(console)
    for head in ("class", "share", "read on", "written on"):
        table.add_column(f"{head}\n", justify="right" if head == "share" else "left")
    for head in ("at once\n", "energy\nJ/request", "sent\nMB", "first\nms", "token\nms"):
        table.add_column(head, justify="right", no_wrap=True)
    for route in found.routes:
        table.add_row(
            route.asked,
            f"{route.share:.0%}",
            route.reading,
            route.writing,
            str(route.batch),
            plain(route.joules),
            plain(route.sent_bytes / 1e6) if route.sent_bytes else UNKNOWN,
            plain(1e3 * route.first_s),
            plain(1e3 * route.token_s),
        )
    return table


def _servers(found: Placement, console: Console) -> Table:
    table = ruled(console)
    table.add_column("model")
    table.add_column("machine")
    for head in ("servers", "devices each", "busy"):
        table.add_column(head, justify="right")
    for one in found.servers:
        table.add_row(one.model, one.machine, str(one.count), str(one.devices), f"{one.busy:.0%}")
    return table
