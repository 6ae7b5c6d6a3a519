"""The mean of repeated runs and its interval."""

from __future__ import annotations

import math
import random
import time

import pytest
from scipy import stats

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Measured
from negawatt.core.quantities import Joules
from negawatt.meters.repeats import Repeats, mean, repeat


class Draws:
    """A counter of which each run takes so much."""

    name, boundary = "fake:0", "package:0"

    def __init__(self, *runs: float) -> None:
        self.left, self.joules, self.reads = list(runs), 0.0, 0

    def energy(self) -> Joules:
        if self.reads % 2:  # read at both ends of each run
            self.joules += self.left.pop(0)
        self.reads += 1
        return Joules(self.joules)


def _exactly(value: float) -> Estimate:
    return Estimate.exact(value, unit="J", source="meter")


def test_the_interval_is_students() -> None:
    values = [61.0, 64.5, 59.0, 66.0, 62.0]
    found = mean([_exactly(value) for value in values])
    low, high = stats.t.interval(0.95, 4, loc=found.value, scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.value == pytest.approx(62.5)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    dice, hits = random.Random(3), 0  # noqa: S311  # no secret
    for _ in range(400):
        found = mean([_exactly(dice.gauss(100.0, 5.0)) for _ in range(4)])
        hits += found.low <= 100.0 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_an_error_that_all_runs_share_does_not_shrink_with_them() -> None:
    one = Estimate(value=10, low=9, high=12, unit="J", kind=Kind.MODELLED, source="band")
    found = mean([one] * 100)
    assert (found.low, found.value, found.high) == pytest.approx((9, 10, 12))
    assert found.kind is Kind.MODELLED


def test_one_run_has_no_spread_and_says_so() -> None:
    found = mean([_exactly(3.0)])
    assert found.is_exact
    assert "one run" in found.source


def test_no_runs_and_unlike_units_have_no_mean() -> None:
    with pytest.raises(UsageError):
        mean([])
    with pytest.raises(UsageError):
        mean([_exactly(1.0), Estimate.exact(1, unit="s", source="clock")])
    with pytest.raises(UsageError):
        Repeats("none", ())
    with pytest.raises(UsageError):
        repeat(time.time, times=0)


def test_work_is_measured_so_often_and_warmed_up_unmeasured() -> None:
    calls: list[int] = []
    draws = Draws(50.0, 52.0, 54.0)
    found = repeat(lambda: calls.append(1), times=3, warmup=2, name="job", meters=(draws,))
    assert len(calls) == 5
    assert isinstance(found, Repeats)
    told: Measured = found
    assert told.name == "job"
    assert told.energies["package:0"].value == pytest.approx(52.0)
    reach = 4.302652729749464 * 2.0 / math.sqrt(3)
    assert told.energies["package:0"].high >= 52.0 + reach
    assert told.energy.kind is Kind.MEASURED
    assert "mean of 3 runs" in told.energy.source
    assert told.wall_seconds.low <= told.wall_seconds.value <= told.wall_seconds.high
    assert found.unread == ()


def test_a_boundary_that_one_run_did_not_read_is_not_in_the_mean() -> None:
    class Flaky(Draws):
        def energy(self) -> Joules:
            if self.reads == 3:
                self.reads += 1
                raise ValueError("gone")
            return super().energy()

    found = repeat(lambda: None, times=2, meters=(Flaky(5.0, 5.0, 5.0),))
    assert found.energies == {}
    assert len(found.unread) == 1
