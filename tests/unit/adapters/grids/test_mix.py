"""From what stations make to grams, and what units and times an answer may have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.adapters.grids.asked import grams, moment, pieces, tidy
from negawatt.adapters.grids.mix import Counted, factors, intensities
from negawatt.adapters.grids.web import Patience
from negawatt.core.errors import SignalUnavailable
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Reading, Status, Topic

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS = {"C": "coal", "G": "gas", "N": "nuclear", "W": "wind"}


@given(
    st.dictionaries(st.sampled_from("CGNW"), st.floats(0.0, 1e5), min_size=1),
    st.sampled_from(["life_cycle", "direct"]),
)
def test_a_mix_lies_between_its_cleanest_and_its_dirtiest(
    made: dict[str, float], counted: Counted
) -> None:
    told = intensities({kind: {NOON: one} for kind, one in made.items()}, KINDS, counted)
    ends = [factors(counted)[KINDS[kind]] for kind in made]
    if sum(made.values()) == 0:
        assert told == {}
    else:
        assert min(ends) - 1e-6 <= told[NOON] <= max(ends) + 1e-6


def test_an_unknown_kind_emits_as_the_rest_until_it_is_most_of_it() -> None:
    def told(unknown: float) -> dict[datetime, float]:
        outputs = {"G": {NOON: 100.0}, "N": {NOON: 100.0}, "OTH": {NOON: unknown}}
        return intensities(outputs, KINDS, "direct")

    assert told(0.0) == told(190.0) == {NOON: 220.0}
    assert told(210.0) == {}


def test_a_small_kind_may_lack_and_a_large_one_may_not() -> None:
    hours = [NOON + n * HOUR for n in range(4)]
    outputs = {"N": dict.fromkeys(hours, 900.0), "G": dict.fromkeys(hours, 100.0),
               "C": dict.fromkeys(hours, 10.0)}  # fmt: skip
    del outputs["C"][hours[1]]  # one in a hundred
    del outputs["G"][hours[2]]  # one in ten
    assert set(intensities(outputs, KINDS, "direct")) == {hours[0], hours[1], hours[3]}


def test_output_below_zero_is_none() -> None:
    outputs = {"G": {NOON: 100.0}, "W": {NOON: -50.0}}
    assert intensities(outputs, KINDS, "direct") == {NOON: 440.0}


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("gCO2eq/kWh", 1.0),
        ("g CO2e per kWh", 1.0),
        ("kg_co2_per_mwh", 1.0),
        ("kgCO2/kWh", 1000.0),
        ("lbs_co2_per_mwh", 0.45359237),
        ("lb/MWh", 0.45359237),
        ("gCO₂e/kWh", 1.0),
        ("gCO2-eq/kWh", 1.0),
    ],
)
def test_units_of_an_intensity(unit: str, factor: float) -> None:
    assert grams(unit, "it") == pytest.approx(factor)


@pytest.mark.parametrize("unit", ["percentile", "", "EUR/MWh", "g", "kWh/g", "tons"])
def test_other_units_are_refused(unit: str) -> None:
    with pytest.raises(SignalUnavailable, match="no carbon intensity"):
        grams(unit, "it")


@pytest.mark.parametrize("text", ["2026-03-10T10:00", "yesterday", None, 7])
def test_a_time_that_cannot_be_placed_is_refused(text: object) -> None:
    with pytest.raises(SignalUnavailable, match="cannot be placed"):
        moment(text, "it")


@given(st.integers(1, 10_000), st.integers(1, 3_000))
def test_pieces_hold_a_time_without_hole_or_overlap(minutes: int, span: int) -> None:
    end = NOON + timedelta(minutes=minutes)
    made = list(pieces(NOON, end, timedelta(minutes=span)))
    assert made[0][0] == NOON
    assert made[-1][1] == end
    assert all(before[1] == after[0] for before, after in pairwise(made))
    assert all(last - first <= timedelta(minutes=span) for first, last in made)


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([15, 30, 60]), st.integers(0, 9))))
def test_an_answer_in_any_order_comes_out_in_one(told: list[tuple[int, int, int]]) -> None:
    readings = [
        Reading("DE", Topic.CARBON, NOON + n * timedelta(minutes=15), timedelta(minutes=length),
                float(value), GRAMS_PER_KWH, Status.MEASURED, "it", Basis())
        for n, length, value in told
    ]  # fmt: skip
    kept = tidy(readings, NOON + HOUR, NOON + 5 * HOUR)
    assert all(a.end <= b.start for a, b in pairwise(kept))
    assert all(one.end > NOON + HOUR and one.start < NOON + 5 * HOUR for one in kept)
    assert set(kept) <= set(readings)


@given(st.integers(0, 8), st.floats(0.0, 1.0))
def test_waits_grow_and_are_scattered_and_have_an_end(attempt: int, luck: float) -> None:
    patience = Patience(draw=lambda: luck)
    usual = min(patience.most_s, patience.first_s * 2**attempt)
    assert usual / 2 <= patience.wait_s(attempt, None) <= usual
    assert patience.wait_s(attempt, "soon") == patience.first_s
