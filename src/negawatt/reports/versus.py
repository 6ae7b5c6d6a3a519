"""A comparison for people and machines: terminal, page and JSON."""

from __future__ import annotations

import json

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from negawatt.core.codec import encode
from negawatt.reports import screen, webpage
from negawatt.reports.compare import Change, Comparison, Side
from negawatt.reports.figures import UNKNOWN, Figure, Sources
from negawatt.reports.plots import change as change_plot

COLUMNS = ("before", "after", "after minus before", "after over before")


def as_json(found: Comparison) -> str:
    """A comparison as one JSON object."""
    return json.dumps(encode(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def told(side: Side) -> str:
    """Which entries stand on a side, in words."""
    if len(side.entries) == 1:
        return f"{side.name}, entry {side.entries[0]}"
    return f"{side.name}, mean of {len(side.entries)} entries"


def figures(change: Change, sources: Sources) -> tuple[Figure | None, ...]:
    """The four figures of a change, in the order of `COLUMNS`."""
    shown = (change.before, change.after, change.difference, change.ratio)
    return tuple(
        None if estimate is None else sources.figure(estimate, f"{change.name}, {what}")
        for what, estimate in zip(COLUMNS, shown, strict=True)
    )


def factors(change: Change) -> str:
    """What cancels and what adds, in one sentence."""
    shared = "; ".join(change.shared) or "nothing"
    return f"{change.name}: in common {shared}; errors added {'; '.join(change.added) or 'none'}."


def show(found: Comparison, console: Console) -> None:
    """Print a comparison on a terminal; plainly when the console is none."""
    console = screen.fitting(console)
    glyphs, sources = screen.glyphs_of(console), Sources()
    table = screen.ruled(console)
    table.add_column("figure\nunit", no_wrap=True)
    for head in COLUMNS:
        table.add_column(f"{head}\ninterval", justify="right")
    for change in found.changes:
        cells = [
            screen.stacked(UNKNOWN, "")
            if figure is None
            else screen.stacked(
                f"{figure.text}{glyphs.kind(figure.kind)}", figure.interval.replace(" to ", "…")
            )
            for figure in figures(change, sources)
        ]
        table.add_row(screen.stacked(change.name, change.before.unit), *cells)
    blocks: list[RenderableType] = [
        Text(f"Before: {told(found.before)}", style="bold"),
        Text(f"After: {told(found.after)}", style="bold"),
        Text(f"{found.head.sequence} entries of {found.ledger} verify"),
        Text(),
        table,
        Text(),
        *(Text(change.sentence) for change in found.changes),
        screen.title("What the two have in common, and what adds"),
        *(Text(factors(change), style="dim") for change in found.changes),
        *(Text(note, style="dim") for note in found.notes),
        screen.title("Where the figures come from"),
        *(
            Text(
                f"{one.kind}: {one.source}{f' [{one.boundary}]' if one.boundary else ''}:"
                f" {', '.join(one.used_for)}",
                style="dim",
            )
            for one in sources.listed()
        ),
    ]
    screen.put(Group(*(Padding(block, (0, 1)) for block in blocks)), console)


def page(found: Comparison) -> str:
    """A comparison as one HTML text that needs nothing but itself."""
    sources, picture = Sources(), change_plot.plot(found.changes)
    drawn = {} if picture is None else {picture.name: picture}
    content = {
        "title": f"{found.before.name} and {found.after.name}: before and after",
        "found": found,
        "sides": (told(found.before), told(found.after)),
        "columns": COLUMNS,
        "rows": [
            {"change": change, "figures": figures(change, sources), "factors": factors(change)}
            for change in found.changes
        ],
        "plots": drawn,
    }
    return webpage.render("comparison.html", content, drawn, sources)
