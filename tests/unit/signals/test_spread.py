"""Series over the time asked for, and holes filled at the right times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.grid import Status, Topic
from negawatt.signals.series import Series
from negawatt.signals.spread import joined, spread

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STEPS = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 60 * MINUTE]


def clock(start: datetime, step: timedelta, count: int) -> Series:
    """A series whose values are the hours since noon at which its steps have their middle."""
    middles = [(start - NOON + (n + 0.5) * step) / timedelta(hours=1) for n in range(count)]
    return Series(
        zone="DE", topic=Topic.PRICE, unit="EUR/MWh", basis=None, source="it",
        status=Status.FORECAST, start=start, step=step, values=np.array(middles),
    )  # fmt: skip


@given(
    st.sampled_from(STEPS), st.sampled_from(STEPS), st.integers(-8, 8), st.integers(1, 40),
    st.integers(0, 20),
)  # fmt: skip
def test_holes_are_filled_with_what_holds_at_their_time(
    step: timedelta, other: timedelta, shift: int, count: int, known: int
) -> None:
    upper = clock(NOON, step, 24)
    upper.values[known:] = np.nan
    lower = clock(NOON + shift * other, other, count)
    filled, added = joined(upper, lower)
    assert added == int((~np.isnan(filled.values[known:])).sum())
    for at, value in zip(filled.times(), filled.values.tolist(), strict=True):
        middle = (at + step / 2 - NOON) / timedelta(hours=1)
        assert np.isnan(value) or abs(value - middle) <= max(step, other) / timedelta(hours=2)
    inside = [lower.start <= at and at + step <= lower.end for at in filled.times()[known:]]
    assert added >= sum(inside) - (2 if other > step else 0)
    assert (filled.values[:known] == upper.values[:known]).all()


def test_steps_between_steps_are_refused() -> None:
    upper = clock(NOON, 60 * MINUTE, 4)
    with pytest.raises(UsageError, match="begin between"):
        joined(upper, clock(NOON + 7 * MINUTE, 5 * MINUTE, 40))
    with pytest.raises(UsageError, match="whole numbers"):
        joined(upper, clock(NOON, 7 * MINUTE, 40))


def test_intervals_stay_only_where_both_have_them() -> None:
    upper = clock(NOON, 60 * MINUTE, 4)
    upper.values[2:] = np.nan
    lower = clock(NOON, 60 * MINUTE, 4)
    ends = {"low": lower.values - 1, "high": lower.values + 1}
    assert joined(upper, replace(lower, **ends))[0].low is None
    both, added = joined(replace(upper, **ends), replace(lower, **ends))
    assert added == 2
    assert both.low is not None
    assert (both.low == both.values - 1).all()


@given(st.integers(-300, 300), st.integers(1, 300), st.sampled_from(STEPS))
def test_a_series_is_spread_over_exactly_the_steps_that_touch_a_time(
    shift: int, minutes: int, step: timedelta
) -> None:
    start = NOON + shift * MINUTE
    end = start + minutes * MINUTE
    made = spread(clock(NOON, step, 12), start, end)
    assert made.start <= start < made.start + step
    assert made.end - step < end <= made.end
    for at, value in zip(made.times(), made.values.tolist(), strict=True):
        known = NOON <= at < NOON + 12 * step
        assert np.isnan(value) != known
        assert not known or value == pytest.approx((at + step / 2 - NOON) / timedelta(hours=1))
