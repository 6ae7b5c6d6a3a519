"""Where the job looks closer, and what it does not run at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.actions.optimize.plans import hopeless, next_budget, room_for, stored_bytes
from negawatt.compress.assign import assign
from negawatt.compress.problem import Choice
from negawatt.core.errors import BudgetUnreachable
from negawatt.core.records import Format, Layer

LEAST, INT8 = 5.0, (10.0, 0.005)


def choice(energy: float) -> Choice:
    return Choice({}, budget=energy, energy=energy, kl=0.0, multiplier=0.0, prices=())


def test_between_int8_and_a_refused_plan_when_none_is_allowed() -> None:
    found = next_budget([(choice(9.0), 0.02), (choice(8.0), 0.04)], 0.01, LEAST, INT8)
    assert found is not None
    nearer, budget = found
    assert nearer.energy == 9.0  # the prices of the plan that was nearly allowed
    # 0.9 of the root of (1 - 0.5) / (2 - 0.5) of the way
    assert budget == pytest.approx(10.0 - 0.9 * (0.5 / 1.5) ** 0.5)


def test_between_the_last_allowed_and_the_first_refused() -> None:
    known = [(choice(9.0), 0.006), (choice(8.0), 0.02), (choice(7.0), 0.05)]
    found = next_budget(known, 0.01, LEAST, INT8)
    assert found is not None
    assert found[0].energy == 8.0
    assert 8.0 < found[1] < 9.0


@pytest.mark.parametrize(
    ("known", "limit"),
    [
        ([], 0.01),
        ([(choice(9.0), 0.0095), (choice(8.0), 0.02)], 0.01),  # near enough
        ([(choice(9.0), 0.02)], 0.004),  # int8 itself is refused
    ],
)
def test_no_closer_look_is_taken_where_it_would_not_help(
    known: list[tuple[Choice, float]], limit: float
) -> None:
    assert next_budget(known, limit, LEAST, INT8) is None


def test_where_all_is_allowed_cheaper_plans_are_tried() -> None:
    found = next_budget([(choice(9.0), 0.001)], 0.1, LEAST, INT8)
    assert found is not None
    assert found[1] == 7.0


@given(st.floats(0.0, 0.009), st.floats(0.0101, 0.5), st.floats(5.5, 9.5))
def test_a_budget_lies_strictly_between_its_neighbours(
    allowed: float, refused: float, energy: float
) -> None:
    found = next_budget([(choice(energy), refused)], 0.01, LEAST, (10.0, allowed))
    if found is not None:
        assert energy < found[1] < 10.0


def test_what_is_cheaper_than_a_plan_that_lost_far_too_much_is_hopeless() -> None:
    known = [(choice(9.0), 0.012), (choice(8.0), 0.03)]
    assert hopeless(known, choice(7.0), 0.01)
    assert not hopeless(known[:1], choice(7.0), 0.01)
    assert not hopeless(known, choice(8.5), 0.01)
    assert not hopeless([], choice(7.0), 0.01)


LAYERS = (
    Layer("embed", "embedding", 100, 64),
    Layer("block", "linear", 64, 64, 0),
    Layer("other", "linear", 64, 60, 0),  # no group of 32 divides its rows
    Layer("head", "head", 100, 64, tied_to="embed"),
)
BASE = 2 * (100 * 64 + 64 * 64 + 64 * 60 + 64)  # bytes, with a norm
OPTIONS = [(name, Format(bits, 32)) for name in ("embed", "block", "head") for bits in (8, 4)]
ENERGY = np.array([0.0, 0.0, 2.0, 1.0, 2.0, 1.0])  # reading a row costs nothing


def test_a_plan_with_room_is_as_small_as_was_asked() -> None:
    for limit in (14_000, 15_000, 16_500):
        room = room_for(limit, LAYERS, BASE, OPTIONS)
        groups = [slice(0, 2), slice(2, 4), slice(4, 6)]
        loss = np.array([0.0, 3.0, 0.0, 1.0, 0.0, 2.0])
        picked = assign(loss, ENERGY, groups, 4.0, room)
        plan = {OPTIONS[i][0]: OPTIONS[i][1] for i in picked} | {"other": Format(16)}
        assert plan["embed"] == plan["head"]
        assert stored_bytes(plan, LAYERS, BASE) <= limit


def test_without_a_limit_there_is_no_room_to_mind() -> None:
    assert room_for(None, LAYERS, BASE, OPTIONS) is None


def test_a_limit_that_nothing_keeps_is_refused_with_one_that_is_kept() -> None:
    with pytest.raises(BudgetUnreachable, match="smallest plan") as caught:
        room_for(9_000, LAYERS, BASE, OPTIONS)
    told = float(caught.value.fix.split()[-1].removesuffix("MB"))
    assert room_for(int(told * 1e6), LAYERS, BASE, OPTIONS) is not None


def test_the_size_of_a_plan_counts_what_is_stored() -> None:
    wide = {layer.name: Format(16) for layer in LAYERS}
    assert stored_bytes(wide, LAYERS, BASE) == stored_bytes({}, LAYERS, BASE) == BASE
    narrow = wide | {"embed": Format(4, 32), "head": Format(4, 32)}
    assert stored_bytes(narrow, LAYERS, BASE) == BASE - 100 * 64 * (16 - 4.5) / 8
