"""The assignment is the best there is, and never breaks its budget."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from negawatt.compress.assign import Room, assign, shadow_price
from negawatt.core.errors import BudgetUnreachable

Floats = npt.NDArray[np.float64]
Instance = tuple[Floats, Floats, list[slice]]


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """Up to 5 groups of up to 4 options, losses of either sign, energies of any unit."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    total = sum(sizes)
    unit_loss, unit_energy = 10.0 ** draw(st.integers(-6, 3)), 10.0 ** draw(st.integers(-9, 3))
    numbers = st.integers(0, 1000)
    loss = np.array(draw(st.lists(st.integers(-200, 1000), min_size=total, max_size=total)))
    energy = np.array(draw(st.lists(numbers, min_size=total, max_size=total))) + 1.0
    ends = np.cumsum([0, *sizes]).tolist()
    groups = [slice(a, b) for a, b in itertools.pairwise(ends)]
    return loss * unit_loss, energy * unit_energy, groups


def plans(groups: list[slice]) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*(range(g.start, g.stop) for g in groups))


def limits(energy: Floats, groups: list[slice]) -> tuple[float, float]:
    return (
        sum(float(energy[g].min()) for g in groups),
        sum(float(energy[g].max()) for g in groups),
    )


@given(instances(), st.floats(0, 1.2))
def test_it_finds_what_trying_everything_finds(instance: Instance, share: float) -> None:
    loss, energy, groups = instance
    low, high = limits(energy, groups)
    budget = low + share * (high - low)

    picked = assign(loss, energy, groups, budget)

    allowed = [p for p in plans(groups) if energy[list(p)].sum() <= budget * (1 + 1e-6)]
    best = min(loss[list(p)].sum() for p in allowed)
    assert [g.start <= i < g.stop for g, i in zip(groups, picked, strict=True)] == [True] * len(
        groups
    )
    assert energy[picked].sum() <= budget * (1 + 1e-6)
    assert loss[picked].sum() <= best + 1e-5 * np.abs(loss).max()


@given(instances(), st.floats(0.01, 0.99))
def test_less_than_the_cheapest_plan_is_refused_with_the_least_that_would_do(
    instance: Instance, share: float
) -> None:
    loss, energy, groups = instance
    low, _ = limits(energy, groups)
    with pytest.raises(BudgetUnreachable) as caught:
        assign(loss, energy, groups, share * low)
    assert f"{low:.4g}" in caught.value.fix


@given(instances())
def test_more_energy_never_loses_more(instance: Instance) -> None:
    loss, energy, groups = instance
    low, high = limits(energy, groups)
    losses = [
        float(loss[assign(loss, energy, groups, low + share * (high - low))].sum())
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    slack = 1e-5 * float(np.abs(loss).max())
    assert all(b <= a + slack for a, b in itertools.pairwise(losses))


@given(instances(), st.floats(0, 1.5))
def test_energy_is_worth_something_or_nothing_but_never_less(
    instance: Instance, share: float
) -> None:
    loss, energy, groups = instance
    low, high = limits(energy, groups)
    assert shadow_price(loss, energy, groups, low + share * (high - low)) >= 0.0


@given(instances(), st.floats(0.05, 0.9))
def test_the_price_is_the_slope_of_the_relaxed_problem(instance: Instance, share: float) -> None:
    from scipy.optimize import linprog

    loss, energy, groups = instance
    low, high = limits(energy, groups)
    budget = low + share * (high - low)
    assume(high > low * 1.01)

    def relaxed(limit: float) -> float:
        rows = np.zeros((len(groups), len(loss)))
        for i, group in enumerate(groups):
            rows[i, group] = 1
        scale = float(np.abs(loss).max()) or 1.0
        found = linprog(
            loss / scale, energy[None] / limit, [1.0], rows, np.ones(len(groups)), (0, 1)
        )
        return float(found.fun) * scale

    price = shadow_price(loss, energy, groups, budget)
    step = 0.002 * (high - low)
    scale = float(np.abs(loss).max()) / (high - low)
    # Between the slopes on both sides, whichever kink the budget lies on.
    steepest = (relaxed(max(budget - step, low)) - relaxed(budget)) / step
    flattest = (relaxed(budget) - relaxed(budget + step)) / step
    assert flattest - 1e-3 * scale <= price <= steepest + 1e-3 * scale + 1e-3 * abs(steepest)


def test_with_energy_to_spare_another_joule_is_worth_nothing() -> None:
    loss, energy = np.array([0.0, 3.0]), np.array([10.0, 5.0])
    assert shadow_price(loss, energy, [slice(0, 2)], budget=20.0) == 0.0


def test_thirty_blocks_are_solved_at_once() -> None:
    draw = np.random.default_rng(0)
    groups = [slice(3 * i, 3 * i + 3) for i in range(212)]
    energy = draw.uniform(1, 3, 636) * 1e-4
    loss = draw.exponential(1e-3, 636)
    low, high = limits(energy, groups)
    budget = 0.5 * (low + high)
    picked = assign(loss, energy, groups, budget)
    price = shadow_price(loss, energy, groups, budget)
    assert energy[picked].sum() <= budget * (1 + 1e-6)
    # The relaxed problem bounds every assignment from below (weak duality).
    bound = sum(float((loss[g] + price * energy[g]).min()) for g in groups) - price * budget
    assert loss[picked].sum() >= bound - 1e-9
    assert loss[picked].sum() <= bound + 0.01 * abs(bound)


@given(instances(), st.data())
def test_with_limited_room_it_finds_what_trying_everything_finds(
    instance: Instance, data: st.DataObject
) -> None:
    loss, energy, groups = instance
    _, high = limits(energy, groups)
    numbers = st.lists(st.integers(1, 100), min_size=len(loss), max_size=len(loss))
    size = np.array(data.draw(numbers), float)
    low, most = limits(size, groups)
    limit = low + data.draw(st.floats(0, 1.2)) * (most - low)
    widths = [g.stop - g.start for g in groups]
    pairs = [(a, b) for a in range(len(groups)) for b in range(a) if widths[a] == widths[b]][:1]
    alike = tuple((groups[a], groups[b]) for a, b in pairs)
    room = Room(size, limit, alike if data.draw(st.booleans()) else ())

    def allowed(plan: tuple[int, ...]) -> bool:
        own = {group.start: i - group.start for group, i in zip(groups, plan, strict=True)}
        same = all(own[one.start] == own[other.start] for one, other in room.alike)
        return same and size[list(plan)].sum() <= limit * (1 + 1e-6)

    kept = [plan for plan in plans(groups) if allowed(plan)]
    if not kept:
        with pytest.raises(BudgetUnreachable):
            assign(loss, energy, groups, high, room)
        return
    picked = assign(loss, energy, groups, high, room)
    assert allowed(tuple(int(i) for i in picked))
    best = min(loss[list(plan)].sum() for plan in kept)
    assert loss[picked].sum() <= best + 1e-5 * np.abs(loss).max()
