"""Many jobs: the same as one by one, limits kept, and nobody dropped in silence."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from when_sample import HOUR, START, day, job_of, outlook_of, price_of

from negawatt.core.errors import UsageError
from negawatt.decisions.when import Job, Plans, plan_many, schedule
from negawatt.decisions.when.ranks import Ranks, Spans
from negawatt.decisions.when.sums import Windows, signal_of


@st.composite
def many(draw: st.DrawFn, **fixed: object) -> list[Job]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        since, hours, slack = draw(st.floats(0, 4)), draw(st.floats(0.1, 4)), draw(st.floats(0, 9))
        told: dict[str, object] = {
            "name": f"job {number}",
            "since": since,
            "power_w": draw(st.sampled_from([100.0, 1000.0])),
            "interruptible": draw(st.booleans()),
            "restart_s": draw(st.sampled_from([0.0, 0.0, 60.0])),
            "idle_w": draw(st.sampled_from([0.0, 0.0, 30.0])),
            "embodied_g_per_h": draw(st.sampled_from([0.0, 0.0, 5.0])),
            "work_high_s": draw(st.sampled_from([None, hours * 4000])),
            "scaling": draw(st.sampled_from([(), (), (1.0, 1.8)])),
        }
        until = since + hours * 4000 / 3600 + slack + 0.01
        found.append(job_of(hours, until, **(told | fixed)))  # type: ignore[arg-type]
    return found


VALUES = st.lists(
    st.one_of(st.floats(0, 900), st.just(math.nan), st.integers(0, 3).map(float)),
    min_size=6,
    max_size=20,
).filter(lambda values: any(not math.isnan(each) for each in values))


@settings(max_examples=60, deadline=None)
@given(jobs=many(), values=VALUES)
def test_many_together_get_what_each_would_get_alone(jobs: list[Job], values: list[float]) -> None:
    outlook = outlook_of(values)
    plans = plan_many(jobs, outlook)
    assert not plans.refused
    for place, job in enumerate(jobs):
        alone = schedule(job, outlook, explain=False)
        near = {"rel": 1e-6, "abs": 1e-3}
        assert plans.grams[place] == pytest.approx(alone.grams.value, **near)
        assert plans.now[place] == pytest.approx(alone.now.value, **near)
        assert plans.schedule(place) == alone
        usual = alone.stretches[0].start - job.release
        if alone.grams.value < alone.now.value * 0.999 and len(set(values)) == len(values):
            assert plans.start[place] == pytest.approx(usual.total_seconds(), abs=1e-3)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.integers(0, 30), min_size=40, max_size=60),
    work=st.floats(0.5, 20.0),
    since=st.floats(0, 3),
    slack=st.floats(0, 30),
)
def test_looking_coarsely_first_misses_no_window(
    values: list[int], work: float, since: float, slack: float
) -> None:
    latest = min(since + slack, len(values) - work)
    if latest - since < 2:
        return
    windows = Windows(signal_of(outlook_of(values)), [work])
    ends = [windows.lowest(at, at, work, (0.0, 0.0)) for at in (since, latest)]
    plain = min([*windows._every(since, latest, work, (0.0, 0.0)), *ends])
    coarse = min([*windows._coarsely(since, latest, work), *ends])
    assert coarse.cost == pytest.approx(plain.cost, rel=1e-9)
    assert coarse.start == pytest.approx(plain.start, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.integers(0, 5).map(float), min_size=3, max_size=30),
    ends=st.tuples(st.integers(1, 28), st.integers(1, 28)),
    parts=st.tuples(st.floats(0.0, 0.99), st.floats(0.0, 0.99)),
    share=st.floats(0.01, 1.0),
)
def test_the_cheapest_slots_of_a_span_are_those_of_sorting_it(
    values: list[float], ends: tuple[int, int], parts: tuple[float, float], share: float
) -> None:
    first, after = (min(each, len(values) - 1) for each in sorted(ends))
    rooms = np.zeros(len(values))
    rooms[first:after] = 1.0
    rooms[first - 1], rooms[after] = parts if first - 1 != after else (parts[0], 0.0)
    work = share * rooms.sum()
    if work < 1e-6:
        return
    spans = Spans(
        np.array([first]), np.array([after]), np.array([parts[0]]), np.array([rooms[after]])
    )
    found = Ranks(np.array(values)).cheapest(spans, np.array([work]))
    order = np.argsort(values, kind="stable")
    left, plain = work, 0.0
    for slot in order.tolist():
        used = min(left, rooms[slot])
        plain, left = plain + used * values[slot], left - used
    assert found.cost[0] == pytest.approx(plain, abs=1e-6)


def _used(plans: Plans, hours: int) -> tuple[np.ndarray, np.ndarray]:
    """Most power, and most jobs, at any minute of each hour."""
    watts, count = np.zeros(hours * 60), np.zeros(hours * 60)
    for plan in plans.schedules():
        for stretch in plan.stretches:
            begin = math.floor((stretch.start - START) / HOUR * 60 + 1e-6)
            end = math.ceil((stretch.end - START) / HOUR * 60 - 1e-6)
            watts[begin:end] += stretch.nodes * plan.job.power_w
            count[begin:end] += 1
    return watts, count


@settings(max_examples=60, deadline=None)
@given(
    jobs=many(),
    values=VALUES,
    power=st.sampled_from([None, 1100.0, 2500.0]),
    slots=st.sampled_from([None, 1, 2]),
)
def test_limits_are_kept_and_every_job_is_planned_or_named(
    jobs: list[Job], values: list[float], power: float | None, slots: int | None
) -> None:
    plans = plan_many(jobs, outlook_of(values), power_w=power, slots=slots)
    placed = plans.schedules()
    assert len(placed) + len(plans.refused) == len(jobs)
    assert all(each.because for each in plans.refused)
    for plan in placed:
        assert plan.stretches[0].start >= plan.job.release
        assert plan.stretches[-1].end <= plan.job.deadline
        assert plan.because
    watts, count = _used(plans, 40)
    assert watts.max() <= (power or math.inf) + 1e-6
    assert count.max() <= (slots or math.inf)
    again = plan_many(jobs, outlook_of(values), power_w=power, slots=slots)
    assert [one.stretches for one in again.schedules()] == [one.stretches for one in placed]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 9), min_size=6, max_size=6),
    lengths=st.lists(st.integers(1, 3), min_size=2, max_size=3),
)
def test_one_place_for_few_jobs_is_near_the_best_order(
    values: list[int], lengths: list[int]
) -> None:
    jobs = [job_of(length, 6, name=str(place)) for place, length in enumerate(lengths)]
    plans = plan_many(jobs, outlook_of(values), slots=1)
    least = math.inf
    for starts in product(range(6), repeat=len(lengths)):
        spans = [set(range(at, at + length)) for at, length in zip(starts, lengths, strict=True)]
        inside = all(max(span) < 6 for span in spans)
        if inside and sum(map(len, spans)) == len(set().union(*spans)):
            least = min(least, sum(values[hour] for span in spans for hour in span))
    if math.isfinite(least):  # they fit: then nobody is refused
        assert not plans.refused
        assert plans.grams.sum() >= least - 1e-6
        assert plans.grams.sum() <= max(2.0 * least, least + 27)


def test_jobs_that_fit_early_are_not_lost_to_a_greedy_order() -> None:
    # Alone each wants the cheap middle, which leaves no hole of two hours for the last.
    outlook = outlook_of([9, 9, 1, 9, 9])
    jobs = [job_of(1, 5, name="short"), job_of(2, 5, name="long"), job_of(2, 5, name="other")]
    for order in permutations(jobs):
        plans = plan_many(order, outlook, slots=1)
        assert not plans.refused


def test_who_is_refused_is_told_why() -> None:
    jobs = [job_of(2, 4, name="a"), job_of(2, 4, name="b"), job_of(2, 4, name="c")]
    plans = plan_many(jobs, day(), slots=1)
    (refused,) = plans.refused
    assert refused.proven
    assert "3 jobs need 1.5 places all the time, and there are 1" in refused.because
    assert plans.schedule(jobs.index(refused.job)) is None
    heavy = plan_many([job_of(1, 4, name="heavy", power_w=5000.0)], day(), power_w=4000.0)
    assert "heavy alone draws 5000 W" in heavy.refused[0].because
    power = plan_many(jobs, day(), power_w=1000.0)
    assert "need 1500 W all the time" in power.refused[0].because


def test_limits_that_keep_a_job_from_its_best_time_are_told() -> None:
    jobs = [job_of(1, 3, name="a"), job_of(1, 3, name="b")]
    plans = plan_many(jobs, outlook_of([300.0, 100.0, 200.0]), slots=1)
    told = [plan.because for plan in plans.schedules()]
    assert sum("limits that all jobs share" in each for each in told) == 1
    assert plans.saving == pytest.approx(1 - 300 / 600)


def test_nothing_to_plan_and_nothing_to_plan_by() -> None:
    assert plan_many([], day()).schedules() == []
    assert plan_many([], day(), slots=1).schedules() == []
    blind = outlook_of([math.nan, math.nan])
    for limits in ({}, {"slots": 1}):
        plans = plan_many([job_of(1, 2)], blind, **limits)  # type: ignore[arg-type]
        assert plans.schedules()[0].start == START
    with pytest.raises(UsageError, match="leave nothing"):
        plan_many([job_of(1, 2)], day(), slots=0)
    with pytest.raises(UsageError, match="leave nothing"):
        plan_many([job_of(1, 2)], day(), power_w=math.nan)
    with pytest.raises(UsageError, match="by carbon"):
        plan_many([job_of(1, 2)], price_of([1.0]))
