"""Plans beside all plans there are, on cases small enough to try them all."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from when_sample import job_of, outlook_of

from negawatt.decisions.when.field import Run, Runs, field
from negawatt.decisions.when.pieces import freely
from negawatt.decisions.when.records import Job
from negawatt.decisions.when.schedule import best, choices
from negawatt.decisions.when.spread import hull, pauses, spread
from negawatt.decisions.when.stops import programmed
from negawatt.decisions.when.through import through

VALUES = st.lists(st.integers(0, 9), min_size=2, max_size=9)
NEAR = {"rel": 1e-9, "abs": 1e-9}


def stretches(pattern: tuple[bool, ...]) -> list[tuple[int, int]]:
    """First hour and hour after the last of each stretch."""
    edges = np.flatnonzero(np.diff([0, *pattern, 0])).reshape(-1, 2)
    return [(int(first), int(after)) for first, after in edges]


def every_plan(job: Job, hours: int) -> list[Runs]:
    """All plans of whole hours that a job's record allows."""
    found = []
    hour = 3600.0
    loss = job.restart_s + job.checkpoint_s
    for pattern in product((False, True), repeat=hours):
        parts = stretches(pattern)
        if sum(pattern) * hour != job.work_s + (len(parts) - 1) * loss:
            continue
        lengths = [(after - first) * hour for first, after in parts]
        works = [
            length - job.restart_s * (at > 0) - job.checkpoint_s * (at < len(parts) - 1)
            for at, length in enumerate(lengths)
        ]
        if works and min(works) > 0 and all(length >= job.min_run_s for length in lengths[:-1]):
            found.append(tuple(Run(first * hour, after * hour) for first, after in parts))
    return found


@settings(max_examples=300, deadline=None)
@given(
    values=VALUES,
    work=st.integers(1, 5),
    costs=st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)),
    waiting=st.tuples(st.sampled_from([0.0, 300.0, 1500.0]), st.sampled_from([0.0, 2.0])),
)
def test_no_plan_with_restarts_is_better_than_the_program(
    values: list[int], work: int, costs: tuple[int, int, int], waiting: tuple[float, float]
) -> None:
    assume(work <= len(values))
    restart, checkpoint, shortest = (3600.0 * each for each in costs)
    job = job_of(
        work, len(values), interruptible=True, restart_s=restart, checkpoint_s=checkpoint,
        min_run_s=shortest, idle_w=waiting[0], embodied_g_per_h=waiting[1],
    )  # fmt: skip
    ground = field(job, outlook_of(values))
    least = min(ground.cost(job, runs) for runs in every_plan(job, len(values)))
    runs = best(job, ground).runs
    assert ground.cost(job, runs) == pytest.approx(least, **NEAR)
    if not work < shortest / 3600:  # else the one stretch there can be is no interruption
        assert ground.cost(job, programmed(job, ground)) == pytest.approx(least, **NEAR)


@settings(max_examples=300, deadline=None)
@given(
    values=VALUES,
    work=st.integers(1, 5),
    waiting=st.tuples(st.sampled_from([0.0, 300.0, 1500.0]), st.sampled_from([0.0, 2.0])),
)
def test_no_plan_with_free_stops_is_better_than_the_cheapest_cells(
    values: list[int], work: int, waiting: tuple[float, float]
) -> None:
    assume(work <= len(values))
    job = job_of(
        work, len(values), interruptible=True, idle_w=waiting[0], embodied_g_per_h=waiting[1]
    )
    ground = field(job, outlook_of(values))
    least = min(ground.cost(job, runs) for runs in every_plan(job, len(values)))
    assert ground.cost(job, freely(job, ground)) == pytest.approx(least, **NEAR)


@settings(max_examples=200, deadline=None)
@given(
    values=VALUES,
    work=st.floats(0.1, 3.0),
    since=st.floats(0.0, 0.9),
    idle=st.sampled_from([0.0, 400.0]),
)
def test_no_start_to_the_minute_is_better_than_the_lowest_window(
    values: list[int], work: float, since: float, idle: float
) -> None:
    assume(work + since <= len(values))
    job = job_of(work, len(values), since=since, idle_w=idle)
    ground = field(job, outlook_of(values))
    (run,) = through(job, ground)
    latest = ground.end - job.work_s
    tried = [Run(at, at + job.work_s) for at in np.linspace(0.0, max(0.0, latest), 300)]
    least = min(ground.cost(job, (each,)) for each in tried)
    assert ground.cost(job, (run,)) <= least + 1e-9 * abs(least) + 1e-9
    assert run.end <= ground.end + 1e-6


