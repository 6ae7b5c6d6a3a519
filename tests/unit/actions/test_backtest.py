"""Back-tests: what must hold whatever the signal, the jobs and the forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.actions.backtest import Choice, Jobs, Place, Shape, backtest
from negawatt.actions.backtest.policies import FORECASTS
from negawatt.actions.backtest.studies import lets_wait_awhile, limits, nightly
from negawatt.core.errors import UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Signal, Status, Topic
from negawatt.decisions.backtests import Backtest, Score
from negawatt.signals.series import Series

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, tzinfo=UTC)
FORESEEING = ("persistence", "last-week", "mean28", "own")


def series(values: np.ndarray, zone: str = "DE", **more: object) -> Series:
    told: dict[str, object] = {
        "zone": zone,
        "topic": Topic.CARBON,
        "unit": GRAMS_PER_KWH,
        "basis": Basis(Signal.AVERAGE, Accounting.DIRECT),
        "source": "made up",
        "status": Status.MEASURED,
        "start": START,
        "step": HOUR,
        "values": values,
        **more,
    }
    return Series(**told)  # type: ignore[arg-type]


def weather(seed: int, days: int = 12, lost: float = 0.0) -> np.ndarray:
    """Days with a shape, a level that wanders, noise and holes."""
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    level = 300 + 60 * np.cumsum(rng.normal(size=days))[hours // 24]
    values = np.abs(level + 80 * np.cos(hours / 24 * 2 * np.pi) + rng.normal(0, 30, len(hours)))
    return np.where(rng.random(len(hours)) < lost, np.nan, values)


def every_hour(
    count: int, length: float, slack: int, power: float = 1000.0, first: int = 0
) -> Jobs:
    release = np.arange(first, count - int(np.ceil(length)) - slack)
    return Jobs(
        release=release,
        steps=np.full(len(release), length),
        deadline=release + int(np.ceil(length)) + slack,
        power_w=np.full(len(release), power),
    )


def all_policies() -> list[Choice]:
    chosen = [
        Choice(shape, forecast)
        for shape in (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE, Shape.LOWEST_SLOT)
        for forecast in FORESEEING
    ]
    noisy = Choice(Shape.CONTIGUOUS, "noisy-oracle", error=0.1, seeds=2)
    anew = [
        Choice(shape, "persistence", replanned=True)
        for shape in (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE)
    ]
    return [*chosen, *anew, noisy, Choice(Shape.THRESHOLD), Choice(Shape.STOP_AND_GO)]


def score(found: Backtest, policy: str) -> Score:
    return next(one for one in found.scores if one.policy == policy)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    length=st.sampled_from([0.5, 1.0, 2.75, 6.0]),
    slack=st.integers(0, 30),
    lost=st.sampled_from([0.0, 0.02]),
)
def test_no_policy_beats_its_oracle_and_none_misses_a_deadline(
    seed: int, length: float, slack: int, lost: float
) -> None:
    values = weather(seed, lost=lost)
    found = backtest(
        [Place(series(values))],
        every_hour(len(values), length, slack),
        all_policies(),
        resamples=50,
    )
    now, *_, whole, pieces = found.scores
    assert (now.policy, now.saving.value, now.delay_h) == ("now", 0.0, 0.0)
    assert (whole.policy, pieces.policy) == ("contiguous, oracle", "interruptible, oracle")
    assert pieces.intensity <= whole.intensity + 1e-9
    assert whole.intensity <= now.intensity + 1e-9
    for one in found.scores:
        assert one.missed == 0
        assert one.regret >= -1e-9
        assert one.saving.low <= one.saving.value <= one.saving.high
        oracle = pieces if one.shape in ("interruptible", "stop-and-go") else whole
        assert one.intensity >= oracle.intensity - 1e-9
        assert sum(found.parts[one.policy].values()) == pytest.approx(found.whole[one.policy])


@pytest.mark.parametrize("forecast", FORESEEING)
def test_no_slack_and_a_flat_signal_save_nothing(forecast: str) -> None:
    choice = Choice(Shape.CONTIGUOUS, forecast)
    pieces = Choice(Shape.INTERRUPTIBLE, forecast)
    hurried = backtest([Place(series(weather(1)))], every_hour(288, 3, 0), [choice, pieces])
    flat = backtest([Place(series(np.full(288, 0.1)))], every_hour(288, 3, 24), [choice, pieces])
    for found in (hurried, flat):
        for one in found.scores:
            assert one.saving.value == pytest.approx(0, abs=1e-12)
            assert one.kept is None
    assert all(one.delay_h == 0 for one in hurried.scores)
    assert score(flat, choice.name).delay_h == score(flat, pieces.name).delay_h == 0


@pytest.mark.parametrize("forecast", [name for name in FORECASTS if name in FORESEEING])
def test_a_forecast_knows_nothing_of_what_comes(forecast: str) -> None:
    # The values after a release change; where the job runs must not.
    values = weather(3, days=30)
    other = values.copy()
    release = 20 * 24 + 7
    other[release:] = weather(4, days=30)[release:]
    job = Jobs(
        release=np.array([release]),
        steps=np.array([3.0]),
        deadline=np.array([release + 27]),
        power_w=np.array([1e3]),
    )
    for shape in (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE):
        choice = Choice(shape, forecast)
        waits = {
            score(backtest([Place(series(these))], job, [choice]), choice.name).delay_h
            for these in (values, other)
        }
        assert len(waits) == 1


def test_a_threshold_knows_the_slot_before_only() -> None:
    values = np.full(96, 100.0)
    values[60] = 10.0  # low for one slot; known when it is over
    job = Jobs(
        release=np.array([50]),
        steps=np.array([1.0]),
        deadline=np.array([75]),
        power_w=np.array([1e3]),
    )
    values[48:60] = 200.0
    found = backtest([Place(series(values))], job, [Choice(Shape.THRESHOLD, limit=0.3)])
    assert score(found, "threshold").delay_h == 11.0


def test_a_plain_day_is_foreseen_and_saves_what_the_oracle_saves() -> None:
    values = np.tile(np.where(np.arange(24) < 6, 50.0, 100.0), 10)
    jobs = every_hour(240, 2, 22, first=24)
    found = backtest([Place(series(values))], jobs, [Choice(Shape.CONTIGUOUS, "persistence")])
    told = score(found, "contiguous, persistence")
    assert told.saving.value == pytest.approx(score(found, "contiguous, oracle").saving.value)
    assert told.kept == pytest.approx(1.0)
    assert told.saving.value > 0.2


def test_each_part_alone_is_all_of_the_saving() -> None:
    values = weather(5)
    jobs = every_hour(288, 2, 12)
    one = [Choice(Shape.CONTIGUOUS, "mean28")]
    by_time = backtest([Place(series(values))], jobs, one)
    assert by_time.parts["contiguous, mean28"]["time"] == pytest.approx(
        score(by_time, "contiguous, mean28").saving.value
    )
    by_joules = backtest([Place(series(values))], jobs, one, efficiency=0.8, variant=0.5)
    assert by_joules.parts["now"] == pytest.approx(
        {"efficiency": 0.15, "time": 0, "place": 0, "variant": 0.45}
    )
    assert by_joules.whole["now"] == pytest.approx(0.6)


def test_a_cleaner_place_takes_the_jobs_there() -> None:
    here, there = weather(6), weather(6) / 4
    places = [Place(series(here)), Place(series(there, "SE"))]
    found = backtest(places, every_hour(288, 2, 12, first=24), [Choice(Shape.CONTIGUOUS, "mean28")])
    told = score(found, "contiguous, mean28")
    assert told.moved == 1.0
    assert found.parts["contiguous, mean28"]["place"] > 0.6
    assert score(found, "now").moved == 0.0
    assert found.places == ("SE",)


def test_average_and_marginal_are_chosen_by_and_never_mixed() -> None:
    average = series(weather(7))
    marginal = series(weather(8), basis=Basis(Signal.MARGINAL, Accounting.DIRECT))
    with pytest.raises(UsageError, match="cannot be mixed"):
        backtest([Place(average), Place(marginal)], every_hour(288, 2, 12), [])
    found = backtest(
        [Place(average, chooser=marginal)],
        every_hour(288, 2, 12),
        [Choice(Shape.CONTIGUOUS, "perfect")],
    )
    told = score(found, "contiguous, perfect")
    assert told.saving.value < score(found, "contiguous, oracle").saving.value
    assert found.chosen_by == "made up (marginal, direct)"
    assert any("never added" in note for note in found.notes)


def test_what_is_on_record_is_used_as_it_was_told() -> None:
    values = weather(9)
    place = Place(series(values), recorded=values)
    chosen = [Choice(Shape.CONTIGUOUS, "recorded"), Choice(Shape.CONTIGUOUS, "recorded-day")]
    found = backtest([place], every_hour(288, 2, 12), chosen)
    oracle = score(found, "contiguous, oracle")
    assert score(found, "contiguous, recorded").regret == pytest.approx(0, abs=1e-12)
    assert score(found, "contiguous, recorded-day").saving.value < oracle.saving.value
    with pytest.raises(UsageError, match="no forecast is on record"):
        backtest([Place(series(values))], every_hour(288, 2, 12), chosen)


def test_forecasts_made_anew_in_each_slot_reach_so_far() -> None:
    values = weather(10)
    table = np.stack(
        [np.append(values[ahead:], np.full(ahead, np.nan)) for ahead in range(1, 15)], 1
    )
    chosen = [Choice(Shape.CONTIGUOUS, "revised")]
    near = backtest(
        [Place(series(values), revised=table)], every_hour(288, 2, 10, first=24), chosen
    )
    assert score(near, "contiguous, revised").regret == pytest.approx(0, abs=1e-12)
    far = backtest([Place(series(values), revised=table)], every_hour(288, 2, 40, first=24), chosen)
    assert score(far, "contiguous, revised").regret > 0
    with pytest.raises(UsageError, match="made anew"):
        backtest([Place(series(values))], every_hour(288, 2, 10), chosen)


def test_planned_anew_a_job_follows_the_newest_forecast() -> None:
    # Each forecast tells the next three slots rightly, and takes those beyond for clean.
    values = weather(16)
    table = np.stack([np.append(values[at:], np.full(at, np.nan)) for at in range(1, 19)], axis=1)
    table[:, 4:] = np.where(np.isnan(table[:, 4:]), np.nan, 1.0)
    place = Place(series(values), revised=table)
    jobs = every_hour(288, 1, 8, first=24)
    one = Choice(Shape.CONTIGUOUS, "revised")
    anew = Choice(Shape.CONTIGUOUS, "revised", replanned=True)
    found = backtest([place], jobs, [one, anew])
    assert score(found, anew.name).saving.value > score(found, one.name).saving.value
    # Who knows all has nothing to plan anew.
    for shape in (Shape.CONTIGUOUS, Shape.INTERRUPTIBLE):
        wise = Choice(shape, "perfect", replanned=True)
        told = score(backtest([place], jobs, [wise]), wise.name)
        assert told.regret == pytest.approx(0, abs=1e-12)


def test_the_interval_is_of_the_difference() -> None:
    # Days differ tenfold, and each saves a half: nothing is uncertain of the share.
    level = np.repeat(np.linspace(10, 100, 12), 24)
    values = level * np.tile(np.where(np.arange(24) == 20, 0.5, 1.0), 12)
    jobs = Jobs(
        release=np.arange(12) * 24,
        steps=np.ones(12),
        deadline=np.arange(12) * 24 + 24,
        power_w=np.full(12, 1e3),
    )
    told = backtest([Place(series(values))], jobs, []).scores[-1].saving
    assert (told.low, told.value, told.high) == pytest.approx((0.5, 0.5, 0.5))


def test_jobs_over_gaps_are_left_out_for_all_policies() -> None:
    values = weather(11)
    values[100] = np.nan
    found = backtest([Place(series(values))], every_hour(288, 2, 12), all_policies())
    assert found.left_out == 14
    assert any("left out" in note for note in found.notes)


def test_what_cannot_be_tried_is_named() -> None:
    place = Place(series(weather(12)))
    with pytest.raises(UsageError, match="no forecast 'fortune'"):
        backtest([place], every_hour(288, 2, 12), [Choice(Shape.CONTIGUOUS, "fortune")])
    with pytest.raises(UsageError, match="cannot end before"):
        Jobs(
            release=np.array([5]),
            steps=np.array([4.0]),
            deadline=np.array([8]),
            power_w=np.array([1e3]),
        )
    with pytest.raises(UsageError, match="no job to try"):
        backtest([Place(series(np.full(288, np.nan)))], every_hour(288, 2, 12), [])
    with pytest.raises(UsageError, match="not above 0"):
        backtest([place], every_hour(288, 2, 12), [], variant=0.0)
    short = Place(series(weather(13, days=3), "SE"))
    with pytest.raises(UsageError, match="--from and --to"):
        backtest([place, short], every_hour(288, 2, 12), [])


def test_energy_weighs_and_does_not_change_the_share() -> None:
    place = Place(series(weather(14)))
    small, large = (
        backtest([place], every_hour(288, 2, 12, power), [Choice(Shape.CONTIGUOUS, "mean28")])
        for power in (10.0, 5000.0)
    )
    assert large.kwh == pytest.approx(500 * small.kwh)
    for one, other in zip(small.scores, large.scores, strict=True):
        assert one.saving.value == pytest.approx(other.saving.value)
        assert one.intensity == pytest.approx(other.intensity)


def test_studies_refuse_what_they_cannot_do() -> None:
    with pytest.raises(UsageError, match="no rule 'soon'"):
        lets_wait_awhile(series(weather(1)), rules=["soon"])
    with pytest.raises(UsageError, match="without a 1 January"):
        lets_wait_awhile(series(weather(1)))
    with pytest.raises(UsageError, match="without a 1 January"):
        nightly(series(weather(1)))
    holes = weather(1)
    holes[3] = np.nan
    whole = series(weather(2), "SE")
    with pytest.raises(UsageError, match="no zone is known"):
        limits([series(holes)], HOUR, 24 * HOUR)
    found = limits([series(holes), whole], HOUR, 24 * HOUR)
    assert (found.zones, found.left_out) == (("SE",), ("DE",))
    with pytest.raises(UsageError, match="no whole number of steps"):
        limits([whole], timedelta(minutes=90), 24 * HOUR)
    with pytest.raises(UsageError, match="does not fit"):
        limits([whole], 500 * HOUR, 24 * HOUR)
    with pytest.raises(UsageError, match="tell other times"):
        limits([whole, series(weather(3, days=2), "FR")], HOUR, 24 * HOUR)


@pytest.mark.parametrize("job", [1, 5])
def test_no_limit_of_slack_is_the_rest_of_the_year(job: int) -> None:
    values = weather(15, days=4)
    found = limits([series(values)], job * HOUR, 9999 * HOUR, forecasts=["persistence"])
    count = len(values) - job + 1
    cheapest = [np.sort(values[at:])[:job].sum() for at in range(count)]
    windows = np.convolve(values, np.ones(job), "valid")
    best = [windows[at:].min() for at in range(count)]
    told = found.by_zone["DE"]
    assert told[1] == pytest.approx(1 - sum(best) / windows.sum())
    assert told[1] + told[2] == pytest.approx(1 - sum(cheapest) / windows.sum())
    assert found.starts == count
    assert found.foreseen["persistence"].pooled <= found.deferral.pooled
