"""A report as PDF: what it says, every figure with its interval, and where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from negawatt.core.errors import RuntimeUnavailable
from negawatt.reports.figures import Sources
from negawatt.reports.table import Line

if TYPE_CHECKING:
    from fpdf import FPDF

METHODS = "Appendix: methods"
_NEAREST = str.maketrans(
    {"—": "-", "–": "-", "…": "...", "≤": "<=", "≥": ">=", "−": "-", "→": "->", "σ": "sigma"}
)
_LETTERS = "Helvetica"
_FIGURES = (("figure", 46), ("value", 20), ("interval", 32), ("unit", 14), ("kind", 16),
            ("period, s", 14), ("source", 12))  # fmt: skip
_SOURCES = (("no.", 8), ("kind", 18), ("source", 70), ("boundary", 40))


def pdf(title: str, said: Sequence[str], lines: Sequence[Line]) -> bytes:
    """A PDF of A4 pages.

    Args:
        title: On top, and the title of the document.
        said: Sentences under it.
        lines: Every figure; one table shows them, the appendix their sources.

    Raises:
        RuntimeUnavailable: the package that writes PDF is not installed.
    """
    paper, sources = _paper(title), Sources()
    rows = [_row(line, sources) for line in lines]
    paper.add_page()
    _heading(paper, title, 15)
    for sentence in said:
        paper.multi_cell(0, 5, _plain(sentence), align="L", new_x="LMARGIN", new_y="NEXT")
        paper.ln(1)
    _heading(paper, "Figures", 12)
    _table(paper, _FIGURES, rows)
    paper.add_page()
    _heading(paper, METHODS, 12)
    paper.multi_cell(
        0,
        5,
        "Measured: read from a counter or a clock. Modelled: computed from measured figures."
        " Assumed: taken from elsewhere. The last column of the figures names the source here.",
        new_x="LMARGIN", new_y="NEXT",
    )  # fmt: skip
    paper.ln(2)
    _table(
        paper,
        _SOURCES,
        [(str(s.mark), str(s.kind), s.source, s.boundary or "not stated")
         for s in sources.listed()],
    )  # fmt: skip
    return bytes(paper.output())


def _row(line: Line, sources: Sources) -> tuple[str, ...]:
    figure, period = sources.figure(line.estimate, line.name), line.estimate.period_s
    return (
        line.name,
        figure.text,
        figure.interval or "exact",
        line.estimate.unit,
        str(line.estimate.kind),
        "" if period is None else f"{period:.4g}",
        str(figure.mark),
    )


def _paper(title: str) -> FPDF:
    try:
        from fpdf import FPDF
    except ImportError as error:
        raise RuntimeUnavailable(
            "writing PDF needs fpdf2, which is not installed",
            fix="pip install 'negawatt[pdf]', or print the page of --html in a browser",
        ) from error
    paper = FPDF(format="A4")
    paper.set_title(title)
    paper.set_lang("en")
    paper.set_margins(14, 14)
    paper.set_auto_page_break(auto=True, margin=14)
    paper.set_font(_LETTERS, size=9)
    return paper


def _heading(paper: FPDF, text: str, size: int) -> None:
    paper.ln(2)
    paper.set_font(_LETTERS, style="B", size=size)
    paper.multi_cell(0, size / 2, _plain(text), align="L", new_x="LMARGIN", new_y="NEXT")
    paper.set_font(_LETTERS, size=9)
    paper.ln(2)


def _table(paper: FPDF, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]]) -> None:
    """A table whose head stands again on every page it runs over."""
    paper.set_font(_LETTERS, size=7.5)
    with paper.table(
        col_widths=[width for _, width in columns], text_align="LEFT", line_height=4,
        borders_layout="HORIZONTAL_LINES",
    ) as table:  # fmt: skip
        for cells in ([head for head, _ in columns], *rows):
            row = table.row()
            for cell in cells:
                row.cell(_plain(cell))
    paper.set_font(_LETTERS, size=9)


def _plain(text: str) -> str:
    """Text in the letters that every PDF reader brings; others are spelled out."""
    return text.translate(_NEAREST).encode("latin-1", "backslashreplace").decode("latin-1")
