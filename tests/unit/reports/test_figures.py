"""A figure shows what its estimate knows, and no more digits than that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.estimate import Estimate, Kind
from negawatt.reports.figures import Sources, amount, decimals, duration, plain


def _estimate(low: float, value: float, high: float, **more: str) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, unit=more.get("unit", "J"),
        kind=Kind(more.get("kind", "measured")), source=more.get("source", "meter"),
    )  # fmt: skip


def test_a_figure_has_value_interval_unit_and_kind() -> None:
    figure = Sources().figure(_estimate(0.092, 0.167, 0.317, kind="modelled"), "energy", unit="J")

    assert (figure.text, figure.interval, figure.kind) == ("0.167", "0.092 to 0.317", "modelled")
    assert figure.full == "0.167 J (0.092 to 0.317)"


def test_an_exact_figure_has_no_interval() -> None:
    figure = Sources().figure(_estimate(2, 2, 2), "count")
    assert (figure.interval, figure.full) == ("", "2.00")


def test_a_change_carries_its_sign_and_a_share_is_in_percent() -> None:
    sources = Sources()
    loss = sources.figure(_estimate(-0.0011, 0.0, 0.0011), "loss", style="change")
    share = sources.figure(_estimate(0.954, 0.958, 0.962), "top-1", style="percent")

    assert (loss.text, loss.interval, loss.unit) == ("+0.00", "-0.11 to +0.11", "%")
    assert (share.text, share.interval) == ("95.8", "95.4 to 96.2")


def test_nothing_is_shown_as_minus_zero() -> None:
    figure = Sources().figure(_estimate(-0.00004, -0.00002, 0.0), "loss", style="change")
    assert "-0.00" not in (figure.text, *figure.interval.split(" to "))


def test_equal_sources_share_a_number_and_list_what_they_served() -> None:
    sources = Sources()
    first = sources.figure(_estimate(1, 2, 3), "a")
    second = sources.figure(_estimate(1, 2, 3, source="another"), "b")
    third = sources.figure(_estimate(4, 5, 6), "c")

    assert (first.mark, second.mark, third.mark) == (1, 2, 1)
    assert [(s.mark, s.source, tuple(s.used_for)) for s in sources.listed()] == [
        (1, "meter", ("a", "c")),
        (2, "another", ("b",)),
    ]


def test_a_measured_and_a_modelled_figure_never_share_a_number() -> None:
    sources = Sources()
    marks = {sources.figure(_estimate(1, 1, 1, kind=kind), kind).mark for kind in Kind}
    assert len(marks) == 3


@given(
    value=st.floats(1e-6, 1e6),
    below=st.floats(0, 0.9),
    above=st.floats(0, 3),
)
def test_what_is_shown_lies_within_a_rounding_step_of_the_estimate(
    value: float, below: float, above: float
) -> None:
    estimate = _estimate(value * (1 - below), value, value * (1 + above))
    figure = Sources().figure(estimate, "x")
    ends = [float(part) for part in figure.interval.split(" to ")] if figure.interval else []
    step = 10.0 ** -decimals(value, estimate.high - estimate.low)

    assert float(figure.text) == pytest.approx(value, abs=step)
    if ends:
        assert ends[0] <= float(figure.text) <= ends[1]


@given(st.floats(1e-9, 1e15))
def test_plain_keeps_three_digits(value: float) -> None:
    assert float(plain(value).replace(" ", "")) == pytest.approx(value, rel=5.1e-3)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0, "J", "0 J"), (999.6, "B", "1 000 B"), (1500, "B", "1.5 kB"), (2e-7, "J", "200 nJ"),
     (-0.02, "s", "-20 ms"), (5e15, "B", "5 000 TB")],
)  # fmt: skip
def test_amounts_take_a_prefix(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.7, "60 s"),
        (60, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (3661, "1 h 01 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
