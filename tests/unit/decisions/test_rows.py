"""Many jobs at once agree with one at a time, and never miss a deadline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.decisions.when import rows
from negawatt.decisions.when.windows import cheapest, contiguous, cost

VALUES = st.floats(0, 900, allow_subnormal=False).map(lambda value: round(value, 3))


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of values, lengths that fit, and room."""
    width = draw(st.integers(2, 30))
    jobs = draw(st.integers(1, 5))
    values = np.array(
        draw(
            st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=jobs, max_size=jobs)
        )
    )
    room = np.array(draw(st.lists(st.integers(1, width), min_size=jobs, max_size=jobs)))
    steps = np.array([draw(st.integers(1, 4 * int(one))) / 4 for one in room])
    return values, steps, room


@given(tables())
def test_in_one_piece_as_one_at_a_time(table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    values, steps, room = table
    plan = rows.contiguous(values, steps, room)
    assert not plan.blind.any()
    for job, weights in enumerate(plan.weights):
        first = contiguous(values[job], float(steps[job]), 0, int(room[job]))
        alone = rows.at(np.array([first]), steps[job : job + 1], values.shape[1])[0]
        scale = 1e-9 * max(1.0, float(np.abs(values[job]).sum()))
        assert weights @ values[job] == pytest.approx(alone @ values[job], abs=scale)


@given(tables())
def test_interrupted_as_one_at_a_time(table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    values, steps, room = table
    plan = rows.interruptible(values, steps, room)
    for job, weights in enumerate(plan.weights):
        length = float(steps[job])
        places = cheapest(values[job], length, 0, int(room[job]))
        assert weights @ values[job] == pytest.approx(cost(values[job], places, length), abs=1e-6)


@pytest.mark.parametrize(
    "rule",
    [rows.contiguous, rows.interruptible, rows.lowest_slot, rows.threshold, rows.stop_and_go],
)
@given(table=tables(), holes=st.integers(0, 2**30), limit=VALUES)
def test_all_work_is_done_in_time_whatever_is_known(
    rule: Callable[..., rows.Plan],
    table: tuple[np.ndarray, np.ndarray, np.ndarray],
    holes: int,
    limit: float,
) -> None:
    values, steps, room = table
    lost = np.random.default_rng(holes).random(values.shape) < 0.4
    values = np.where(lost, np.nan, values)
    reacting = rule in (rows.threshold, rows.stop_and_go)
    limits = (np.full(len(steps), limit),) if reacting else ()
    weights = rule(values, *limits, steps, room).weights
    assert weights.sum(axis=1) == pytest.approx(steps)
    assert ((weights >= 0) & (weights <= 1)).all()
    after = np.arange(values.shape[1]) >= room[:, None]
    assert not weights[after].any()


@given(tables())
def test_a_flat_signal_moves_nothing(table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    values, steps, room = table
    flat = np.full_like(values, 0.1)
    now = rows.at(np.zeros(len(steps), dtype=np.intp), steps, values.shape[1])
    for rule in (rows.contiguous, rows.lowest_slot):
        assert (rule(flat, steps, room).weights == now).all()
    assert (rows.interruptible(flat, steps, room).weights == now).all()


def test_nothing_known_starts_at_once_and_says_so() -> None:
    values, steps, room = np.full((1, 4), np.nan), np.array([2.0]), np.array([4])
    for rule in (rows.contiguous, rows.interruptible, rows.lowest_slot):
        plan = rule(values, steps, room)
        assert plan.blind.all()
        assert plan.weights.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    for react in (rows.threshold, rows.stop_and_go):
        plan = react(values, np.array([np.nan]), steps, room)
        assert plan.blind.all()
        assert plan.weights.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_the_lowest_slot_may_begin_a_dirty_night() -> None:
    values = np.array([[5.0, 1.0, 9.0, 9.0, 3.0, 3.0]])
    steps, room = np.array([2.0]), np.array([6])
    lured = rows.lowest_slot(values, steps, room).weights @ values[0]
    best = rows.contiguous(values, steps, room).weights @ values[0]
    assert (lured.item(), best.item()) == (10.0, 6.0)
