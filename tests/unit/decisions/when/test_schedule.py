"""Schedules: order of plans, deadlines under any forecast, gaps, prices, waiting and reasons."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from when_sample import HOUR, START, day, job_of, outlook_of, price_of

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.core.grid import Topic
from negawatt.decisions.when import Job, Schedule, schedule
from negawatt.decisions.when.field import Run, field
from negawatt.decisions.when.through import now
from negawatt.signals.series import Series

_GOOD = st.floats(0.0, 900.0)
_ANYTHING = st.one_of(
    _GOOD, st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e14, -50.0, 0.0])
)
STEPS = st.sampled_from([timedelta(minutes=5), timedelta(minutes=30), HOUR])


@st.composite
def jobs(draw: st.DrawFn, **fixed: object) -> Job:
    """A job that fits between its release and its deadline, neither of them on a full hour."""
    since, hours = draw(st.floats(0, 3)), draw(st.floats(0.05, 5))
    slack, uncertain = draw(st.floats(0, 8)), draw(st.sampled_from([None, 1.3]))
    longest = hours * (uncertain or 1.0)
    told: dict[str, object] = {
        "since": since,
        "work_high_s": None if uncertain is None else longest * 3600,
        "idle_w": draw(st.sampled_from([0.0, 200.0])),
        "embodied_g_per_h": draw(st.sampled_from([0.0, 30.0])),
        "interruptible": draw(st.booleans()),
        "restart_s": draw(st.sampled_from([0.0, 120.0])),
        "checkpoint_s": draw(st.sampled_from([0.0, 33.0])),
        "min_run_s": draw(st.sampled_from([0.0, 1800.0])),
        "scaling": draw(st.sampled_from([(), (1.0, 1.8, 2.4), (1.0, 0.9)])),
    }
    return job_of(hours, since + longest + slack + 0.01, **(told | fixed))  # type: ignore[arg-type]


def _keeps_its_promises(plan: Schedule) -> None:
    job = plan.job
    stretches = plan.stretches
    assert stretches[0].start >= job.release
    assert stretches[-1].end <= job.deadline
    assert all(before.end <= after.start for before, after in pairwise(stretches))
    assert all(stretch.end > stretch.start for stretch in stretches)
    speeds = (0.0, *(job.scaling or (1.0,)))
    done = sum(stretch.seconds * speeds[stretch.nodes] for stretch in stretches)
    lost = sum(
        job.checkpoint_s * speeds[before.nodes] + job.restart_s * speeds[after.nodes]
        for before, after in pairwise(stretches)
        if after.start - before.end > timedelta(milliseconds=1)
    )
    assert done - lost == pytest.approx(job.planned_s, rel=1e-6, abs=0.01)
    assert plan.because
    assert plan.alternatives[0].what.startswith("run now")
    assert plan.saving.value <= 1.0 or plan.grams.value < 0


@settings(max_examples=80, deadline=None)
@given(job=jobs(), values=st.lists(_ANYTHING, min_size=1, max_size=16), step=STEPS)
def test_no_forecast_makes_a_job_miss_its_deadline(
    job: Job, values: list[float], step: timedelta
) -> None:
    _keeps_its_promises(schedule(job, outlook_of(values, step)))


@settings(max_examples=50, deadline=None)
@given(
    job=jobs(work_high_s=None, scaling=()),
    values=st.lists(_GOOD, min_size=16, max_size=16),
)
def test_more_freedom_never_emits_more(job: Job, values: list[float]) -> None:
    outlook = outlook_of(values)
    through = replace(job, interruptible=False)
    some = replace(job, interruptible=True)
    free = replace(some, restart_s=0.0, checkpoint_s=0.0, min_run_s=0.0)
    lines = [schedule(each, outlook, explain=False).grams.value for each in (free, some, through)]
    lines.append(schedule(through, outlook, explain=False).now.value)
    for less, more in pairwise(lines):
        assert less <= more * (1 + 1e-8) + 1e-9


@settings(max_examples=50, deadline=None)
@given(job=jobs(), value=st.floats(0.0, 900.0))
def test_a_flat_signal_shifts_nothing_and_saves_nothing(job: Job, value: float) -> None:
    plan = schedule(job, outlook_of([value] * 16))
    assert plan.shift == timedelta(0)
    if not (job.scaling and job.embodied_g_per_h):  # more nodes are done, and given back, sooner
        assert plan.saving.value == 0.0


@settings(max_examples=50, deadline=None)
@given(job=jobs(), values=st.lists(_GOOD, min_size=16, max_size=16))
def test_no_slack_shifts_nothing_and_saves_nothing(job: Job, values: list[float]) -> None:
    tight = replace(job, deadline=job.release + timedelta(seconds=job.longest_s))
    plan = schedule(tight, outlook_of(values))
    assert plan.shift == timedelta(0)
    assert plan.saving.value == pytest.approx(0.0, abs=1e-7)  # times are told in microseconds
    assert "no other time" in plan.because


def test_the_lowest_window_is_not_the_one_around_the_lowest_hour() -> None:
    outlook = outlook_of([500, 400, 10, 400, 500, 200, 200, 200])
    assert schedule(job_of(3, 8), outlook).start == START + 5 * HOUR
    assert schedule(job_of(1, 8), outlook).start == START + 2 * HOUR


def test_a_window_may_begin_inside_a_step() -> None:
    outlook = outlook_of([300, 100, 100, 50])
    plan = schedule(job_of(1.5, 4), outlook)  # ends with the last hour, begins inside the third
    assert plan.start == START + 2.5 * HOUR
    assert plan.grams.value == pytest.approx(0.5 * 100 + 50)


def test_release_and_deadline_may_lie_inside_steps() -> None:
    outlook = outlook_of([100, 300, 300, 50])
    plan = schedule(job_of(0.5, 3.25, since=0.75), outlook)
    assert plan.start == START + 2.75 * HOUR
    assert plan.end == START + 3.25 * HOUR
    assert plan.grams.value == pytest.approx(0.25 * 300 + 0.25 * 50)


def test_the_longest_duration_keeps_the_deadline_and_the_usual_one_is_counted() -> None:
    outlook = outlook_of([500, 500, 300, 100, 100, 100])
    plan = schedule(job_of(1, 6, work_high_s=3 * 3600), outlook)
    assert (plan.start, plan.end) == (START + 3 * HOUR, START + 6 * HOUR)
    assert plan.grams.value == pytest.approx(100)
    assert plan.grams.high == pytest.approx(300)


def test_waiting_on_reserved_hardware_is_not_free() -> None:
    outlook = outlook_of([300, 290, 280, 100])
    free = schedule(job_of(1, 4), outlook)
    assert free.start == START + 3 * HOUR
    reserved = schedule(job_of(1, 4, idle_w=400.0), outlook)
    assert reserved.start == START
    assert "waiting for" in reserved.because
    made = schedule(job_of(1, 4, embodied_g_per_h=100.0), outlook)
    assert made.start == START
    little = schedule(job_of(1, 4, embodied_g_per_h=10.0), outlook)
    assert little.start == START + 3 * HOUR
    assert little.grams.value == pytest.approx(100 + 4 * 10)
    assert "for waiting" in little.because


def test_intervals_of_the_forecast_are_carried_on() -> None:
    outlook = outlook_of([300, 100], low=np.array([250.0, 50.0]), high=np.array([350.0, 200.0]))
    plan = schedule(job_of(1, 2), outlook)
    grams = (plan.grams.low, plan.grams.value, plan.grams.high)
    assert grams == pytest.approx((50, 100, 200))
    assert plan.saving.value == pytest.approx(1 - 100 / 300)
    assert plan.saving.low == pytest.approx(1 - 200 / 250)
    assert plan.saving.high == pytest.approx(1 - 50 / 350)


@settings(max_examples=40, deadline=None)
@given(
    job=jobs(work_high_s=None),
    values=st.lists(st.floats(1.0, 900.0), min_size=16, max_size=16),
    width=st.floats(0.0, 0.9),
    truth=st.lists(st.floats(-1.0, 1.0), min_size=16, max_size=16),
)
def test_whatever_happens_within_the_intervals_the_saving_lies_within_its_own(
    job: Job, values: list[float], width: float, truth: list[float]
) -> None:
    column = np.array(values)
    outlook = outlook_of(values, low=column * (1 - width), high=column * (1 + width))
    plan = schedule(job, outlook, explain=False)
    happened = schedule_as(plan, outlook_of(column * (1 + width * np.array(truth))))
    near = 1e-6  # times of day are told in microseconds
    assert plan.saving.low - near <= happened <= plan.saving.high + near


def schedule_as(plan: Schedule, truth: Series) -> float:
    """Saving of a plan's stretches under another signal."""
    ground = field(plan.job, truth)
    runs = tuple(
        Run(
            (each.start - plan.job.release).total_seconds(),
            (each.end - plan.job.release).total_seconds(),
            each.nodes,
        )
        for each in plan.stretches
    )
    other = ground.cost(plan.job, now(plan.job))
    return (other - ground.cost(plan.job, runs)) / other


