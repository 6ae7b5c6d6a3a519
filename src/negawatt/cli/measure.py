"""`negawatt measure`: like `time`, for energy and carbon."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from negawatt.cli.ledger.place import Place
from negawatt.core.estimate import Estimate
from negawatt.core.quantities import J_PER_KWH, GramsPerKWh

if TYPE_CHECKING:
    from negawatt.ledger import Ledger
    from negawatt.meters.command import Finished

_KWH_FROM = 1e5  # joules from which people read kilowatt-hours more easily [J]


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--name", help="What to call the measurement; the command's own name by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on one line.")
@click.option(
    "--intensity",
    type=click.FloatRange(min=0),
    metavar="G_PER_KWH",
    help="Carbon intensity of the electricity used. [gCO2e/kWh]",
)
@click.option(
    "--ledger",
    type=Place(),
    metavar="LEDGER",
    help="Also keep the measurement in this ledger.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the JSON object to a file, out of the way of the command's own output.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Run CMD so often, up to its first failure; tell the mean and how far it is certain.",
)
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    *,
    name: str | None,
    as_json: bool,
    intensity: float | None,
    ledger: str | Path | None,
    output: Path | None,
    repeat: int,
    cmd: tuple[str, ...],
) -> int:
    """Run CMD and tell its energy and carbon, like `time` tells its seconds.

    Everything CMD starts is counted. Its output, its signals and its exit status pass through;
    the measurement follows on standard error, or with --json on standard output. Without an
    energy counter, joules are a modelled range; `negawatt doctor` tells why.

    With --repeat the figures are those of one run, on average, their intervals widened by the
    95 % interval of that mean; a ledger keeps every run.

    \b
    Examples:
      negawatt measure -- python train.py --epochs 3
      negawatt measure --intensity 56 --json -- make -j2
      negawatt measure --repeat 5 -- ./benchmark
    """
    from negawatt import settings
    from negawatt.meters import command as runner

    settings.name_meters(settings.load())
    # whatever can go wrong on our side goes wrong before CMD has run for an hour
    grid = _grid(intensity)
    with _book(ledger) as book:
        runs: list[Finished] = []
        try:
            for _ in range(repeat):
                runs.append(runner.run(cmd, name=name))
                if book is not None:
                    book.append("measure", _record(cmd, runs[-1:], grid))
                if runs[-1].status:
                    break
        finally:  # where one place takes nothing, the others still do
            if runs:
                _tell(_record(cmd, runs, grid), output, as_json=as_json)
    return runs[-1].status


def _tell(record: dict[str, Any], output: Path | None, *, as_json: bool) -> None:
    line = json.dumps(_plain(record), ensure_ascii=False)
    if as_json:
        click.echo(line)
    else:
        click.echo(_screen(record), err=True)
    if output is not None:
        _write(output, line)


def _grid(stated: float | None) -> GramsPerKWh | None:
    from negawatt import settings

    return settings.load().carbon.intensity if stated is None else GramsPerKWh(stated)


def _book(path: str | Path | None) -> AbstractContextManager[Ledger | None]:
    if path is None:
        return nullcontext()
    from negawatt.ledger import open_ledger

    return open_ledger(path)


def _carbon(energy: Estimate, grid: GramsPerKWh | None) -> dict[str, Estimate]:
    """The emissions where the grid is known; where it is not, those of an unknown place."""
    from negawatt.ledger.footprint import operational_emissions, stated_intensity, world_intensity

    if grid is None:
        return {"carbon_anywhere": operational_emissions(energy, world_intensity())}
    return {"carbon": operational_emissions(energy, stated_intensity(grid))}


def _record(
    cmd: tuple[str, ...], runs: Sequence[Finished], grid: GramsPerKWh | None
) -> dict[str, Any]:
    """What is printed, written and kept; an unknown figure is left out of it."""
    body = _body(runs)
    return {
        **body,
        "command": shlex.join(cmd),
        "exit_status": runs[-1].status,
        **_carbon(body["energy"], grid),
        "left_running": sum(run.left_running for run in runs),
    }


def _body(runs: Sequence[Finished]) -> dict[str, Any]:
    """The figures of one run, or the mean of several and their number."""
    from negawatt.ledger.windows import body_of

    if len(runs) == 1:
        return body_of(runs[0].span, runs[0].started_at)
    from negawatt.meters.repeats import Repeats

    mean = Repeats(runs[0].span.name, tuple(run.span for run in runs))
    return {
        "name": mean.name,
        "runs": len(runs),
        "started_at": runs[0].started_at,
        "wall_seconds": mean.wall_seconds,
        "cpu_seconds": mean.cpu_seconds,
        "energy": mean.energy,
        "boundaries": dict(mean.energies),
        "unread": list(mean.unread),
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    from negawatt.core.codec import encode

    plain: dict[str, Any] = encode(record)
    return plain if "carbon" in plain else {**plain, "carbon": None}


def _write(path: Path, line: str) -> None:
    from negawatt.core.errors import OutputError

    try:
        path.write_text(f"{line}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}",
            fix="name a file in a folder that exists and that you may write to",
        ) from error


def _screen(record: dict[str, Any]) -> str:
    """The measurement for people."""
    energy, cpu, wall = (record[key] for key in ("energy", "cpu_seconds", "wall_seconds"))
    busy = cpu.value / wall.value if wall.value > 0 else 0.0
    rows = [
        ("energy", str(_readable(energy))),
        ("", f"in it: {energy.boundary}"),
        *[("", f"{where}: {_readable(value)}") for where, value in record["boundaries"].items()],
        ("carbon", _carbon_text(record)),
        ("CPU", f"{cpu}, {busy:.2f} threads busy on average"),
        ("wall", f"{wall.value:.4g} s" if wall.is_exact else str(wall)),
    ]
    notes = [*record["unread"]]
    if left := record["left_running"]:
        notes.append(f"{left} process(es) it started still run; counted up to now")
    runs = f", mean of {record['runs']} runs" if "runs" in record else ""
    lines = [f"\n{record['name']}, exit status {record['exit_status']}{runs}"]
    lines += [f"  {label:<7} {text}" for label, text in rows]
    return "\n".join([*lines, *[f"  note: {note}" for note in notes]])


def _readable(energy: Estimate) -> Estimate:
    if energy.high < _KWH_FROM:
        return energy
    return energy.scaled(1 / J_PER_KWH, unit="kWh")


def _carbon_text(record: dict[str, Any]) -> str:
    if "carbon" in record:
        return str(record["carbon"])
    anywhere = record["carbon_anywhere"]
    return (
        f"unknown: which grid? (somewhere between {anywhere.low:.2g} and {anywhere.high:.2g} g; "
        "say --intensity G_PER_KWH)"
    )
