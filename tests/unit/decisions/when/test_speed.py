"""Choosing times is fast enough to be done for everything. CPU time, as machines are shared."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from when_sample import job_of, outlook_of

from negawatt.decisions.when import Job, plan_many
from negawatt.signals.series import Series

pytestmark = pytest.mark.slow

JOBS, SLOTS = 10_000, 105_120


@pytest.fixture(scope="module")
def year() -> Series:
    hours = np.arange(SLOTS) / 12
    noise = np.random.default_rng(1).standard_normal(SLOTS).cumsum() / 20
    values = np.abs(300 + 120 * np.cos(2 * np.pi * hours / 24) + noise)
    return outlook_of(values, timedelta(minutes=5))


def _jobs(slack_h: float, *, interruptible: bool) -> list[Job]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(JOBS):
        hours = float(random.uniform(1 / 6, 24))
        since = float(random.uniform(0, SLOTS / 12 - hours - slack_h - 1))
        found.append(
            job_of(hours, since + hours + slack_h, since=since, interruptible=interruptible)
        )
    return found


def _cpu_s(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


@pytest.mark.parametrize("slack_h", [24.0, 168.0, 8700.0])
@pytest.mark.parametrize("interruptible", [False, True])
def test_10_000_jobs_over_a_year_of_slots_take_2_s(
    year: Series, slack_h: float, interruptible: bool
) -> None:
    jobs = _jobs(slack_h, interruptible=interruptible)
    assert _cpu_s(lambda: plan_many(jobs, year)) <= 2.0


def test_with_limits_they_take_less_than_a_minute(year: Series) -> None:
    jobs = _jobs(48.0, interruptible=False)
    mean_w = sum(job.power_w * job.work_s for job in jobs) / (SLOTS * 300)
    began = time.process_time()
    plans = plan_many(jobs, year, power_w=2 * mean_w)
    assert time.process_time() - began < 60
    assert len(plans.schedules()) + len(plans.refused) == JOBS
