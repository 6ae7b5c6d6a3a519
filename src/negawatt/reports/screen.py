"""Where terminal reports are printed: a terminal in colour, or a plain file."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from negawatt.core.estimate import Kind

#: What a file or a pipe gets, whatever the terminal behind it is.
PLAIN_WIDTH = 112


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few signs that a plain ASCII output cannot show."""

    chosen: str
    front: str
    passed: str
    failed: str
    unsure: str
    assumed: str
    modelled: str
    measured: str

    def kind(self, kind: Kind) -> str:
        """The sign that stands after a figure of this kind."""
        signs = {Kind.MEASURED: self.measured, Kind.MODELLED: self.modelled}
        return signs.get(kind, self.assumed)


def fitting(console: Console) -> Console:
    """The console itself, or a plain one of a fixed width when nobody watches."""
    if console.is_terminal:
        return console
    return Console(
        file=console.file, width=PLAIN_WIDTH, color_system=None, force_terminal=False,
        legacy_windows=False, safe_box=True, emoji=False, highlight=False,
    )  # fmt: skip


def put(what: RenderableType, console: Console) -> None:
    """Print; on an output that knows only ASCII, with its nearest signs."""
    if speaks_unicode(console):
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    console.file.write(captured.get().translate(str.maketrans("×…—µ–", "x:-u-")))


def speaks_unicode(console: Console) -> bool:
    """True when the output can show signs beyond ASCII."""
    return console.encoding.lower().startswith("utf")


def glyphs_of(console: Console) -> Glyphs:
    """The signs this console can show."""
    if speaks_unicode(console):
        return Glyphs("▶", "●", "✓", "✗", "○", "?", "~", "")
    return Glyphs(">", "*", "ok", "FAILED", "-", "?", "~", "")


def title(text: str) -> RenderableType:
    """A heading with a line of air above it."""
    return Padding(Text(text, style="bold cyan"), (1, 0, 0, 0))


def ruled(console: Console) -> Table:
    """An empty table: with a line under its head on a terminal, bare elsewhere."""
    rules = console.is_terminal and speaks_unicode(console)
    return Table(
        box=box.SIMPLE_HEAD if rules else None, padding=(0, 1, 0, 0), show_edge=False,
        pad_edge=False,
    )  # fmt: skip


def stacked(upper: str, lower: str) -> Text:
    """Two lines of one cell, the second faint."""
    return Text.assemble(upper, "\n", (lower, "dim not bold"))