def test_a_price_counts_by_its_weight() -> None:
    outlook, price = outlook_of([300, 100, 200]), price_of([50, 90, 10])
    by_carbon = schedule(job_of(1, 3), outlook, price=price)
    assert by_carbon.start == START + HOUR
    assert by_carbon.cost == pytest.approx(0.09)
    by_price = schedule(job_of(1, 3), outlook, price=price, price_weight=5000.0)
    assert by_price.start == START + 2 * HOUR
    assert by_price.cost == pytest.approx(0.01)
    assert by_price.grams.value == pytest.approx(200)
    per_kwh = schedule(
        job_of(1, 3), outlook, price=price_of([0.05, 0.09, 0.01], "EUR/kWh"), price_weight=5000.0
    )
    assert per_kwh.cost == pytest.approx(0.01)


def test_a_price_in_finer_steps_than_the_outlook_is_followed() -> None:
    price = price_of([90, 90, 10, 10], step=timedelta(minutes=15))
    plan = schedule(job_of(0.5, 1), outlook_of([300]), price=price, price_weight=1000.0)
    assert plan.start == START + 0.5 * HOUR


def test_a_short_outlook_is_used_as_far_as_it_goes_and_said() -> None:
    plan = schedule(job_of(2, 12), outlook_of([400, 400, 100, 100]))
    assert plan.start == START + 2 * HOUR
    assert "8:00:00 of the 12:00:00" in plan.fallback
    assert "ends 2026-01-01 04:00" in plan.fallback
    assert plan.grams.kind is Kind.ASSUMED


