"""What devices would take, as tables of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.core.estimate import Estimate
from negawatt.ledger.footprint.operation import kilowatt_hours
from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, stacked

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.energy.outlook import Outlook, TrainingRow

_HOUR = 3600.0
_KILO = 1e3
_NEARLY_ALL = 0.8  # of the parameters: a table that is looked up is not worth telling


def show(found: Outlook, console: Console) -> None:
    """The outlook for people."""
    console = fitting(console)
    put(Text(f"{found.model} ({found.architecture})", style="bold"), console)
    put(Text(f"{_sizes(found)}; {_work(found)}\n"), console)
    table = _trainings(found.trainings, console) if found.trainings else _rows(found, console)
    put(table, console)
    grid = found.intensity
    put(
        Text(
            f"\nAll modelled, 90 % intervals below; grid {_span(grid)} gCO2e/kWh ({grid.source}).",
            style="dim",
        ),
        console,
    )
    for note in found.notes:
        put(Text(f"- {note}"), console)


def _sizes(found: Outlook) -> str:
    some = found.active < _NEARLY_ALL * found.parameters
    active = f", {found.active / 1e9:,.3g} B for each token" if some else ""
    return f"{found.parameters / 1e9:,.3g} B parameters{active}"


def _work(found: Outlook) -> str:
    asked, training = found.asked, found.training
    if training is not None:
        return (
            f"{training.tokens:.3g} tokens of training, {training.at_once:g} sequences of "
            f"{training.length} at once on {training.devices} devices"
        )
    written = f" and {asked.written:g} written" if found.writes else ""
    requests = "one request" if asked.batch == 1 else f"{asked.batch:g} requests at once"
    return f"{asked.prompt:g} tokens read{written}, {requests}"


def _rows(found: Outlook, console: Console) -> Table:
    table = ruled(console)
    table.add_column("device\n", no_wrap=True)
    written = ("written\ntoken/s", "first token\nms")
    speed = written if found.writes else ("read\ntoken/s", "a batch\nms")
    heads = ("energy\nJ/token", *speed, "power\nW", "memory\nGB")
    for head in (*heads, "emissions\ng per M token"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found.rows:
        told = row.told
        table.add_row(
            stacked(_device(told.device, told.devices), told.precision),
            _cell(told.per_token),
            _cell(told.tokens_per_s),
            _cell(told.first_s.scaled(_KILO)),
            _cell(told.power),
            stacked(plain(told.memory_bytes / 1e9), "" if told.fits else "too much"),
            _cell(row.emissions),
            style="" if told.fits else "dim",
        )
    return table


def _trainings(rows: Sequence[TrainingRow], console: Console) -> Table:
    table = ruled(console)
    table.add_column("device\n", no_wrap=True)
    heads = ("energy\nkWh", "time\nh", "device time\nh", "emissions\nkgCO2e")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        told = row.told
        hours = told.seconds.scaled(1 / _HOUR)
        table.add_row(
            _device(told.device, told.devices),
            _cell(kilowatt_hours(told.joules)),
            _cell(hours),
            _cell(hours.scaled(told.devices)),
            _cell(row.emissions.scaled(1 / _KILO)),
        )
    return table


def _device(name: str, count: int) -> str:
    return name if count == 1 else f"{count} × {name}"


def _cell(estimate: Estimate) -> Text:
    """The value over its interval."""
    return stacked(plain(estimate.value), "" if estimate.is_exact else _ends(estimate))


def _ends(estimate: Estimate) -> str:
    return f"{plain(estimate.low, 2)}…{plain(estimate.high, 2)}"


def _span(estimate: Estimate) -> str:
    value = plain(estimate.value)
    return value if estimate.is_exact else f"{value} ({_ends(estimate)})"
