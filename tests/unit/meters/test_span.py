from __future__ import annotations

import pytest

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.meters import Span, marginal
from negawatt.meters.integrate import Integral
from negawatt.meters.span import Reading


def span(wall_s: float, cpu_s: float, joules: float | None) -> Span:
    readings = ()
    if joules is not None:
        readings = (Reading("rapl:package-0", "package:0", Integral(joules, joules, joules)),)
    return Span(name="x", wall_s=wall_s, cpu_s=cpu_s, readings=readings)


def test_a_short_window_is_less_certain_than_a_long_one() -> None:
    def spread(wall_s: float) -> float:
        energy = span(wall_s, 0.0, 100.0 * wall_s).energy
        return (energy.high - energy.low) / energy.value

    assert spread(0.002) > 2 * spread(10.0)
    assert spread(10.0) > 0.1  # and even a long one is only as good as the counter


def test_many_short_windows_are_as_uncertain_as_their_ends() -> None:
    one = span(0.01, 0.0, 1.0)
    many = one
    for _ in range(99):
        many += one
    assert many.energy.high / many.energy.value == pytest.approx(one.energy.high / one.energy.value)


def test_a_reading_never_falls_below_zero() -> None:
    assert span(1e-6, 0.0, 1.0).energy.low == 0.0
    assert span(0.0, 0.0, 0.0).energy.value == 0.0


def test_the_cost_of_a_cpu_second_is_measured_above_rest() -> None:
    each = marginal(rest=span(10.0, 0.1, 200.0), busy=span(5.0, 8.0, 180.0))
    assert each.value == pytest.approx((180.0 - 100.0) / 8.0)
    assert each.low < each.value < each.high
    assert each.kind is Kind.MEASURED
    assert each.unit == "J/s"


@pytest.mark.parametrize(
    ("rest", "busy"),
    [
        (span(1.0, 0.0, None), span(1.0, 1.0, 9.0)),
        (span(1.0, 0.0, 9.0), span(1.0, 1.0, None)),
        (span(1.0, 0.0, 9.0), span(1.0, 0.0, 9.0)),
        (span(0.0, 0.0, 0.0), span(1.0, 1.0, 9.0)),
    ],
)
def test_the_cost_of_a_cpu_second_needs_a_counter_and_some_work(rest: Span, busy: Span) -> None:
    with pytest.raises(UsageError):
        marginal(rest, busy)


def test_an_unknown_adapter_is_taken_to_be_coarse() -> None:
    def spread(meter: str) -> float:
        reading = Reading(meter, "wall", Integral(100.0, 100.0, 100.0))
        estimate = reading.estimate(wall_s=100.0)
        return estimate.high - estimate.low

    assert spread("plug:kitchen") > spread("nvml:0")
