"""The picture of a comparison: where it stands, what it says, and what it leaves out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger import open_ledger
from negawatt.reports import compare, versus
from negawatt.reports.compare import Change
from negawatt.reports.plots import change as picture


def _estimate(low: float, value: float, high: float, unit: str = "J") -> Estimate:
    return Estimate(
        value=value, low=low, high=high, unit=unit, kind=Kind.MEASURED, source="rapl",
        boundary="package",
    )  # fmt: skip


def _change(name: str, low: float, value: float, high: float) -> Change:
    """A figure that was 100 J before, with its ratio between two ends."""
    return Change(
        name=name,
        before=_estimate(100, 100, 100),
        after=_estimate(100 * low, 100 * value, 100 * high),
        difference=_estimate(100 * low - 100, 100 * value - 100, 100 * high - 100),
        ratio=_estimate(low, value, high, "1"),
        runs=(1, 1),
        shared=(),
        added=("rapl",),
        sentence=f"{name}: something <b>changed</b>.",
    )


LESS, MORE = _change("energy", 0.5, 0.6, 0.7), _change("CPU time", 1.1, 1.2, 1.3)
UNSURE = _change("wall time", 0.9, 0.95, 1.4)
ALL = (LESS, MORE, UNSURE)


def _plot(*changes: Change) -> picture.Plot:
    found = picture.plot(changes)
    assert found is not None
    json.dumps({"data": found.traces, "layout": found.layout}, allow_nan=False)
    return found


def _trace(plot: picture.Plot, name: str) -> dict[str, Any]:
    return next(trace for trace in plot.traces if trace["name"] == name)


def test_each_figure_stands_at_its_ratio_with_its_interval() -> None:
    plot = _plot(*ALL)
    for change, name in zip(ALL, (picture.LESS, picture.MORE, picture.UNSURE), strict=True):
        trace, ratio = _trace(plot, name), change.ratio
        assert ratio is not None
        assert trace["y"] == [change.name]
        assert trace["x"] == [ratio.value]
        assert trace["x"][0] + trace["error_x"]["array"][0] == pytest.approx(ratio.high)
        assert trace["x"][0] - trace["error_x"]["arrayminus"][0] == pytest.approx(ratio.low)


def test_what_can_and_cannot_be_told_apart_differ_without_colours_too() -> None:
    symbols = [trace["marker"]["symbol"] for trace in _plot(*ALL).traces]
    assert len(set(symbols)) == 3


def test_what_does_not_count_the_same_is_called_neither_less_nor_more() -> None:
    odd = replace(LESS, after=replace(LESS.after, boundary="gpu"))
    assert [trace["name"] for trace in _plot(odd).traces] == [picture.OTHER]


def test_no_change_has_a_line_of_its_own() -> None:
    (line,) = _plot(*ALL).layout["shapes"]
    assert line["x0"] == line["x1"] == 1


def test_a_figure_without_a_ratio_is_left_out_and_named() -> None:
    bare = replace(MORE, ratio=None)
    plot = _plot(LESS, bare)
    assert plot.layout["yaxis"]["categoryarray"] == ["energy"]
    assert "no ratio for CPU time" in plot.caption
    assert picture.plot([bare]) is None


def test_the_words_for_those_who_see_no_picture_hold_the_figures() -> None:
    assert "energy: 0.6 times as much after (0.5 to 0.7), less after" in _plot(*ALL).alt


def test_markup_in_names_is_literal_on_hover() -> None:
    (story,) = _plot(LESS).traces[0]["customdata"]
    assert "&lt;b&gt;changed" in story


spans = st.lists(st.just(0.0) | st.floats(1e-9, 1e6), min_size=3, max_size=3).map(sorted)


@given(st.lists(spans, min_size=1, max_size=4))
@example([[1.0, 1.0, 1.000000001]])
def test_the_axis_holds_every_interval_and_no_change(ends: list[list[float]]) -> None:
    axis = _plot(*(_change(f"figure {n}", *each) for n, each in enumerate(ends))).layout["xaxis"]
    low, high = axis["range"]
    held = [n for each in ends for n in (each[0], each[2])] + [1.0]
    for value in (math.log10(n) for n in held) if axis.get("type") == "log" else held:
        assert low <= value <= high
    assert 1.0 in axis["tickvals"]
    assert len(axis["tickvals"]) <= 14
    assert len(set(axis["ticktext"])) == len(axis["tickvals"])


def test_the_page_of_a_comparison_carries_the_picture_and_its_words(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        for name, joules in (("old", 100.0), ("new", 60.0)):
            ledger.append("measure", {"name": name, "energy": _estimate(joules, joules, joules)})
        html = versus.page(compare.compare(ledger, "old", "new"))
    assert 'data-plot="change"' in html
    assert 'id="spec-change"' in html
    assert "energy: 0.6 times as much after" in html