def test_gaps_are_valued_at_the_mean_of_what_is_known() -> None:
    plan = schedule(job_of(1, 4), outlook_of([400, math.nan, 300, 200]))
    assert plan.start == START + 3 * HOUR
    assert "1:00:00 of the 4:00:00" in plan.fallback
    low = schedule(job_of(1, 3), outlook_of([400, math.nan, 200]))
    assert low.start == START + 2 * HOUR


def test_an_outlook_of_another_time_or_of_nothing_still_gives_a_schedule() -> None:
    elsewhere = schedule(job_of(2, 50, since=40), day())
    assert elsewhere.shift == timedelta(0)
    assert elsewhere.fallback
    nothing = schedule(job_of(2, 12), outlook_of([math.nan] * 12))
    assert nothing.shift == timedelta(0)
    assert "nothing of DE" in nothing.fallback
    assert nothing.saving.value == 0.0


def test_units_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="plans are made by carbon"):
        schedule(job_of(1, 2), price_of([1, 2]))
    with pytest.raises(UsageError, match="no price of energy"):
        schedule(job_of(1, 2), day(), price=price_of([1, 2], "EUR/week"))
    with pytest.raises(UsageError, match="without a price"):
        schedule(job_of(1, 2), day(), price_weight=1.0)
    with pytest.raises(UsageError, match="price weight of -1"):
        schedule(job_of(1, 2), day(), price=price_of([1, 2]), price_weight=-1.0)
    temperature = outlook_of([1.0], topic=Topic.TEMPERATURE, basis=None, unit="degC")
    with pytest.raises(UsageError, match="temperature"):
        schedule(job_of(1, 2), temperature)


def test_reasons_alternatives_and_what_would_change_it() -> None:
    plan = schedule(job_of(4, 12), day())
    assert "less" in plan.because
    whats = [other.what for other in plan.alternatives]
    assert whats == [
        "run now",
        "not interrupted",
        "until 2026-01-01 18:00 UTC",
        "until 2026-01-02 00:00 UTC",
    ]
    at_once, until = plan.alternatives[0], plan.alternatives[2]
    assert at_once.grams.value == pytest.approx(plan.now.value)
    assert until.grams.value < plan.grams.value
    dirtier, later = plan.would_change
    assert "dirtier than foreseen" in dirtier
    assert "6 h later" in later


def test_how_wrong_the_forecast_would_have_to_be_is_right() -> None:
    plan = schedule(job_of(1, 2), outlook_of([300, 100]))
    assert "200% dirtier" in plan.would_change[0]  # 300 instead of 100
    assert "67% cleaner" in plan.would_change[0]  # 100 instead of 300
    assert schedule(job_of(1, 2), outlook_of([300, 300])).shift == timedelta(0)


def test_what_interrupting_would_bring_is_told() -> None:
    plan = schedule(job_of(2, 4), outlook_of([100, 300, 100, 300]))
    assert plan.alternatives[2].what == "interrupted"
    assert plan.alternatives[2].grams.value == pytest.approx(200)


def test_spreading_over_nodes_is_told() -> None:
    job = job_of(4, 6, scaling=(1.0, 1.9), interruptible=True)
    plan = schedule(job, outlook_of([400, 100, 100, 100, 400, 400]))
    assert max(stretch.nodes for stretch in plan.stretches) == 2
    assert "2 nodes" in plan.because
    assert plan.saving.value > 0


def test_a_job_that_cannot_be_interrupted_keeps_its_nodes() -> None:
    job = job_of(4, 6, scaling=(1.0, 1.9))
    plan = schedule(job, outlook_of([400, 400, 100, 90, 400, 400]))
    assert [stretch.nodes for stretch in plan.stretches] == [2]


def test_a_price_with_gaps_or_without_a_value_is_told() -> None:
    outlook = outlook_of([300.0, 100, 200])
    gaps = schedule(job_of(1, 3), outlook, price=price_of([50, math.nan, 10]), price_weight=1.0)
    assert "no price for 1:00:00 of the 3:00:00" in gaps.fallback
    none = schedule(job_of(1, 3), outlook, price=price_of([math.nan] * 3), price_weight=1.0)
    assert none.start == START + HOUR
    assert none.cost is None
    assert "tells no price" in none.fallback


def test_intervals_without_a_value_are_none() -> None:
    nothing = np.full(3, math.nan)
    plan = schedule(job_of(1, 3), outlook_of([300.0, 100, 200], low=nothing, high=nothing))
    assert plan.start == START + HOUR
    assert plan.grams.is_exact
