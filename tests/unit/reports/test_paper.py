"""What reports are on paper and in a spreadsheet."""

from __future__ import annotations

import builtins
import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome_sample import sample_outcome
from pypdf import PdfReader
from pypdfium2 import PdfDocument

from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.estimate import Estimate, Kind
from negawatt.reports import paper, table
from negawatt.reports.forms import Forms
from negawatt.reports.schema import published, text_of
from negawatt.reports.table import Line

ENERGY = Estimate(
    value=12.5, low=10.25, high=15.75, unit="J", kind=Kind.MODELLED, source="a band, test data",
    boundary="package", period_s=2.5,
)  # fmt: skip


def _text(content: bytes) -> str:
    return " ".join(_pages(content))


def _pages(content: bytes) -> list[str]:
    """What each page says, as a browser that shows PDF reads it."""
    document = PdfDocument(content)
    try:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]
    finally:
        document.close()


def test_a_pdf_opens_and_holds_figure_interval_kind_and_methods() -> None:
    content = paper.pdf("A title", ["One sentence."], [Line("train, energy", ENERGY)])
    assert PdfReader(io.BytesIO(content)).metadata["/Title"] == "A title"  # type: ignore[index]
    text = _text(content)
    for words in ("One sentence.", "train, energy", "12.5", "10.2 to 15.8", "modelled", "2.5"):
        assert words in text
    appendix = text[text.index(paper.METHODS) :]
    assert "a band, test data" in appendix
    assert "package" in appendix


def _unspaced(text: str) -> str:
    """Text without regard to where its lines were broken."""
    return "".join(text.split())


def test_letters_beyond_latin_are_printed_as_they_are() -> None:
    name = "\u901a\u4e49\u5343\u95ee"
    words = f"{name} loses ≤ 5 % → 12 μJ, \u041f\u0440\u0438\u043c\u0435\u0440, \ud55c\uad6d"
    row = Line(f"{name}, energy", ENERGY)
    content = paper.pdf(f"{name}: Zähler — less", [words], [row])
    assert PdfReader(io.BytesIO(content)).metadata["/Title"].startswith(name)  # type: ignore[index]
    text = _unspaced(_text(content))
    for printed in (f"{name}: Zähler — less", words, row.name):
        assert _unspaced(printed) in text
    assert "\\u" not in text


def test_the_letters_travel_with_the_page_and_only_those_that_are_used() -> None:
    content = paper.pdf("\u901a", [], [Line("x", ENERGY)])
    fonts = PdfReader(io.BytesIO(content)).pages[0]["/Resources"]["/Font"]  # type: ignore[index]
    (font,) = fonts.values()
    inside = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
    assert "/FontFile3" in inside
    assert len(content) < 100_000


def test_a_letter_the_pages_lack_is_printed_by_its_likeness_or_its_number() -> None:
    text = _unspaced(_text(paper.pdf("CO₂ \u0219i\t\u05d0", [], [])))
    assert "CO2si\\u05d0" in text


@given(st.text())
def test_no_text_can_ask_for_a_letter_that_is_not_there(text: str) -> None:
    known = {*range(32, 127)}
    assert {ord(letter) for letter in paper.printable(text, known)} <= known | {10}


def test_a_long_report_repeats_the_head_of_its_table() -> None:
    lines = table.of_outcome(sample_outcome(blocks=1)) * 4
    pages = _pages(paper.pdf("Long", [], lines))
    assert len(pages) > 3
    assert all("interval" in page for page in pages[1:-1])


@pytest.mark.parametrize("lacking", ["fpdf", "noto_cjk_sans_otc"])
def test_without_its_packages_pdf_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **more: Any) -> Any:
        if name == lacking:
            raise ImportError(name=name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RuntimeUnavailable, match=r"negawatt\[pdf\]"):
        paper.pdf("x", [], [])


def test_csv_has_one_row_a_figure() -> None:
    exact = Estimate.exact(3, unit="s", source="clock, or so")
    rows = list(csv.DictReader(io.StringIO(table.as_csv([Line("e", ENERGY), Line("t", exact)]))))
    assert tuple(rows[0]) == table.COLUMNS
    assert rows[0] == {
        "name": "e", "value": "12.5", "low": "10.25", "high": "15.75", "unit": "J",
        "kind": "modelled", "boundary": "package", "period": "2.5", "source": "a band, test data",
    }  # fmt: skip
    assert (rows[1]["period"], rows[1]["source"]) == ("", "clock, or so")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), st.floats(-1e300, 1e300))
def test_csv_keeps_numbers_whole_and_starts_no_formula(name: str, value: float) -> None:
    line = Line(name, Estimate.exact(value, unit="J", source="s"))
    (row,) = csv.DictReader(io.StringIO(table.as_csv([line])))
    assert float(row["value"]) == value
    assert row["name"].removeprefix("'") == name.removeprefix("'")
    assert not row["name"].startswith(("=", "+", "-", "@"))


def test_an_outcome_is_written_in_every_form(tmp_path: Path) -> None:
    outcome = sample_outcome(blocks=1)
    places = {form: tmp_path / f"report.{form}" for form in ("html", "csv", "pdf")}
    Forms.of_outcome(outcome).write(places)
    assert places["html"].read_text().startswith("<!doctype html>")
    names = [row["name"] for row in csv.DictReader(places["csv"].read_text().splitlines())]
    assert "energy of the optimisation itself" in names
    assert any(name.endswith("decode energy") for name in names)
    assert len(names) == len(set(names))
    assert "energy of the optimisation itself" in _text(places["pdf"].read_bytes())


@pytest.mark.parametrize("kind", ["outcome", "ledger", "comparison"])
def test_the_published_schema_is_that_of_the_records(kind: str) -> None:
    assert published(kind) == text_of(kind), "write text_of(kind) into reports/schemas again"
    jsonschema.Draft202012Validator.check_schema(json.loads(published(kind)))
