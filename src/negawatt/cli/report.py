"""`negawatt report`: what was found, from the ledger or a result, for people and machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from negawatt.core.outcome import Outcome
    from negawatt.reports.totals import Grid

_JSON_STARTS = (b"{", b"[")


@click.command()
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[SOURCE]")
@click.option("--entry", type=int, metavar="N", help="Show the optimisation that entry N holds.")
@click.option("--kind", metavar="KIND", help="Only entries of this kind, such as measure.")
@click.option("--name", metavar="NAME", help="Only entries of this name.")
@click.option(
    "--since", metavar="TIME", help="Only entries since a date, a time or 7d, 24h, 30min."
)
@click.option(
    "--intensity",
    type=click.FloatRange(min=0),
    metavar="G_PER_KWH",
    help="Work out all emissions with this grid. [gCO2e/kWh]",
)
@click.option(
    "--pue",
    type=click.FloatRange(min=1),
    metavar="RATIO",
    help="Facility over IT energy, to count the building in. [1]",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page that needs nothing but itself.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of report.json, and stop.")
def command(
    *,
    source: Path | None,
    entry: int | None,
    kind: str | None,
    name: str | None,
    since: str | None,
    intensity: float | None,
    pue: float | None,
    html_path: Path | None,
    as_json: bool,
    schema: bool,
) -> None:
    """Show what was found: totals of a ledger, or the result of an optimisation.

    SOURCE is a ledger, a report.json, or the folder that `negawatt optimize`
    wrote; your own ledger when left out. A ledger is verified before anything
    of it is shown.

    \b
    Examples:
      negawatt report
      negawatt report --since 7d --intensity 56 --html week.html
      negawatt report runs/smollm2 --html again.html
      negawatt report --entry 12 --json
    """  # fmt: skip
    if schema:
        _print_schema()
        return
    path = _place(source)
    if _is_result(path):
        _refuse_filters(entry, kind, name, since, intensity, pue)
        from negawatt.reports import read

        _tell_outcome(read(path), html_path, as_json=as_json)
    elif entry is not None:
        _tell_outcome(_outcome_of(path, entry), html_path, as_json=as_json)
    else:
        _tell_ledger(path, (kind, name, since), _grid(intensity, pue), html_path, as_json=as_json)


def _print_schema() -> None:
    import json

    from negawatt.reports.schema import outcome_schema

    click.echo(json.dumps(outcome_schema(), indent=2))


def _place(source: Path | None) -> Path:
    """The file that is meant: the one named, the report in a folder, or the user's ledger."""
    from negawatt import settings
    from negawatt.core.errors import UsageError

    path = settings.load().paths.ledger if source is None else source
    if path.is_dir():
        path = path / "report.json"
    if source is not None and not path.is_file():
        raise UsageError(
            f"there is no file {path}",
            fix="name a ledger, a report.json, or the folder `negawatt optimize` wrote",
        )
    return path


def _is_result(path: Path) -> bool:
    from negawatt.ledger.faults import explained

    if not path.is_file():
        return False  # opening the ledger says what is missing
    with explained(path, "read"), path.open("rb") as stream:
        return stream.read(64).lstrip().startswith(_JSON_STARTS)


def _refuse_filters(*given: object) -> None:
    from negawatt.core.errors import UsageError

    if any(value is not None for value in given):
        raise UsageError(
            "a single result has no entries to choose from",
            fix="leave out --entry, --kind, --name, --since, --intensity and --pue,"
            " or name a ledger",
        )


def _grid(intensity: float | None, pue: float | None) -> Grid:
    from negawatt import settings
    from negawatt.core.quantities import GramsPerKWh
    from negawatt.ledger.footprint import stated_intensity, stated_pue
    from negawatt.reports.totals import Grid

    stated = settings.load().carbon.intensity if intensity is None else GramsPerKWh(intensity)
    return Grid(
        intensity=None if stated is None else stated_intensity(stated),
        pue=None if pue is None else stated_pue(pue),
    )


def _outcome_of(path: Path, number: int) -> Outcome:
    from negawatt.core.errors import UsageError
    from negawatt.ledger import open_ledger
    from negawatt.reports.book import outcome_in
    from negawatt.reports.jsonfile import outcome_of

    with open_ledger(path, readonly=True) as ledger:
        ledger.verify()
        found = next((e for e in ledger.entries() if e.sequence == number), None)
    held = None if found is None else outcome_in(found)
    if held is None:
        fact = f"there is no entry {number}" if found is None else f"it is a {found.kind}"
        raise UsageError(
            f"entry {number} of {path} holds no optimisation: {fact}",
            fix="`negawatt ledger list --kind optimize` names those that do",
        )
    return outcome_of(held, f"entry {number} of {path}")


def _tell_outcome(outcome: Outcome, html_path: Path | None, *, as_json: bool) -> None:
    from negawatt.reports import show

    if html_path is not None:
        from negawatt.reports import webpage

        _write(html_path, webpage.page(outcome))
    if as_json:
        from negawatt.reports import jsonfile

        click.echo(jsonfile.text(outcome), nl=False)
    elif html_path is None:
        from rich.console import Console

        show(outcome, Console())


def _tell_ledger(
    path: Path,
    wanted: tuple[str | None, str | None, str | None],
    grid: Grid,
    html_path: Path | None,
    *,
    as_json: bool,
) -> None:
    from datetime import UTC, datetime

    from negawatt.ledger import open_ledger
    from negawatt.ledger.since import parse_since
    from negawatt.reports import book

    kind, name, since = wanted
    moment = parse_since(since, datetime.now(UTC)) if since else None
    with open_ledger(path, readonly=True) as ledger:
        read = book.read_book(ledger, book.Choice(kind, name, moment), grid)
    if html_path is not None:
        _write(html_path, book.page(read))
    if as_json:
        click.echo(book.as_json(read), nl=False)
    elif html_path is None:
        from rich.console import Console

        book.show(read, Console())


def _write(path: Path, text: str) -> None:
    from negawatt.reports.files import replace_all

    replace_all({path: text})
    click.echo(f"written: {path}", err=True)