CONCAVE = [(1.0, 1.8, 2.4), (1.0, 1.9), (1.0,)]
BENT = [(1.0, 1.1, 2.9), (1.0, 1.1, 3.2), (1.0, 2.5, 2.4)]
SCALINGS = st.sampled_from([*CONCAVE, *BENT])


def by_linear_program(job: Job, values: list[int], hours: int) -> float:
    """Least grams of sharing every hour between numbers of nodes, however curved the scaling."""
    speeds = np.array(job.scaling)
    nodes = np.arange(1, len(speeds) + 1)
    grams = np.outer(values[:hours], nodes).reshape(-1) * job.power_w / 1000
    done = np.tile(speeds, hours)
    fits = np.kron(np.eye(hours), np.ones(len(speeds)))
    found = linprog(
        grams, A_ub=fits, b_ub=np.ones(hours), A_eq=done[None], b_eq=[job.work_s / 3600]
    )
    return float(found.fun) if found.success else math.inf


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.integers(-3, 9), min_size=1, max_size=6),
    work=st.floats(0.1, 8.0),
    scaling=SCALINGS,
)
def test_no_numbers_of_nodes_are_better_than_those_chosen(
    values: list[int], work: float, scaling: tuple[float, ...]
) -> None:
    assume(work <= len(values) * max(scaling))
    # Where a joule is worth having, a curve with a bend rewards whoever wastes most: not planned.
    assume(min(values) >= 0 or scaling in CONCAVE)
    job = job_of(work, len(values), interruptible=True, scaling=scaling)
    ground = field(job, outlook_of(values))
    runs = spread(job, ground)
    least = by_linear_program(job, values, len(values))
    assert ground.cost(job, runs) == pytest.approx(least, rel=1e-6, abs=1e-6)
    speeds = (0.0, *scaling)
    assert sum((end - start) * speeds[n] for start, end, n in runs) == pytest.approx(job.work_s)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(0, 9), min_size=4, max_size=4), work=st.integers(1, 9))
def test_on_a_concave_curve_no_whole_hours_of_nodes_are_better(
    values: list[int], work: int
) -> None:
    scaling = (1.0, 1.75, 2.25)
    job = job_of(work, 4, interruptible=True, scaling=scaling)
    ground = field(job, outlook_of(values))
    cost = ground.cost(job, spread(job, ground))
    speeds = (0.0, *scaling)
    for nodes in product(range(4), repeat=4):
        if sum(speeds[n] for n in nodes) >= work:
            grams = sum(n * value for n, value in zip(nodes, values, strict=True))
            assert cost <= grams + 1e-9


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.integers(0, 9), min_size=3, max_size=8),
    work=st.floats(0.5, 6.0),
    costs=st.tuples(st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0, 2.0)),
    waiting=st.tuples(st.sampled_from([0.0, 300.0]), st.sampled_from([0.0, 2.0])),
)
def test_nodes_with_restarts_do_their_work_and_are_stopped_in_time(
    values: list[int], work: float, costs: tuple[float, ...], waiting: tuple[float, float]
) -> None:
    scaling = (1.0, 1.8, 2.4)
    restart, checkpoint, shortest = (3600.0 * each for each in costs)
    assume(work <= len(values) * 2.4)
    job = job_of(
        work, len(values), interruptible=True, scaling=scaling, restart_s=restart,
        checkpoint_s=checkpoint, min_run_s=shortest, idle_w=waiting[0],
        embodied_g_per_h=waiting[1],
    )  # fmt: skip
    ground = field(job, outlook_of(values))
    speeds = (0.0, *scaling)
    for choice in choices(job, ground):
        runs = choice.runs
        stops = pauses(runs)
        done = sum((end - start) * speeds[n] for start, end, n in runs)
        lost = sum(
            restart * speeds[runs[at + 1].nodes] + checkpoint * speeds[runs[at].nodes]
            for at in stops
        )
        assert done - lost == pytest.approx(job.work_s, rel=1e-6, abs=1e-3)
        begins = [0, *(at + 1 for at in stops)]
        for begin, stop in zip(begins, stops, strict=False):
            assert runs[stop].end - runs[begin].start >= shortest - 1e-3


def test_a_hull_leaves_out_numbers_of_nodes_that_never_pay() -> None:
    assert hull((1.0, 1.1, 3.2, 3.1)).nodes.tolist() == [0, 3]
    assert hull((1.0,)).nodes.tolist() == [0, 1]
