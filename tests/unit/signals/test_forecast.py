"""Every way of foreseeing: what all must keep, and what each is for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
from negawatt.signals.forecast import (
    HourMean,
    LastWeek,
    Level,
    Persistence,
    Ridge,
    best,
    foresee,
    replay,
)
from negawatt.signals.forecast.base import Forecaster
from negawatt.signals.series import Series

HOUR = timedelta(hours=1)
WAYS: list[Forecaster] = [Level(), Persistence(), LastWeek(), HourMean(), Ridge()]


def series(values: np.ndarray, step: timedelta = HOUR, topic: Topic = Topic.CARBON) -> Series:
    return Series(
        zone="X",
        topic=topic,
        unit=GRAMS_PER_KWH,
        basis=Basis() if topic is Topic.CARBON else None,
        source="file",
        status=Status.MEASURED,
        start=datetime(2025, 3, 4, tzinfo=UTC),
        step=step,
        values=values,
    )


def wavy(days: int, per_day: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hours = np.arange(days * per_day) * 24 / per_day
    wave = 300 + 80 * np.sin(2 * np.pi * hours / 24) + 15 * np.sin(2 * np.pi * hours / 168)
    slow = np.convolve(rng.normal(size=len(hours) + 11), np.ones(12) / 12, "valid")
    return wave + 40 * slow


def ahead(past: Series, hours: int = 24) -> Series:
    return best(past).foresee(past, past.end, past.end + hours * HOUR)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_what_comes_later_changes_nothing(way: Forecaster) -> None:
    whole = series(wavy(60))
    now = whole.start + timedelta(days=45, hours=7)
    known = whole.window(whole.start, now)
    other = series(np.concatenate([known.values, wavy(20, seed=9)])).window(whole.start, now)
    said, again = (way.foresee(past, now, now + 30 * HOUR) for past in (known, other))
    np.testing.assert_array_equal(said.values, again.values)
    np.testing.assert_array_equal(said.low, again.low)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_flat_past_has_a_flat_future(way: Forecaster) -> None:
    past = series(np.full(40 * 24 + 5, 250.0))
    said = way.foresee(past, past.end, past.end + 48 * HOUR)
    for column in (said.values, said.low, said.high):
        np.testing.assert_allclose(column, 250.0, rtol=1e-6)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), lost=st.integers(0, 200), hours=st.integers(1, 72))
def test_intervals_hold_the_value(way: Forecaster, seed: int, lost: int, hours: int) -> None:
    values = wavy(40, seed=seed)
    values[np.random.default_rng(seed).choice(len(values), lost, replace=False)] = np.nan
    past = series(values)
    said = way.foresee(past, past.end, past.end + hours * HOUR)
    assert len(said) == hours
    assert said.complete
    assert (said.low <= said.values).all()
    assert (said.values <= said.high).all()
    assert (said.low >= 0).all()
    assert said.status is Status.FORECAST
    assert said.issued_at == past.end == said.start
    assert said.source == way.name
    said.same_signal(past)


@pytest.mark.parametrize(
    "way", [Persistence(), LastWeek(), HourMean(), Ridge()], ids=lambda way: way.name
)
def test_too_short_a_past_is_told(way: Forecaster) -> None:
    past = series(wavy(7)[: 23 if way.name != "last-week" else 167])
    with pytest.raises(SignalUnavailable, match=r"needs \d days of history, X has"):
        way.foresee(past, past.end, past.end + HOUR)


def test_the_day_before_repeats() -> None:
    past = series(wavy(10))
    said = Persistence().foresee(past, past.end, past.end + 48 * HOUR)
    np.testing.assert_array_equal(said.values, np.tile(past.values[-24:], 2))


def test_the_week_before_repeats() -> None:
    past = series(wavy(16))
    said = LastWeek().foresee(past, past.end, past.end + 200 * HOUR)
    np.testing.assert_array_equal(said.values[:168], past.values[-168:])
    np.testing.assert_array_equal(said.values[168:], past.values[-168:-136])


def test_the_mean_is_that_of_the_hour_of_day() -> None:
    values = wavy(50)
    values[-30:-20] = np.nan
    past = series(values)
    said = HourMean().foresee(past, past.end, past.end + 30 * HOUR)
    expected = np.nanmean(values.reshape(-1, 24)[-28:], axis=0)
    np.testing.assert_allclose(said.values, np.tile(expected, 2)[:30])


@pytest.mark.parametrize("hours", [1, 5, 23, 24, 60, 24 * 5, 24 * 20])
def test_something_is_said_after_any_past(hours: int) -> None:
    past = series(wavy(20)[:hours])
    said = ahead(past)
    assert said.complete
    assert len(said) == 24


def test_without_any_value_nothing_is_said() -> None:
    past = series(np.full(48, np.nan))
    with pytest.raises(SignalUnavailable, match="no value to foresee from"):
        foresee(past, past.end, past.end + HOUR)


def test_what_is_known_is_not_foretold() -> None:
    past = series(wavy(10))
    said = foresee(past, past.end - 5 * HOUR, past.end + 3.5 * HOUR)
    assert said.start == past.end
    assert len(said) == 4
    with pytest.raises(UsageError, match="nothing is to be foreseen"):
        foresee(past, past.end - 5 * HOUR, past.end)
    with pytest.raises(UsageError, match="no time zone"):
        foresee(past, datetime(2030, 1, 1), past.end)  # noqa: DTZ001


def test_a_forecast_is_no_past() -> None:
    past = series(wavy(10))
    with pytest.raises(UsageError, match="a forecast is no history"):
        ahead(ahead(past))


def test_steps_that_make_no_day_are_refused() -> None:
    past = series(wavy(10), step=timedelta(minutes=7))
    with pytest.raises(UsageError, match="resample"):
        ahead(past)


def test_other_steps_than_hours() -> None:
    past = series(wavy(10, per_day=96), step=timedelta(minutes=15))
    said = foresee(past, past.end + timedelta(minutes=20), past.end + 2 * HOUR)
    assert said.start == past.end + timedelta(minutes=15)
    assert len(said) == 7


def test_prices_may_fall_below_nothing() -> None:
    values = wavy(30) - 330
    past = replace(series(values, topic=Topic.PRICE), unit="EUR/MWh")
    said = ahead(past)
    assert (said.low < 0).any()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("hours", [24, 60])
def test_a_replay_says_what_was_said(way: Forecaster, hours: int) -> None:
    values = wavy(90)
    values[:3] = np.nan
    values[1000:1007] = np.nan
    whole = series(values)
    moments = [whole.start + timedelta(hours=place) for place in (900, 1003, 1010, 2100, 2160)]
    for moment, again in zip(moments, replay(way, whole, moments, hours * HOUR), strict=True):
        said = way.foresee(whole.window(whole.start, moment), moment, moment + hours * HOUR)
        assert again is not None
        assert again.start == again.issued_at == said.start
        np.testing.assert_allclose(again.values, said.values, rtol=1e-9)
        np.testing.assert_allclose(again.low, said.low, rtol=1e-9)
        np.testing.assert_allclose(again.high, said.high, rtol=1e-9)


def test_a_replay_is_silent_where_too_little_was_known() -> None:
    whole = series(wavy(20))
    moments = [whole.start, whole.start + timedelta(days=2), whole.end]
    first, second, last = replay(Ridge(), whole, moments, 5 * HOUR)
    assert first is None
    assert second is None
    assert last is not None
    with pytest.raises(UsageError, match="no step of the history begins"):
        replay(Ridge(), whole, [whole.start + timedelta(minutes=5)], HOUR)


def test_the_ridge_sees_what_the_mean_does_not() -> None:
    # levels that persist for days: the mean of 28 days knows nothing of them
    rng = np.random.default_rng(1)
    level = np.repeat(np.cumsum(rng.normal(0, 5, 60)) + 300, 48)[: 120 * 24]
    whole = series(level + rng.normal(0, 1, len(level)))
    moments = [whole.start + timedelta(days=day) for day in range(60, 119)]
    lost = {}
    for way in (Ridge(), HourMean()):
        said = replay(way, whole, moments, timedelta(days=1))
        came = [whole.window(m, m + timedelta(days=1)).values for m in moments]
        lost[way.name] = np.mean([abs(s.values - c) for s, c in zip(said, came, strict=True)])
    assert lost["ridge"] < 0.7 * lost["mean-28d"]


def test_weekends_are_learned() -> None:
    values = wavy(56).reshape(-1, 24)
    first = series(values.ravel()).start.weekday()
    weekend = (np.arange(56) + first) % 7 >= 5
    values[weekend] -= 120
    past = series(values.ravel())
    said = Ridge().foresee(past, past.end, past.end + timedelta(days=7)).values.reshape(-1, 24)
    days = (past.end.weekday() + np.arange(7)) % 7 >= 5
    assert said[days].mean() < said[~days].mean() - 60


def test_twice_the_past_has_twice_the_future() -> None:
    past = series(wavy(40))
    twice = replace(past, values=2 * past.values)
    one, two = (Ridge().foresee(p, p.end, p.end + 30 * HOUR) for p in (past, twice))
    np.testing.assert_allclose(two.values, 2 * one.values, rtol=1e-6)


def test_far_ahead_the_last_week_repeats() -> None:
    past = series(wavy(40))
    said = Ridge().foresee(past, past.end, past.end + timedelta(days=35)).values
    np.testing.assert_array_equal(said[14 * 24 : 28 * 24].reshape(2, -1)[0], said[7 * 24 : 14 * 24])


@pytest.mark.parametrize("minutes", [5, 15, 30, 60, 180])
def test_any_step_that_makes_a_day(minutes: int) -> None:
    step = timedelta(minutes=minutes)
    values = wavy(20, per_day=timedelta(days=1) // step)[:-2]
    past = series(values, step=step)
    said = Ridge().foresee(past, past.end, past.end + timedelta(days=1))
    assert len(said) == timedelta(days=1) // step
    assert said.complete
    hours = np.arange(len(values), len(values) + len(said)) * minutes / 60
    wave = 300 + 80 * np.sin(2 * np.pi * hours / 24)
    assert np.corrcoef(wave, said.values)[0, 1] > 0.9
