from __future__ import annotations

from typing import Any

import pytest

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.quantities import Watts
from negawatt.meters.integrate import Integral, Integrated, integrate


class Gauge:
    name, boundary, limit = "nvml:0", "gpu:0", Watts(300.0)

    def __init__(self, *readings: float) -> None:
        self.readings = list(readings)

    def power(self) -> Watts:
        if not self.readings:
            raise MeterUnavailable("no more", fix="stop")
        return Watts(self.readings.pop(0))


def test_a_ramp_is_a_trapezoid_bounded_by_its_steps() -> None:
    assert integrate([0, 1], [10, 30]) == Integral(value=20.0, low=10.0, high=30.0)


def test_a_gap_is_flagged_and_may_hold_anything_up_to_the_ceiling() -> None:
    whole = integrate([0, 1, 5, 6], [10, 10, 10, 10], max_gap_s=2.0, ceiling_w=100.0)
    assert whole.gap_s == 4
    assert whole.value == 60
    assert whole.low == 20  # the gap may have been dark
    assert whole.high == 420  # or flat out


def test_no_samples_hold_no_energy_and_no_time() -> None:
    assert integrate([], []) == Integral()
    assert integrate([3.0], [50.0]) == Integral()


@pytest.mark.parametrize(("times", "power"), [([0, 1], [1]), ([1, 0], [1, 1]), ([0, 1], [1, -1])])
def test_a_broken_series_is_refused(times: list[float], power: list[float]) -> None:
    with pytest.raises(UsageError):
        integrate(times, power)


def test_a_gauge_becomes_a_counter(clock: Any) -> None:
    meter = Integrated(Gauge(100.0, 200.0, 200.0), clock=clock)
    assert meter.energy().value == 0.0
    clock.advance(0.5)
    assert meter.energy().value == pytest.approx(75.0)
    clock.advance(0.5)
    assert meter.energy().value == pytest.approx(175.0)


def test_a_gauge_left_alone_for_long_says_so(clock: Any) -> None:
    meter = Integrated(Gauge(100.0, 100.0), clock=clock, max_gap_s=1.0)
    meter.energy()
    clock.advance(10.0)
    seen = meter.integral()
    assert seen.gap_s == 10.0
    assert (seen.low, seen.high) == (0.0, 3000.0)


def test_a_gauge_that_fails_makes_the_counter_fail(clock: Any) -> None:
    meter = Integrated(Gauge(), clock=clock)
    with pytest.raises(MeterUnavailable):
        meter.energy()


def test_a_slow_gauge_is_asked_less_often_and_allowed_more_silence(clock: Any) -> None:
    class Far(Gauge):
        poll_every_s, label = 2.0, "as its own display tells it"

    meter = Integrated(Far(100.0, 100.0, 100.0), clock=clock)
    assert meter.poll_every_s == 2.0
    assert meter.label == "power samples, integrated; as its own display tells it"
    meter.energy()
    clock.advance(5.0)
    assert meter.integral().gap_s == 0.0
    clock.advance(7.0)
    assert meter.integral().gap_s == 7.0


def test_a_counter_that_moves_in_steps_may_be_off_by_one() -> None:
    assert Integral(2.0, 2.0, 2.0).blurred(3.6) == Integral(2.0, 0.0, 5.6)


def test_negative_power_is_refused_and_never_taken_off(clock: Any) -> None:
    meter = Integrated(Gauge(100.0, -100.0, 100.0), clock=clock)
    meter.energy()
    clock.advance(wall=0.5)
    with pytest.raises(MeterUnavailable, match="says -100 W"):
        meter.energy()
    clock.advance(wall=0.5)
    assert meter.energy().value == pytest.approx(100.0)
