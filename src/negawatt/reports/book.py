"""A ledger as a report: what it adds up to, for terminals, browsers and machines."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from negawatt.core.codec import encode
from negawatt.core.estimate import Estimate
from negawatt.ledger import Entry, Head, Ledger
from negawatt.reports import screen, totals, webpage
from negawatt.reports.figures import UNKNOWN, Figure, Sources
from negawatt.reports.plots import usage
from negawatt.reports.totals import Grid, Total

RECENT = 20  # entries listed one by one

#: Shown figure -> its heading and unit.
HEADS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "energy": ("energy", "J"),
        "cpu_seconds": ("CPU time", "s"),
        "wall_seconds": ("wall time", "s"),
        "emissions": ("emissions", "gCO2e"),
    }
)

APART = (
    "There is no grand total: one window may lie inside another, and its joules would count twice."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries of a ledger are meant; None means all."""

    kind: str | None = None
    name: str | None = None
    since: datetime | None = None

    def __str__(self) -> str:
        words = [
            f"kind {self.kind}" if self.kind else "",
            f"name {self.name}" if self.name else "",
            f"since {self.since:%Y-%m-%d %H:%M} UTC" if self.since else "",
        ]
        return ", ".join(filter(None, words)) or "all entries"


@dataclass(frozen=True, slots=True)
class Book:
    """What was read of one ledger."""

    path: Path
    head: Head  # of the whole chain, which verified
    choice: Choice
    totals: tuple[Total, ...]
    recent: tuple[Entry, ...]
    outcomes: tuple[int, ...]  # entries that hold a whole optimisation
    grid: Grid  # with which emissions were worked out


def read_book(ledger: Ledger, choice: Choice | None = None, grid: Grid | None = None) -> Book:
    """Verify a ledger and add up the chosen entries.

    Raises:
        LedgerError: the chain does not verify, so no sum of it is shown.
    """
    choice = choice or Choice()
    head = ledger.verify()
    recent: deque[Entry] = deque(maxlen=RECENT)
    outcomes: list[int] = []

    def chosen() -> Iterable[Entry]:
        for entry in ledger.entries(choice.kind, choice.since):
            if choice.name is None or totals.name_of(entry.body) == choice.name:
                recent.append(entry)
                if outcome_in(entry) is not None:
                    outcomes.append(entry.sequence)
                yield entry

    summed = totals.totals(chosen(), grid)
    return Book(ledger.path, head, choice, summed, tuple(recent), tuple(outcomes), grid or Grid())


def outcome_in(entry: Entry) -> object | None:
    """The optimisation an entry holds as JSON, at its top or under `outcome`; None for others."""
    for place in (entry.body, entry.body.get("outcome")):
        if isinstance(place, Mapping) and {"facts", "points", "decision"} <= place.keys():
            return place
    return None


@dataclass(frozen=True, slots=True)
class Printed:
    """What a machine is told of a ledger."""

    ledger: str
    head: Head
    chosen: Choice
    totals: tuple[Total, ...]
    outcomes: tuple[int, ...]


def as_json(book: Book) -> str:
    """A book as one JSON object, figures with kind, interval and source."""
    value = Printed(str(book.path), book.head, book.choice, book.totals, book.outcomes)
    return json.dumps(encode(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def show(book: Book, console: Console) -> None:
    """Print a book on a terminal; plainly when the console is none."""
    console = screen.fitting(console)
    glyphs = screen.glyphs_of(console)
    sources = Sources()
    rows = _rows(book, sources)
    table = screen.ruled(console)
    table.add_column("name\nkind", no_wrap=True, max_width=30)
    table.add_column("entries", justify="right")
    for head, unit in HEADS.values():
        table.add_column(f"{head}, {unit}\ninterval", justify="right")
    table.add_column("last\nUTC", no_wrap=True)
    for row in rows:
        cells = [
            screen.stacked(UNKNOWN, "")
            if cell.figure is None
            else screen.stacked(
                f"{cell.figure.text}{glyphs.kind(cell.figure.kind)}",
                "\n".join(filter(None, (cell.figure.interval.replace(" to ", "…"), cell.lacking))),
            )
            for cell in row.cells
        ]
        last = screen.stacked(f"{row.total.last:%Y-%m-%d}", f"{row.total.last:%H:%M}")
        name = screen.stacked(row.total.name, row.total.kind)
        table.add_row(name, str(row.total.entries), *cells, last)
    blocks: list[RenderableType] = [
        Text(f"Ledger {book.path}", style="bold"),
        Text(f"{book.head.sequence} entries verify; shown: {book.choice}"),
        Text(),
        table if rows else Text("No entry was chosen."),
        Text(f"{glyphs.modelled} modelled  {glyphs.assumed} assumed  no sign: measured",
             style="dim"),
        Text(APART, style="dim"),
        *(Text(f"Entry {n} holds an optimisation: negawatt report {book.path} --entry {n}")
          for n in book.outcomes[-3:]),
        screen.title("Where the figures come from"),
        *(Text(f"{one.kind}: {one.source}{f' [{one.boundary}]' if one.boundary else ''}:"
               f" {', '.join(one.used_for)}", style="dim") for one in sources.listed()),
    ]  # fmt: skip
    screen.put(Group(*(Padding(block, (0, 1)) for block in blocks)), console)


def page(book: Book) -> str:
    """A book as one HTML text that needs nothing but itself."""
    sources = Sources()
    rows = _rows(book, sources)
    picture = usage.plot(book.totals)
    drawn = {} if picture is None else {picture.name: picture}
    content = {
        "title": f"Energy ledger: {book.path.name}",
        "book": book,
        "heads": list(HEADS.values()),
        "rows": rows,
        "apart": APART,
        "recent": [
            {"entry": entry, "name": totals.name_of(entry.body), "cells": _cells(
                totals.shown_figures(entry.body, book.grid), sources)}
            for entry in reversed(book.recent)
        ],
        "plots": drawn,
    }  # fmt: skip
    return webpage.render("ledger.html", content, drawn, sources)


@dataclass(frozen=True, slots=True)
class _Cell:
    figure: Figure | None
    lacking: str  # "2 of 5 known" when only some entries had the figure


@dataclass(frozen=True, slots=True)
class _Row:
    total: Total
    cells: Sequence[_Cell]


def _rows(book: Book, sources: Sources) -> list[_Row]:
    made = []
    for total in book.totals:
        cells = [
            _Cell(None, "")
            if (found := total.sums.get(key)) is None
            else _Cell(
                sources.figure(found.estimate, head),
                "" if found.known == total.entries else f"{found.known} of {total.entries} known",
            )
            for key, (head, _) in HEADS.items()
        ]
        made.append(_Row(total, cells))
    return made


def _cells(figures: Mapping[str, Estimate], sources: Sources) -> list[Figure | None]:
    return [
        sources.figure(figures[key], head) if key in figures else None
        for key, (head, _) in HEADS.items()
    ]
