"""`negawatt report`: what was found, from the ledger or a result, for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from negawatt.cli.ledger.place import AnyPlace

if TYPE_CHECKING:
    from negawatt.core.outcome import Outcome
    from negawatt.reports.forms import Forms
    from negawatt.reports.totals import Grid

_JSON_STARTS = (b"{", b"[")


@click.command()
@click.argument("source", required=False, type=AnyPlace(), metavar="[SOURCE]")
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
    "--intensity-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Work out all emissions hour by hour, with a CSV of intensities by time.",
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
@click.option(
    "--pdf",
    "pdf_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it for paper, with an appendix of methods.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one row a figure.",
)
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Compare two entries, by number, or all entries of two names.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--schema",
    is_flag=False,
    flag_value="outcome",
    type=click.Choice(["outcome", "ledger", "comparison"]),
    help="Print the JSON Schema of report.json, of a ledger's or a comparison's, and stop.",
)
def command(
    *,
    source: Path | str | None,
    entry: int | None,
    kind: str | None,
    name: str | None,
    since: str | None,
    intensity: float | None,
    intensity_file: Path | None,
    pue: float | None,
    html_path: Path | None,
    pdf_path: Path | None,
    csv_path: Path | None,
    compare: tuple[str, str] | None,
    as_json: bool,
    schema: str | None,
) -> None:
    """Show what was found: totals of a ledger, or the result of an optimisation.

    SOURCE is a ledger (a file, or the address of a database), a report.json, or
    the folder that `negawatt optimize` wrote; your own ledger when left out. A
    ledger is verified before anything of it is shown.

    \b
    Examples:
      negawatt report
      negawatt report --since 7d --intensity 56 --html week.html
      negawatt report postgresql://db.example.org/energy --intensity-file grid.csv
      negawatt report runs/smollm2 --html again.html
      negawatt report --entry 12 --json
      negawatt report --compare before after --pdf change.pdf
    """  # fmt: skip
    if schema:
        _print_schema(schema)
        return
    given = {"html": html_path, "pdf": pdf_path, "csv": csv_path}
    places = {form: place for form, place in given.items() if place is not None}
    if compare and (entry is not None or name is not None):
        _refuse_with_compare()
    place = _place(source)
    if isinstance(place, Path) and _is_result(place):
        _refuse_filters(entry, kind, name, since, intensity, intensity_file, pue, compare)
        from negawatt.reports import read

        _tell_outcome(read(place), places, as_json=as_json)
    elif entry is not None:
        _tell_outcome(_outcome_of(place, entry), places, as_json=as_json)
    else:
        wanted, grid = (kind, name, since), _grid(intensity, intensity_file, pue)
        _tell_ledger(place, wanted, grid, compare, places, as_json=as_json)


def _print_schema(of: str) -> None:
    from negawatt.reports.schema import published

    click.echo(published(of), nl=False)


def _place(source: Path | str | None) -> Path | str:
    """What is meant: what was named, the report in a folder, or the user's ledger."""
    from negawatt import settings
    from negawatt.core.errors import UsageError

    path = settings.load().paths.ledger if source is None else source
    if isinstance(path, str):
        return path  # the address of a database
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


def _refuse_with_compare() -> None:
    from negawatt.core.errors import UsageError

    raise UsageError(
        "--compare names its entries itself", fix="leave out --entry and --name, or --compare"
    )


def _refuse_filters(*given: object) -> None:
    from negawatt.core.errors import UsageError

    if any(value is not None for value in given):
        raise UsageError(
            "a single result has no entries to choose from",
            fix="leave out --entry, --kind, --name, --since, --intensity,"
            " --intensity-file, --pue and --compare, or name a ledger",
        )


def _grid(intensity: float | None, hours: Path | None, pue: float | None) -> Grid:
    from negawatt import settings
    from negawatt.core.errors import UsageError
    from negawatt.core.quantities import GramsPerKWh
    from negawatt.ledger.footprint import stated_intensity, stated_pue
    from negawatt.ledger.footprint.intensity_file import read_intensities
    from negawatt.reports.totals import Grid

    factor = None if pue is None else stated_pue(pue)
    if hours is not None:
        if intensity is not None:
            raise UsageError(
                "an intensity and a file of them are given", fix="leave one of them out"
            )
        return Grid(hours=read_intensities(hours), pue=factor)
    stated = settings.load().carbon.intensity if intensity is None else GramsPerKWh(intensity)
    return Grid(
        intensity=None if stated is None else stated_intensity(stated),
        pue=factor,
    )


def _outcome_of(place: Path | str, number: int) -> Outcome:
    from negawatt.core.errors import UsageError
    from negawatt.ledger import open_ledger
    from negawatt.reports.book import outcome_in
    from negawatt.reports.jsonfile import outcome_of

    with open_ledger(place, readonly=True) as ledger:
        ledger.verify()
        path = ledger.place
        found = next((e for e in ledger.entries() if e.sequence == number), None)
    held = None if found is None else outcome_in(found)
    if held is None:
        fact = f"there is no entry {number}" if found is None else f"it is a {found.kind}"
        raise UsageError(
            f"entry {number} of {path} holds no optimisation: {fact}",
            fix="`negawatt ledger list --kind optimize` names those that do",
        )
    return outcome_of(held, f"entry {number} of {path}")


def _tell_outcome(outcome: Outcome, places: Mapping[str, Path], *, as_json: bool) -> None:
    from negawatt.reports.forms import Forms

    _tell(Forms.of_outcome(outcome), places, as_json=as_json)


def _tell_ledger(
    place: Path | str,
    wanted: tuple[str | None, str | None, str | None],
    grid: Grid,
    compared: tuple[str, str] | None,
    places: Mapping[str, Path],
    *,
    as_json: bool,
) -> None:
    from datetime import UTC, datetime

    from negawatt.ledger import open_ledger
    from negawatt.ledger.since import parse_since
    from negawatt.reports.book import Choice, read_book
    from negawatt.reports.compare import compare
    from negawatt.reports.forms import Forms

    kind, name, since = wanted
    moment = parse_since(since, datetime.now(UTC)) if since else None
    choice = Choice(kind, name, moment)
    with open_ledger(place, readonly=True) as ledger:
        if compared:
            forms = Forms.of_comparison(compare(ledger, *compared, choice, grid))
        else:
            forms = Forms.of_book(read_book(ledger, choice, grid))
    _tell(forms, places, as_json=as_json)


def _tell(forms: Forms, places: Mapping[str, Path], *, as_json: bool) -> None:
    forms.write(places)
    for place in places.values():
        click.echo(f"written: {place}", err=True)
    if as_json:
        click.echo(forms.json(), nl=False)
    elif not places:
        from rich.console import Console

        forms.show(Console())
