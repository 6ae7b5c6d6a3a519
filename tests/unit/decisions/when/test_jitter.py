"""Plans that a seed picks among those that are nearly best."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from when_sample import day, job_of, outlook_of

from negawatt.core.errors import UsageError
from negawatt.decisions.when import jittered, schedule, seed_of

VALUES = st.lists(st.floats(1.0, 900.0), min_size=12, max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    values=VALUES,
    seed=st.integers(-(2**70), 2**70),
    within=st.floats(0.0, 0.5),
    hours=st.floats(0.1, 5.0),
    interruptible=st.booleans(),
    idle=st.sampled_from([0.0, 100.0]),
)
def test_it_is_within_what_is_allowed_and_in_time(
    values: list[float], seed: int, within: float, hours: float, interruptible: bool, idle: float
) -> None:
    job = job_of(hours, 11.7, since=0.3, interruptible=interruptible, idle_w=idle)
    outlook = outlook_of(values)
    best = schedule(job, outlook, explain=False)
    picked = jittered(job, outlook, seed=seed, within=within)
    assert picked.grams.value <= best.grams.value * (1 + within) * (1 + 1e-6)
    assert job.release <= picked.start
    assert picked.end <= job.deadline
    assert jittered(job, outlook, seed=seed, within=within).stretches == picked.stretches
    done = sum(stretch.seconds for stretch in picked.stretches)
    assert done == pytest.approx(job.work_s, abs=1e-2)


@pytest.mark.parametrize("interruptible", [False, True])
def test_jobs_with_other_names_start_at_other_times(interruptible: bool) -> None:
    noise = np.random.default_rng(0).uniform(0, 4, 24)
    outlook = outlook_of(list(day().values + noise))
    job = job_of(3, 24, interruptible=interruptible)
    starts = {
        jittered(job, outlook, seed=seed_of(f"job {number}"), within=0.05).start
        for number in range(60)
    }
    assert len(starts) >= (50 if not interruptible else 2)
    if not interruptible:
        assert max(starts) - min(starts) > timedelta(minutes=30)


def test_nothing_is_moved_where_nothing_may_be() -> None:
    job, outlook = job_of(2, 6), outlook_of([5.0, 4, 1, 1, 4, 5])
    assert jittered(job, outlook, seed=1, within=0.0).stretches == schedule(job, outlook).stretches
    tight = job_of(6, 6)
    assert jittered(tight, outlook, seed=1, within=0.5).shift == timedelta(0)


def test_a_flat_signal_spreads_jobs_over_all_the_time_there_is() -> None:
    outlook = outlook_of([300.0] * 12)
    hours = [
        jittered(job_of(2, 12), outlook, seed=number).shift.total_seconds() / 3600
        for number in range(400)
    ]
    counts, _ = np.histogram(hours, bins=5, range=(0, 10))
    assert counts.min() > 50  # 80 each were it by lot


def test_what_is_no_share_is_refused_and_no_forecast_runs_now() -> None:
    with pytest.raises(UsageError, match="within -1"):
        jittered(job_of(1, 2), day(), seed=1, within=-1.0)
    assert jittered(job_of(1, 2), outlook_of([float("nan")]), seed=1).fallback
