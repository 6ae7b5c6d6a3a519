"""What lies ahead, rung by rung: nothing blocks, nothing is mixed, all is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import NegawattError, SignalUnavailable, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Reading, Signal, Status, Topic
from negawatt.signals import typical
from negawatt.signals.kept import Kept
from negawatt.signals.ladder import Outlook, Question, Rung, look_ahead
from negawatt.signals.series import Series, from_readings
from negawatt.signals.spread import spread
from negawatt.signals.store import Store

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = 24 * HOUR
DIRECT = Basis(Signal.AVERAGE, Accounting.DIRECT)


class Provider:
    """Tells a forecast of so many hours and a past of so many, in any state a test wants."""

    name, topic = "it", Topic.CARBON

    def __init__(
        self,
        *,
        hours: int = 48,
        past_hours: int = 24 * 60,
        age: timedelta = HOUR,
        error: NegawattError | None = None,
        basis: Basis = DIRECT,
    ) -> None:
        self.hours, self.past_hours, self.age, self.error = hours, past_hours, age, error
        self.basis, self.past_error, self.step = basis, None, HOUR
        self.asked_as_of: list[datetime | None] = []

    def _reading(self, at: datetime, value: float, issued: datetime | None) -> Reading:
        status = Status.FORECAST if issued else Status.MEASURED
        return Reading("DE", Topic.CARBON, at, self.step, value, GRAMS_PER_KWH, status, self.name,
                       self.basis, issued)  # fmt: skip

    def past(self, zone: str, start: datetime, end: datetime) -> list[Reading]:
        if self.error or self.past_error:
            raise self.error or self.past_error
        return [self._reading(NOON - n * HOUR, 50.0, None) for n in range(self.past_hours, 0, -1)]

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> list[Reading]:
        self.asked_as_of.append(as_of)
        if self.error:
            raise self.error
        issued = NOON - self.age
        return [self._reading(NOON + n * HOUR, 100.0, issued) for n in range(self.hours)]


OUT = SignalUnavailable("it is out", fix="wait")


def asked(**more: Any) -> Question:
    return Question(**({"zone": "DE", "start": NOON, "end": NOON + DAY, "now": NOON} | more))


def bare(*providers: Provider) -> list[Kept]:
    return [Kept(one, None, one.name, lambda: NOON) for one in providers]


def flat(history: Series, start: datetime, end: datetime) -> Series:
    """A forecaster: the mean of the past."""
    count = -((start - end) // HOUR)
    mean = float(np.nanmean(history.values))
    return replace(history, source="mean", status=Status.FORECAST, start=start, step=HOUR,
                   values=np.full(count, mean), low=None, high=None, issued_at=history.end)  # fmt: skip


def said(outlook: Outlook) -> str:
    return "; ".join(outlook.remarks)


def test_a_live_forecast_comes_first_and_tells_its_age() -> None:
    outlook = look_ahead(asked(), bare(Provider()), flat)
    assert outlook.rung is Rung.LIVE
    assert outlook.known
    assert set(outlook.series.values) == {100.0}
    assert (outlook.series.start, outlook.series.end) == (NOON, NOON + DAY)
    assert "issued 1.0 h ago" in said(outlook)


def test_the_second_provider_stands_in_for_the_first() -> None:
    outlook = look_ahead(asked(), bare(Provider(error=OUT), Provider()), flat)
    assert outlook.rung is Rung.LIVE
    assert "it is out (wait)" in said(outlook)


def test_a_kept_forecast_stands_in_for_a_provider_that_is_out(tmp_path: Any) -> None:
    provider, store = Provider(), Store(tmp_path, lambda: NOON)
    later = NOON + 3 * HOUR
    Kept(provider, store, "it://", lambda: NOON).ahead("DE", NOON, NOON + DAY)
    provider.error = OUT
    kept = Kept(provider, store, "it://", lambda: later)
    question = asked(start=later, end=later + 6 * HOUR, now=later)
    outlook = look_ahead(question, [kept])
    assert outlook.rung is Rung.KEPT
    assert "kept forecast, issued 4.0 h ago" in said(outlook)
    aged = look_ahead(replace(question, max_age=2 * HOUR), [kept])
    assert aged.rung is Rung.TYPICAL
    assert "issued 4.0 h ago, 2.0 h are allowed" in said(aged)


def test_a_live_forecast_that_is_old_is_a_remark() -> None:
    outlook = look_ahead(asked(), bare(Provider(age=30 * HOUR)), flat)
    assert outlook.rung is Rung.FORESEEN
    assert "30.0 h ago, 24.0 h are allowed" in said(outlook)
    assert set(outlook.series.values) == {50.0}


def test_a_forecast_that_ends_early_is_filled_from_the_rung_below() -> None:
    outlook = look_ahead(asked(), bare(Provider(hours=6)), flat)
    assert outlook.rung is Rung.LIVE
    assert outlook.series.values.tolist() == [100.0] * 6 + [50.0] * 18
    assert "18 of 24 steps from the rung below: foreseen from history" in said(outlook)


def test_holes_are_not_filled_with_another_kind() -> None:
    outlook = look_ahead(asked(), bare(Provider(hours=6)))
    assert outlook.rung is Rung.LIVE
    assert int(np.isnan(outlook.series.values).sum()) == 18
    assert "cannot be mixed" in said(outlook)
    assert "of 18 of 24 steps nothing is known" in said(outlook)
    same = look_ahead(asked(), bare(Provider(hours=6, basis=typical.BASIS)))
    assert same.series.complete
    assert "18 of 24 steps from the rung below: typical hours" in said(same)
    assert same.series.low is None  # an interval for some steps would read as one for all


def test_a_past_that_ended_long_ago_foresees_nothing() -> None:
    provider = Provider(hours=0)
    question = asked(now=NOON + 3 * DAY, start=NOON + 3 * DAY, end=NOON + 4 * DAY)
    outlook = look_ahead(question, bare(provider), flat)
    assert outlook.rung is Rung.TYPICAL
    assert "does not reach that far" in said(outlook)
    assert "newest value ended 3 days" in said(outlook)


def test_a_history_at_hand_is_used_and_its_future_is_not() -> None:
    provider = Provider(hours=0)
    readings = [provider._reading(NOON + n * HOUR, float(n), None) for n in range(-48, 48)]
    seen: list[Series] = []

    def watching(history: Series, start: datetime, end: datetime) -> Series:
        seen.append(history)
        return flat(history, start, end)

    outlook = look_ahead(asked(), [], watching, from_readings(readings))
    assert outlook.rung is Rung.FORESEEN
    assert seen[0].end == NOON
    under_way = NOON + timedelta(minutes=25)
    look_ahead(asked(now=under_way, start=under_way), [], watching, from_readings(readings))
    assert seen[1].end == NOON  # what the hour will be, nobody knows before it is over
    assert "mean, from 2 days of past" in said(outlook)


def test_without_anybody_typical_hours_then_the_year_then_nothing() -> None:
    known = look_ahead(asked(zone="DE"), [])
    assert known.rung is Rung.TYPICAL
    assert known.series.low is not None
    country = look_ahead(asked(zone="CN"), [])
    assert country.rung is Rung.YEARLY
    assert len(set(country.series.values)) == 1
    nowhere = look_ahead(asked(zone="Narnia"), [])
    assert nowhere.rung is Rung.NOTHING
    assert not nowhere.known
    assert np.isnan(nowhere.series.values).all()
    assert len(nowhere.series) == 24
    assert "Narnia" in said(nowhere)


def test_of_prices_nothing_is_built_in() -> None:
    outlook = look_ahead(asked(topic=Topic.PRICE), [])
    assert outlook.rung is Rung.NOTHING
    assert outlook.series.basis is None


def test_a_provider_that_mixes_kinds_is_an_error() -> None:
    class Mixing(Provider):
        def ahead(self, *args: Any, **named: Any) -> list[Reading]:
            told = super().ahead(*args, **named)
            return [told[0], *(replace(one, basis=Basis(Signal.MARGINAL)) for one in told[1:])]

    with pytest.raises(UsageError, match="cannot be mixed"):
        look_ahead(asked(), bare(Mixing()))


def test_a_forecaster_that_changes_the_kind_is_an_error() -> None:
    def other(history: Series, start: datetime, end: datetime) -> Series:
        return replace(flat(history, start, end), basis=Basis(Signal.MARGINAL))

    with pytest.raises(UsageError, match="cannot be mixed"):
        look_ahead(asked(), bare(Provider(hours=0)), other)


def test_a_forecaster_that_fails_is_a_remark() -> None:
    def failing(history: Series, start: datetime, end: datetime) -> Series:
        raise UsageError("four weeks are needed", fix="give more")

    outlook = look_ahead(asked(), bare(Provider(hours=0)), failing)
    assert outlook.rung is Rung.TYPICAL
    assert "four weeks are needed" in said(outlook)


def test_a_replay_asks_for_what_was_known_then() -> None:
    live, replayed = Provider(), Provider()
    look_ahead(asked(), bare(live))
    look_ahead(asked(replayed=True), bare(replayed))
    assert live.asked_as_of == [None]
    assert replayed.asked_as_of == [NOON]


def test_a_replay_takes_nothing_that_was_said_later() -> None:
    later = Provider(age=-HOUR)  # it does not heed what it is asked
    outlook = look_ahead(asked(replayed=True), bare(later))
    assert outlook.rung is Rung.TYPICAL
    assert "issued later" in said(outlook)
    clocks_differ = look_ahead(asked(), bare(Provider(age=-timedelta(minutes=2))))
    assert clocks_differ.rung is Rung.LIVE
    assert "issued 0 min ago" in said(clocks_differ)


def test_a_replay_says_which_values_were_corrected_later() -> None:
    class Correcting(Provider):
        def past(self, *args: Any) -> list[Reading]:
            told = super().past(*args)
            return [*told[:-3], *(replace(one, issued_at=NOON + HOUR) for one in told[-3:])]

    replayed = look_ahead(asked(replayed=True), bare(Correcting(hours=0)), flat)
    assert "3 of 1440 values of its past are as they were corrected later" in said(replayed)
    assert "corrected" not in said(look_ahead(asked(), bare(Correcting(hours=0)), flat))


def test_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="no time lies"):
        asked(end=NOON)


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 72), st.integers(0, 80), st.booleans()),
        max_size=3,
    ),
    st.sampled_from(["DE", "CN", "Narnia"]),
    st.integers(-90, 90),
    st.integers(1, 60),
    st.booleans(),
)
def test_whatever_fails_there_is_an_outlook_of_one_kind(
    providers: Sequence[tuple[int, int, int, bool]],
    zone: str,
    shift: int,
    hours: int,
    foreseeing: bool,
) -> None:
    made = [
        Provider(hours=n, past_hours=past, age=age * HOUR, error=OUT if out else None)
        for n, past, age, out in providers
    ]
    start = NOON + timedelta(minutes=shift)
    question = asked(zone=zone, start=start, end=start + hours * HOUR)
    outlook = look_ahead(question, bare(*made), flat if foreseeing else None)
    series = outlook.series
    assert series.start <= start < series.start + series.step
    assert series.end - series.step < question.end <= series.end
    assert outlook.known == bool((~np.isnan(series.values)).any())
    if outlook.rung in (Rung.LIVE, Rung.FORESEEN):
        assert series.basis == DIRECT
    if not series.complete:
        assert outlook.remarks


def test_spread_keeps_values_at_their_times() -> None:
    series = typical.hours("DE", NOON, NOON + DAY)
    wide = spread(series, NOON - 3 * HOUR, NOON + DAY + 2 * HOUR)
    assert (wide.start, len(wide)) == (NOON - 3 * HOUR, 29)
    assert np.isnan(wide.values[[0, 1, 2, 27, 28]]).all()
    assert wide.low is not None
    assert (wide.values[3:27] == series.values).all()
