"""A report as PDF: what it says, every figure with its interval, and where each came from."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from negawatt.core.errors import RuntimeUnavailable
from negawatt.reports.figures import Sources
from negawatt.reports.table import Line

if TYPE_CHECKING:
    from fpdf import FPDF

METHODS = "Appendix: methods"
_LETTERS = "letters"
_FACE = 2  # of the collection: letters of Chinese as they are written on the mainland
_ACCENT, _SHADE = (23, 115, 74), (229, 242, 235)  # those of the page in a browser
_FIGURES = (("figure", 46), ("value", 20), ("interval", 32), ("unit", 14), ("kind", 16),
            ("period, s", 14), ("source", 12))  # fmt: skip
_SOURCES = (("no.", 8), ("kind", 18), ("source", 70), ("boundary", 40))


def pdf(title: str, said: Sequence[str], lines: Sequence[Line]) -> bytes:
    """A PDF of A4 pages, with the letters it uses inside.

    Args:
        title: On top, and the title of the document.
        said: Sentences under it.
        lines: Every figure; one table shows them, the appendix their sources.

    Raises:
        RuntimeUnavailable: the packages that write PDF and bring its letters are not installed.
    """
    paper, sources = _paper(title), Sources()
    rows = [_row(line, sources) for line in lines]
    paper.add_page()
    _heading(paper, title, 15)
    for sentence in said:
        _paragraph(paper, sentence)
        paper.ln(1)
    _heading(paper, "Figures", 12)
    _table(paper, _FIGURES, rows)
    paper.add_page()
    _heading(paper, METHODS, 12)
    _paragraph(
        paper,
        "Measured: read from a counter or a clock. Modelled: computed from measured figures."
        " Assumed: taken from elsewhere. The last column of the figures names the source here.",
    )
    paper.ln(2)
    _table(
        paper,
        _SOURCES,
        [(str(s.mark), str(s.kind), s.source, s.boundary or "not stated")
         for s in sources.listed()],
    )  # fmt: skip
    return bytes(paper.output())


def printable(text: str, known: Container[int]) -> str:
    """Text in the letters there are: others by their likeness, and without one by their number.

    Args:
        text: Any text.
        known: Code points of the letters there are.

    >>> printable("₂ ș ☃", {*range(32, 127)})
    '2 s \\\\u2603'
    """
    return "".join(
        letter if ord(letter) in known or letter == "\n" else _nearest(letter, known)
        for letter in text
    )


def _nearest(letter: str, known: Container[int]) -> str:
    if not letter.isprintable():
        return " "  # a tab, a mark of direction: nothing to see
    parts = [p for p in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(p)]
    if parts and all(ord(part) in known for part in parts):
        return "".join(parts)
    return letter.encode("ascii", "backslashreplace").decode("ascii")


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
        from noto_cjk_sans_otc import FONT_PATH
    except ImportError as error:
        raise RuntimeUnavailable(
            f"writing PDF needs {error.name or 'fpdf2'}, which is not installed",
            fix="pip install 'negawatt[pdf]', or print the page of --html in a browser",
        ) from error
    paper = FPDF(format="A4")
    paper.set_title(title)
    paper.set_lang("en")
    paper.set_margins(14, 14)
    paper.set_auto_page_break(auto=True, margin=14)
    paper.add_font(_LETTERS, fname=str(FONT_PATH), collection_font_number=_FACE)
    paper.set_font(_LETTERS, size=9)
    return paper


def _plain(paper: FPDF, text: str) -> str:
    # the library's own type says that a font may lack the table; one from a file has it
    return printable(text, getattr(paper.fonts[_LETTERS], "cmap", ()))


def _paragraph(paper: FPDF, text: str) -> None:
    paper.multi_cell(0, 5, _plain(paper, text), align="L", new_x="LMARGIN", new_y="NEXT")


def _heading(paper: FPDF, text: str, size: int) -> None:
    paper.ln(2)
    paper.set_font(_LETTERS, size=size)
    paper.set_text_color(*_ACCENT)
    paper.multi_cell(0, size / 2, _plain(paper, text), align="L", new_x="LMARGIN", new_y="NEXT")
    paper.set_text_color(0)
    paper.set_font(_LETTERS, size=9)
    paper.ln(2)


def _table(paper: FPDF, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]]) -> None:
    """A table whose head stands again on every page it runs over."""
    from fpdf.fonts import FontFace

    paper.set_font(_LETTERS, size=7.5)
    with paper.table(
        col_widths=[width for _, width in columns], text_align="LEFT", line_height=4,
        borders_layout="HORIZONTAL_LINES", headings_style=FontFace(fill_color=_SHADE),
    ) as table:  # fmt: skip
        for cells in ([head for head, _ in columns], *rows):
            row = table.row()
            for cell in cells:
                row.cell(_plain(paper, cell))
    paper.set_font(_LETTERS, size=9)
