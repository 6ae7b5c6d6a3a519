from __future__ import annotations

import pytest

from negawatt.adapters.meters.checked import Rising, number, watts
from negawatt.core.errors import MeterUnavailable


@pytest.mark.parametrize("value", [None, True, "", "12 W", "nan", float("inf"), [1]])
def test_what_is_no_number_is_unknown(value: object) -> None:
    with pytest.raises(MeterUnavailable, match="the plug says"):
        number(value, "the plug")


def test_negative_power_is_refused() -> None:
    with pytest.raises(MeterUnavailable, match="-3 W"):
        watts(-3.0, "the plug")


def test_a_running_machine_draws_more_than_nothing() -> None:
    assert watts(0, "a rail").value == 0
    with pytest.raises(MeterUnavailable, match="while this machine runs"):
        watts(0, "the plug", whole=True)


def test_a_counter_that_falls_is_unknown_once() -> None:
    counter = Rising("the plug", cause="it was reset")
    assert counter.take(7.0).value == 7.0
    with pytest.raises(MeterUnavailable, match="from 7 to 2 J: it was reset"):
        counter.take(2.0)
    assert counter.take(2.5).value == 2.5
    with pytest.raises(MeterUnavailable):
        counter.take(-1.0)
