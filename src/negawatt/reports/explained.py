"""An explanation on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.reports.figures import amount, plain
from negawatt.reports.flame import work_in_words
from negawatt.reports.screen import fitting, put, ruled, speaks_unicode, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.energy.explain import Explanation
    from negawatt.energy.explain.leaves import Group

_BAR = 24  # characters of the whole
_MOST = 8  # rows of a table


def show(found: Explanation, console: Console) -> None:
    """The explanation for people."""
    console = fitting(console)
    put(Text(f"{found.model} on {work_in_words(found)}", style="bold"), console)
    energy = found.per_token
    put(
        Text(
            f"{plain(energy.value)} J/token ({plain(energy.low, 2)} to {plain(energy.high, 2)}, "
            f"{energy.kind}), reading included; {energy.boundary}\n"
        ),
        console,
    )
    for sentence in found.because:
        put(Text(f"- {sentence}"), console)
    for sentence in found.beyond:
        put(Text(f"- outside of the device's calibration: {sentence}"), console)
    for head, groups in (
        ("By level of the machine", found.levels),
        ("By phase", found.phases),
        ("By operation", found.operations),
    ):
        put(title(head), console)
        put(_groups(groups, console), console)
    put(title("What would be saved"), console)
    for lever in found.levers:
        put(Text(f"- {lever.words}"), console)
    put(title("One percent more"), console)
    for slope in found.slopes:
        put(Text(f"- {slope.words}"), console)
    put(Text(f"\n{energy.source}", style="dim"), console)


def _groups(groups: Sequence[Group], console: Console) -> Table:
    sign = "█" if speaks_unicode(console) else "#"
    table = ruled(console)
    table.show_header = False
    table.add_column("part", no_wrap=True)
    table.add_column("energy", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("bar", no_wrap=True)
    for group in groups[:_MOST]:
        bar = sign * round(_BAR * group.share)
        table.add_row(
            group.name, amount(group.joules, "J"), f"{plain(100 * group.share, 2)} %", bar
        )
    return table
