"""Choosing a key-value cache: the engine's own, unless another is surely worth it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.cache import CacheCost, CacheReading, choose_cache

Three = tuple[float, float, float]


def told(low: float, value: float, high: float, unit: str = "1") -> Estimate:
    return Estimate(
        value=value, low=low, high=high, unit=unit, kind=Kind.MEASURED, source="test", boundary="b"
    )


def reading(
    cache: Any, time: Three, loss: Three = (0.0, 0.0, 0.0), *, own: bool = False
) -> CacheReading:
    cpu = told(1.0, 1.0, 1.0, "s/token")
    costs = (CacheCost(128, cpu, told(0.99, 1.0, 1.01)), CacheCost(1024, cpu, told(*time)))
    return CacheReading(cache, own, told(*loss), told(0, 0, 0, "nat/token"), 1.0, costs)


OWN = reading("8", (1.0, 1.0, 1.0), (-0.001, 0.002, 0.005), own=True)


def test_a_surely_cheaper_one_within_the_loss_is_taken() -> None:
    four = reading("4", (0.85, 0.9, 0.95), (0.001, 0.004, 0.007))
    found = choose_cache([OWN, four], max_loss=0.01, context=1024)
    assert found.choice == "4"
    assert "0.900 times (0.850 to 0.950)" in found.because
    assert found.alternatives == ("8",)
    assert choose_cache([OWN, four], max_loss=0.005, context=1024).choice == "8"  # it may lose more
    assert choose_cache([OWN, four], max_loss=0.01, context=100).choice == "8"  # no gain there


def test_what_may_be_luck_is_not_taken() -> None:
    four = reading("4", (0.85, 0.9, 0.99), (0.0, 0.0, 0.001))
    assert choose_cache([OWN, four], max_loss=0.01, context=1024).choice == "8"


def test_a_surely_truer_one_for_no_more_time_is_taken() -> None:
    own = reading("8", (1.0, 1.0, 1.0), (0.003, 0.008, 0.013), own=True)
    wide = reading("16", (0.99, 1.01, 1.03))
    found = choose_cache([own, wide], max_loss=0.01, context=1024)
    assert found.choice == "16"
    assert "+0.80% (+0.30% to +1.30%)" in found.because
    dearer = reading("16", (1.03, 1.05, 1.07))
    assert choose_cache([own, dearer], max_loss=0.01, context=1024).choice == "8"
    assert choose_cache([OWN, wide], max_loss=0.01, context=1024).choice == "8"  # own's may be luck


def test_its_own_has_to_be_there() -> None:
    with pytest.raises(UsageError, match="own"):
        choose_cache([reading("4", (1.0, 1.0, 1.0))], max_loss=0.01, context=1)


RATIOS = st.floats(0.5, 1.5)


@given(time=RATIOS, spread=st.floats(0, 0.3), loss=st.floats(-0.05, 0.05), room=st.floats(0, 0.05))
def test_what_is_chosen_is_never_surely_dearer_nor_over_the_loss(
    time: float, spread: float, loss: float, room: float
) -> None:
    other = reading("4", (time - spread, time, time + spread), (loss, loss, loss))
    found = choose_cache([OWN, other], max_loss=room, context=1024)
    if found.choice == "4":
        assert time <= 1.02
        assert loss <= room or loss < OWN.loss.low
