"""Without a forecast: a threshold that misses no deadline, whatever the readings are."""

from __future__ import annotations

import math
import tomllib
from datetime import timedelta
from importlib import resources
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from when_sample import HOUR, START, job_of, outlook_of

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.decisions.when import ANYWHERE, Job, Progress, follow, go, schedule_without

MINUTES = timedelta(minutes=5)
_READINGS = st.one_of(st.floats(0, 900), st.sampled_from([math.nan, math.inf, -1e300, 0.0]))


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    hours, slack = draw(st.floats(0.05, 4)), draw(st.floats(0, 8))
    since = draw(st.floats(0, 3))
    uncertain = draw(st.sampled_from([1.0, 1.4]))
    return job_of(
        hours,
        since + hours * uncertain + slack + 0.001,
        since=since,
        work_high_s=hours * uncertain * 3600,
        interruptible=draw(st.booleans()),
        restart_s=draw(st.sampled_from([0.0, 90.0, 900.0])),
        checkpoint_s=draw(st.sampled_from([0.0, 45.0, 700.0])),
        min_run_s=draw(st.sampled_from([0.0, 1200.0])),
        scaling=draw(st.sampled_from([(), (1.0, 1.8)])),
    )


@settings(max_examples=200, deadline=None)
@given(
    job=jobs(),
    values=st.lists(_READINGS, min_size=1, max_size=14),
    quantile=st.sampled_from([0.05, 0.3, 0.9]),
    every=st.sampled_from([MINUTES, timedelta(minutes=37)]),
)
def test_the_threshold_misses_no_deadline(
    job: Job, values: list[float], quantile: float, every: timedelta
) -> None:
    stretches = follow(job, outlook_of(values), quantile=quantile, every=every)
    assert stretches[0].start >= job.release
    assert stretches[-1].end <= job.deadline + timedelta(microseconds=5)
    assert all(before.end <= after.start for before, after in pairwise(stretches))
    speed = max(job.scaling, default=1.0)
    done = sum(stretch.seconds for stretch in stretches) * speed
    lost = (len(stretches) - 1) * (job.checkpoint_s + job.restart_s) * speed
    assert done >= job.planned_s - 0.01
    if job.min_run_s >= job.restart_s:  # else it may be stopped before it has begun anew
        assert done - lost == pytest.approx(job.planned_s, abs=0.01)
    if not job.interruptible:
        assert len(stretches) == 1
    assert all(each.seconds >= job.min_run_s - 1e-3 for each in stretches[:-1])


def test_it_waits_for_a_cleaner_hour() -> None:
    values = [300.0, 200, 400, 500, 300, 200, 400, 500, 300, 150]
    job = job_of(1, 12, since=6)
    (stretch,) = follow(job, outlook_of(values), quantile=0.2, every=HOUR)
    assert stretch.start == START + 9 * HOUR


def test_reasons_say_what_was_decided_and_by_what() -> None:
    history = outlook_of([100.0, 200, 300, 400, 350])
    job = job_of(1, 24)
    at = START + 4.5 * HOUR
    waits = go(Progress(job=job), history, at)
    assert not waits
    assert "350 g/kWh, and 30% of the time it was 220 or less" in waits.because
    assert go(Progress(job=job), history, START + 1 * HOUR).because.startswith("Waits")
    assert go(Progress(job=job), history, START + 0.5 * HOUR)
    assert "may not be interrupted" in go(Progress(job=job, running=True), history, at).because
    late = go(Progress(job=job), history, START + 23 * HOUR)
    assert "too late" in late.because
    early = go(Progress(job=job_of(1, 24, since=2)), history, START)
    assert not early
    assert "it may start at" in early.because


def test_what_lies_ahead_is_not_looked_at() -> None:
    job = job_of(1, 24)
    known = outlook_of([100.0, 200, 300])
    more = outlook_of([100.0, 200, 300, 1, 1, 1])
    at = START + 2.5 * HOUR
    assert go(Progress(job=job), known, at) == go(Progress(job=job), more, at)


@pytest.mark.parametrize(
    "history", [None, outlook_of([math.nan] * 3), outlook_of([100.0, math.nan])]
)
def test_where_nothing_is_known_it_runs(history: object) -> None:
    decided = go(Progress(job=job_of(1, 24)), history, START + 1.5 * HOUR)  # type: ignore[arg-type]
    assert decided
    assert "known" in decided.because


def test_an_old_reading_is_no_present_one() -> None:
    assert (
        "not known" in go(Progress(job=job_of(1, 24)), outlook_of([9.0]), START + 9 * HOUR).because
    )


def test_an_interruptible_job_goes_on_until_it_has_run_its_time() -> None:
    history = outlook_of([100.0, 900.0])
    job = job_of(4, 24, interruptible=True, min_run_s=1800.0)
    at = START + 1.1 * HOUR
    young = Progress(job=job, running=True, ran_s=600.0)
    assert "too short a time" in go(young, history, at).because
    assert not go(Progress(job=job, running=True, ran_s=1801.0), history, at)


def test_numbers_that_are_none_are_refused() -> None:
    job = job_of(1, 2)
    with pytest.raises(UsageError, match="quantile of 1"):
        go(Progress(job=job), None, START, quantile=1.0)
    with pytest.raises(UsageError, match="every 0"):
        go(Progress(job=job), None, START, every=timedelta(0))


def test_without_a_forecast_it_runs_now_and_says_so() -> None:
    job = job_of(2, 12, embodied_g_per_h=10.0)
    plan = schedule_without(job, "the provider does not answer", zone="XX")
    assert plan.shift == timedelta(0)
    assert plan.saving.value == 0.0
    assert plan.grams.value == pytest.approx(2 * ANYWHERE.value + 20)
    assert plan.grams.kind is Kind.ASSUMED
    assert "does not answer" in plan.fallback


def test_a_history_tells_what_it_may_emit() -> None:
    history = outlook_of([100.0, 200, 300, math.nan])
    plan = schedule_without(job_of(1, 12), "no forecast", history=history)
    assert plan.grams.value == pytest.approx(200)
    assert plan.grams.low == pytest.approx(float(np.quantile([100, 200, 300], 0.05)))


def test_the_band_for_anywhere_is_that_of_the_factors() -> None:
    file = resources.files("negawatt") / "data" / "factors" / "grid.toml"
    world = tomllib.loads(file.read_text(encoding="utf-8"))["world"]
    assert (ANYWHERE.low, ANYWHERE.value, ANYWHERE.high) == (
        world["low"],
        world["value"],
        world["high"],
    )
