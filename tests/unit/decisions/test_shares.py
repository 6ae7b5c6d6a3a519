"""Parts of a saving add up to it, in no order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.decisions.shares import shapley

PARTS = ("efficiency", "time", "place", "variant")


@given(st.lists(st.floats(-100, 100), min_size=16, max_size=16))
def test_parts_add_up_to_the_whole(values: list[float]) -> None:
    def value(made: frozenset[str]) -> float:
        return values[sum(2**at for at, part in enumerate(PARTS) if part in made)]

    shares = shapley(PARTS, value)
    assert sum(shares.values()) == pytest.approx(values[15] - values[0], abs=1e-9)


@given(st.permutations(PARTS), st.lists(st.floats(0.1, 1), min_size=4, max_size=4))
def test_the_order_of_the_parts_changes_nothing(order: list[str], factors: list[float]) -> None:
    def saved(made: frozenset[str]) -> float:
        left = 1.0
        for part, factor in zip(PARTS, factors, strict=True):
            left *= factor if part in made else 1.0
        return 1.0 - left

    assert shapley(order, saved) == pytest.approx(shapley(PARTS, saved))


def test_what_changes_nothing_has_no_share() -> None:
    shares = shapley(PARTS, lambda made: 0.4 if "time" in made else 0.0)
    assert shares == pytest.approx({"efficiency": 0, "time": 0.4, "place": 0, "variant": 0})


def test_a_part_that_stands_twice_is_named() -> None:
    with pytest.raises(UsageError, match="time, time"):
        shapley(["time", "time"], lambda made: 0.0)
