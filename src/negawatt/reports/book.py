"""A ledger as a report: what it adds up to, for terminals, browsers and machines."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from negawatt.core.codec import encode
from negawatt.core.estimate import Estimate
from negawatt.ledger import Entry, Head, Ledger
from negawatt.ledger.checkpoint import told_of_clock
from negawatt.ledger.footprint import Signal
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
MARGINAL = (
    "Marginal intensities tell what one more kilowatt-hour caused; they belong in no Scope 2"
    " total and are not added to average ones."
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

    place: str  # a path, or an address without its password
    head: Head  # of the whole chain, which verified
    choice: Choice
    totals: tuple[Total, ...]
    recent: tuple[Entry, ...]
    outcomes: tuple[int, ...]  # entries that hold a whole optimisation
    grid: Grid  # with which emissions were worked out
    notes: tuple[str, ...] = ()  # what a reader has to know to use the sums

    @property
    def name(self) -> str:
        """The last part of the place."""
        return self.place.rpartition("/")[2] or self.place


def read_book(ledger: Ledger, choice: Choice | None = None, grid: Grid | None = None) -> Book:
    """Verify a ledger and add up the chosen entries.

    Raises:
        LedgerError: the chain does not verify, so no sum of it is shown.
    """
    choice = choice or Choice()
    audit = ledger.audit()
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
    grid = grid or Grid()
    notes = tuple(_notes(summed, grid))
    if audit.back:
        notes = (*notes, told_of_clock(audit.back))
    return Book(
        ledger.place, audit.head, choice, summed, tuple(recent), tuple(outcomes), grid, notes
    )


def _notes(summed: Sequence[Total], grid: Grid) -> Iterable[str]:
    """What is in the sums and what is not, in sentences."""
    if once := sum(total.counted_once for total in summed):
        yield (
            f"{once} {'entry' if once == 1 else 'entries'} measured what others measured too and"
            f" {'is' if once == 1 else 'are'} counted once. CPU time and wall time are each"
            " process's own and are added in full."
        )
    if bad := sum(total.refused for total in summed):
        yield (
            f"{bad} {'entry holds' if bad == 1 else 'entries hold'} a figure below zero, which no"
            " energy and no time can be: it is left out, and unknown."
        )
    yield from of_hours(grid)
    if grid.hours is None:
        return
    lacking = sum(_known(total, "energy") - _known(total, "emissions") for total in summed)
    if lacking:
        yield (
            f"The emissions of {lacking} {'entry' if lacking == 1 else 'entries'} are unknown, and"
            f" in no sum: {grid.hours.path.name} lacks some or all of their time, or they do not"
            " tell it."
        )


def of_hours(grid: Grid) -> Iterable[str]:
    """What intensities by time were used, in sentences."""
    if grid.hours is not None:
        yield f"Emissions are worked out hour by hour with {grid.hours}."
        if grid.hours.basis.signal is Signal.MARGINAL:
            yield MARGINAL


def _known(total: Total, key: str) -> int:
    return total.sums[key].known if key in total.sums else 0


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
    notes: tuple[str, ...] = ()


def as_json(book: Book) -> str:
    """A book as one JSON object, figures with kind, interval and source."""
    value = Printed(book.place, book.head, book.choice, book.totals, book.outcomes, book.notes)
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
        once = f"{row.total.counted_once} once" if row.total.counted_once else ""
        table.add_row(name, screen.stacked(str(row.total.entries), once), *cells, last)
    blocks: list[RenderableType] = [
        Text(f"Ledger {book.place}", style="bold"),
        Text(f"{book.head.sequence} entries verify; shown: {book.choice}"),
        Text(),
        table if rows else Text("No entry was chosen."),
        Text(f"{glyphs.modelled} modelled  {glyphs.assumed} assumed  no sign: measured",
             style="dim"),
        Text(APART, style="dim"),
        *(Text(note) for note in book.notes),
        *(Text(f"Entry {n} holds an optimisation: negawatt report {book.place} --entry {n}")
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
        "title": f"Energy ledger: {book.name}",
        "book": book,
        "heads": list(HEADS.values()),
        "rows": rows,
        "apart": APART,
        "recent": [
            {"entry": entry, "name": totals.name_of(entry.body), "cells": _cells(
                totals.shown_figures(entry, book.grid), sources)}
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
