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
    pages = PdfReader(io.BytesIO(content)).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def test_a_pdf_opens_and_holds_figure_interval_kind_and_methods() -> None:
    content = paper.pdf("A title", ["One sentence."], [Line("train, energy", ENERGY)])
    assert PdfReader(io.BytesIO(content)).metadata["/Title"] == "A title"  # type: ignore[index]
    text = _text(content)
    for words in ("One sentence.", "train, energy", "12.5", "10.2 to 15.8", "modelled", "2.5"):
        assert words in text
    appendix = text[text.index(paper.METHODS) :]
    assert "a band, test data" in appendix
    assert "package" in appendix


def test_letters_a_pdf_cannot_show_are_spelled_out() -> None:
    text = _text(paper.pdf("Zähler — \N{CJK UNIFIED IDEOGRAPH-706B}", [], []))
    assert "Zähler - \\u706b" in text


def test_a_long_report_repeats_the_head_of_its_table() -> None:
    lines = table.of_outcome(sample_outcome(blocks=1)) * 4
    pages = PdfReader(io.BytesIO(paper.pdf("Long", [], lines))).pages
    assert len(pages) > 3
    assert all("interval" in page.extract_text() for page in pages[1:-1])


def test_without_its_package_pdf_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **more: Any) -> Any:
        if name == "fpdf":
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
