"""Lowest windows and cheapest slots beside the plainest way of finding them."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.decisions.when import windows

Column = NDArray[np.float64]

_VALUES = st.one_of(
    st.integers(-5, 900).map(float),
    st.floats(-1e6, 1e6),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300]),
)
COLUMNS = st.lists(_VALUES, min_size=1, max_size=16).map(np.array)
STEPS = st.one_of(st.integers(1, 6).map(float), st.floats(0.1, 6.0))


def _weights(steps: float) -> list[float]:
    whole, part = windows.split(steps)
    return [1.0] * whole + ([part] if part else [])


def _plain(values: Column, steps: float) -> list[float]:
    """Sums of all windows, one by one; infinite where one holds what is not known."""
    weights = _weights(steps)
    sums = []
    for at in range(len(values) - len(weights) + 1):
        part = values[at : at + len(weights)]
        there = all(abs(value) < windows.ABSURD for value in part)
        sums.append(float(np.dot(part, weights)) if there else math.inf)
    return sums


@given(COLUMNS, STEPS)
def test_window_sums_are_those_of_adding_up_each(values: Column, steps: float) -> None:
    plain = _plain(values, steps)
    if not plain:
        with pytest.raises(UsageError, match="does not fit"):
            windows.window_sums(values, steps)
        return
    expected = [math.nan if math.isinf(each) else each for each in plain]
    np.testing.assert_allclose(windows.window_sums(values, steps), expected, rtol=1e-9, atol=1e-6)


@given(COLUMNS, STEPS, st.integers(0, 8), st.integers(0, 16))
def test_contiguous_finds_the_lowest_window_between_first_and_last(
    values: Column, steps: float, first: int, last: int
) -> None:
    plain = _plain(values[first:last], steps)
    if not plain or math.isinf(min(plain)):
        with pytest.raises(UsageError):
            windows.contiguous(values, steps, first, last)
        return
    at = windows.contiguous(values, steps, first, last)
    assert plain[at - first] == pytest.approx(min(plain), rel=1e-9, abs=1e-5)


@given(st.floats(-900, 900), STEPS, st.integers(6, 40))
def test_a_flat_signal_moves_nothing(value: float, steps: float, slots: int) -> None:
    assert windows.contiguous(np.full(slots, value), steps) == 0
    assert windows.cheapest(np.full(slots, value), steps).tolist() == list(range(math.ceil(steps)))


@given(COLUMNS, STEPS)
def test_the_cheapest_slots_are_no_dearer_than_the_lowest_window(
    values: Column, steps: float
) -> None:
    need = len(_weights(steps))
    there = [value for value in values.tolist() if abs(value) < windows.ABSURD]
    if len(there) < need:
        with pytest.raises(UsageError, match="are known"):
            windows.cheapest(values, steps)
        return
    places = windows.cheapest(values, steps)
    least = float(np.dot(sorted(there)[:need], _weights(steps)))
    assert len(set(places.tolist())) == need
    assert windows.cost(values, places, steps) == pytest.approx(least, rel=1e-9, abs=1e-5)
    assert least <= min([*_plain(values, steps), math.inf]) + 1e-5


@given(COLUMNS, STEPS, st.integers(0, 5))
def test_a_scan_is_the_choice_made_at_every_start(values: Column, steps: float, slack: int) -> None:
    need = len(_weights(steps))
    starts = len(values) - need - slack + 1
    if starts < 1:
        with pytest.raises(UsageError):
            windows.scan(values, steps, slack)
        return
    both = np.stack([values, values[::-1]])
    scanned = windows.scan(both, steps, slack)
    lowest = windows.scan_cheapest(both, steps, slack)
    assert scanned.now.shape == scanned.best.shape == lowest.shape == (2, starts)
    for row, column in enumerate(both):
        plain = _plain(column, steps)
        for start in range(starts):
            least = min(plain[start : start + slack + 1])
            now = plain[start]
            assert scanned.now[row, start] == pytest.approx(_nan(now), abs=1e-4, nan_ok=True)
            assert scanned.best[row, start] == pytest.approx(_nan(least), abs=1e-4, nan_ok=True)
            span = column[start : start + need + slack]
            there = sorted(value for value in span.tolist() if abs(value) < windows.ABSURD)
            sum_ = float(np.dot(there[:need], _weights(steps))) if len(there) >= need else math.nan
            assert lowest[row, start] == pytest.approx(sum_, abs=1e-4, nan_ok=True)


def _nan(value: float) -> float:
    return math.nan if math.isinf(value) else value


@pytest.mark.parametrize("steps", [0.0, -1.0, math.nan, math.inf])
def test_a_length_that_is_none_is_refused(steps: float) -> None:
    with pytest.raises(UsageError, match="is none"):
        windows.window_sums(np.ones(4), steps)


def test_a_slack_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="slack of -1"):
        windows.scan(np.ones(4), 1, -1)


def test_nearly_whole_lengths_are_whole() -> None:
    assert windows.split(3.0000000001) == (3, 0.0)
    assert windows.split(2.9999999999) == (3, 0.0)


@pytest.mark.slow
def test_a_year_of_123_zones_is_scanned_in_50_ms() -> None:
    values = np.random.default_rng(0).uniform(10, 900, (123, 8760))
    took = []
    for _ in range(5):
        began = time.perf_counter()
        windows.scan(values, 6, 24)
        took.append(time.perf_counter() - began)
    assert min(took) <= 0.05
