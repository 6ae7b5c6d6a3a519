"""`negawatt calibrate`: learn what a device takes, from windows measured on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import click

from negawatt.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.actions.calibrate.fitted import Calibration
    from negawatt.energy.profiles import DeviceProfile

_DATABASE = b"SQLite format 3\0"
_PICO = 1e12
#: Units of constants; those not here are seconds.
_UNITS = MappingProxyType(
    {
        "bandwidth": "B/s",
        "rate": "op/s",
        "sharpness": "",
        "static_w": "W",
        "weight_j": "pJ/B",
        "context_j": "pJ/B",
        "operation_j": "pJ",
        "link_j": "pJ/B",
    }
)
_WORDS = MappingProxyType(
    {
        "bandwidth": "bytes that arrive from memory",
        "rate": "operations in 16 bits",
        "layer_s": "of each layer, however small",
        "sequence_s": "of each sequence in a step",
        "link_s": "of each layer, between devices",
        "expert_s": "more of a layer with experts",
        "sharpness": "how hard the roofline's corner is",
        "static_w": "drawn while a step lasts",
        "weight_j": "of a byte of weights",
        "context_j": "of a byte of context",
        "operation_j": "of an operation in 16 bits",
        "link_j": "of a byte between devices",
    }
)


@click.command()
@click.option(
    "--device",
    default="auto",
    metavar="NAME",
    help="cpu, cuda or cuda:N; with --from, rows of this device alone. A GPU that can be used and "
    "measured if not given, else the CPU.",
)
@click.option("--quick", is_flag=True, help="Fewer and shorter windows: under a minute on a CPU.")
@click.option(
    "--from",
    "table",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Fit the measured runs of a CSV file, or the calibrations of a ledger, and measure "
    "nothing; `ledger` means your own.",
)
@click.option(
    "--source", default="", metavar="NAME", help="With --from: rows of this source or engine alone."
)
@click.option(
    "--sheet",
    default="",
    metavar="NAME",
    help="Datasheet to start from, such as H100-SXM5-80GB; found by the device's name if not given.",
)
@click.option("--threads", metavar="N", help="Threads of the engine; all cores if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    device: str,
    quick: bool,
    table: Path | None,
    source: str,
    sheet: str,
    threads: str | None,
    as_json: bool,
) -> None:
    """Learn what a device takes from windows measured on it, for predictions.

    A designed set of windows is run with PyTorch on this machine: rest, large matrix products, a
    large copy, and models of random weights that write and read at several batches and contexts.
    The constants of the energy model are fitted to them, and each model is left out in turn to tell
    how far predictions for another are off. Whatever the windows do not tell is said to be so. A
    stopped calibration goes on where it was, and a finished one is written into the ledger. On a
    CPU without counters times are measured, and joules are modelled by a band.

    \b
    Examples:
      negawatt calibrate --quick
      negawatt calibrate --device cuda:0
      negawatt calibrate --from runs.csv --sheet L4
      negawatt calibrate --from ledger
    """  # fmt: skip
    from negawatt.wiring import calibrate as wired

    flags = {"run.threads": threads}
    chosen = "" if device == "auto" else device
    if table is not None and (str(table) == "ledger" or _is_ledger(table)):
        place = None if str(table) == "ledger" and not table.exists() else table
        found = wired.calibrate_again(place, sheet, device=chosen, engine=source)
    elif table is not None:
        if not sheet:
            raise UsageError(
                "a table does not tell which datasheet to start from",
                fix="name one with --sheet, such as --sheet H100-SXM5-80GB",
            )
        found = wired.calibrate_from(table, sheet, device=chosen, source=source, flags=flags)
    elif source:
        raise UsageError("--source chooses rows of a table", fix="name the table with --from")
    else:
        found = wired.calibrate(device, quick=quick, sheet=sheet, progress=_tell, flags=flags)
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    _show(found, Console(highlight=False))


def _is_ledger(file: Path) -> bool:
    """Whether a file is a database and no table."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(_DATABASE)) == _DATABASE
    except OSError:
        return False  # reading it as a table says what is wrong


def _tell(stage: str, share: float) -> None:
    """Where it stands, on one line of standard error that a terminal writes over."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{share:4.0%} {stage}" if share < 1 else "\r\033[K", err=True, nl=False)


def _show(found: Calibration, console: Console) -> None:
    """The calibration for people."""
    from rich.text import Text

    from negawatt.reports.figures import plain
    from negawatt.reports.screen import fitting, put, title

    console = fitting(console)
    profile = found.profile
    put(Text(f"{profile.name} with {profile.origin.engine}", style="bold"), console)
    put(
        Text(
            f"{profile.windows} windows of {profile.models} models; {profile.origin.source}; "
            f"inside: {profile.origin.boundary}\n"
        ),
        console,
    )
    put(_constants(profile, console), console)
    if found.rows:
        put(title("Windows"), console)
        put(_windows(found, console), console)
    put(title("Models left out, foretold from the others"), console)
    put(_left_out(found, console), console)
    band = profile.band
    put(
        Text(
            f"Off by {found.error:.0%} in joules and {found.time_error:.0%} in time on average. Band "
            f"for {band.share:.0%} of models to come: joules within ×{plain(band.joules)}, time "
            f"within ×{plain(band.seconds)}"
            + (
                f"; with experts joules within ×{plain(profile.expert_band.joules)}."
                if profile.expert_band
                else "."
            )
        ),
        console,
    )
    for name, speed in found.speeds.items():
        put(
            Text(
                f"- Products in {name} are {plain(speed)} times as fast as in 16 bits and take "
                f"{plain(found.cheapness[name])} times the joules."
            ),
            console,
        )
    for note in found.notes:
        put(Text(f"- {note}"), console)
    if found.kept:
        put(Text(f"\nThe profile is in {found.kept}"), console)


def _constants(profile: DeviceProfile, console: Console) -> Table:
    """Every constant with its scatter; those not told are marked, with where they stand from."""
    from negawatt.energy.roofline import Constants
    from negawatt.reports.screen import ruled

    table = ruled(console)
    table.add_column("constant")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("scatter", justify="right", no_wrap=True)
    table.add_column("meaning")
    for name in Constants.names():
        value, untold = float(getattr(profile.constants, name)), name in profile.unidentified
        told = "not identified" if untold else f"±{profile.scatter[name]:.0%}"
        table.add_row(
            name,
            _valued(name, value),
            told,
            _WORDS[name],
            style="dim" if untold else "",
        )
    return table


def _valued(name: str, value: float) -> str:
    from negawatt.reports.figures import amount, plain

    unit = _UNITS.get(name, "s")
    if unit.startswith("p"):
        return f"{plain(value * _PICO)} {unit}"
    return amount(value, unit) if unit else plain(value)


def _windows(found: Calibration, console: Console) -> Table:
    """What was measured."""
    from negawatt.reports.figures import amount
    from negawatt.reports.screen import ruled

    table = ruled(console)
    table.add_column("window, a step of it")
    for head in ("time", "spread", "energy", "power"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in found.rows:
        table.add_row(
            row.task.name,
            amount(row.seconds, "s"),
            f"{row.spread:.0%}",
            amount(row.joules.value, "J"),
            amount(row.power, "W"),
        )
    return table


def _left_out(found: Calibration, console: Console) -> Table:
    from negawatt.reports.screen import ruled

    table = ruled(console)
    table.add_column("model")
    for head in ("windows", "joules off", "time off"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, missed in found.missed.items():
        table.add_row(name, str(missed.windows), f"{missed.joules:.0%}", f"{missed.seconds:.0%}")
    return table
