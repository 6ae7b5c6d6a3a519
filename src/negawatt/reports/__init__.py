"""What was found, for people and machines: terminal, HTML and JSON.

Everything heavy (templates, plots, the terminal library) is imported when a
report is made, so that importing this package costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.core.outcome import Outcome

__all__ = ["read", "show", "write"]


def show(outcome: Outcome, console: Console) -> None:
    """Print an outcome on a terminal; plainly when the console is none."""
    from negawatt.reports import terminal

    terminal.show(outcome, console)


def write(outcome: Outcome, folder: Path) -> dict[str, Path]:
    """Write `report.html` and `report.json` into a folder, both or neither.

    Returns:
        "html" and "json", each with its path.

    Raises:
        OutputError: the folder cannot be written or is full.
    """
    from negawatt.reports import jsonfile, webpage
    from negawatt.reports.files import replace_all

    paths = {"html": folder / "report.html", "json": folder / "report.json"}
    replace_all({paths["html"]: webpage.page(outcome), paths["json"]: jsonfile.text(outcome)})
    return paths


def read(path: Path) -> Outcome:
    """Read back the `report.json` that `write` wrote.

    Raises:
        UsageError: the file is missing, is not such a report, or is of a newer version.
    """
    from negawatt.reports import jsonfile

    return jsonfile.read(path)
