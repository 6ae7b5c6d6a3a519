"""Accelerators obey what chips obey, and one that was built comes out as it was measured."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from chip_sample import EIGHT_B, FEW, SMALL, design
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.records import Workload
from negawatt.energy.chips.cost import Limits, cost_of, silicon_of
from negawatt.energy.chips.design import Design, Space, columns_of
from negawatt.energy.chips.explore import assess, search
from negawatt.energy.chips.mix import Mix, served
from negawatt.energy.chips.pareto import front_of, knee_of
from negawatt.energy.chips.refine import VARIED, Problem, gradients, refined
from negawatt.energy.chips.stability import stability_of
from negawatt.energy.chips.technology import MEMORIES, PRECISIONS, published
from negawatt.energy.configs import anatomy_of

SERVED = served([anatomy_of(SMALL)], [Workload(64, 32, 2)])
LARGE = served([anatomy_of(EIGHT_B)], [Workload(128, 128, 8)])
NODES = (3, 4, 5, 7, 10, 12, 16)

DESIGNS = st.builds(
    design,
    rows=st.sampled_from([16, 64, 128, 256]),
    cols=st.sampled_from([16, 64, 128, 256]),
    arrays=st.sampled_from([4, 8, 16, 64]),
    dataflow=st.sampled_from(["weight", "output"]),
    precision=st.sampled_from(PRECISIONS),
    local_mb=st.floats(0.03, 8.0),
    shared_mb=st.floats(1.0, 256.0),
    memory=st.sampled_from(MEMORIES),
    stacks=st.integers(1, 8),
    bandwidth=st.floats(5e10, 8e12),
    frequency=st.floats(0.5e9, 1.5e9),
    node_nm=st.sampled_from(NODES),
    chiplets=st.sampled_from([1, 2, 4]),
)


def cost(one: Design, mix: Mix = SERVED) -> Any:
    return cost_of(columns_of([one]), mix, published())


# ------------------------------------------------------------------- balance


@given(DESIGNS)
def test_parts_sum_to_the_whole_and_none_is_negative(one: Design) -> None:
    found = cost(one)
    assert sum(found.parts.values()) == found.joules
    assert all(value >= 0 for value in found.parts.values())
    assert sum(found.silicon.parts.values()) == pytest.approx(found.silicon.total, rel=1e-12)
    assert all(value >= 0 for value in found.silicon.parts.values())


@given(DESIGNS)
def test_power_is_joules_over_time_and_never_below_what_stands_by(one: Design) -> None:
    found = cost(one)
    assert found.power * found.seconds == pytest.approx(found.joules * SERVED.tokens)
    standing = sum(found.parts[name] for name in ("leakage", "clocks", "standby"))
    assert 0 < standing * SERVED.tokens / found.seconds < found.power
    assert found.power <= found.peak * (1 + 1e-12)


@given(DESIGNS)
def test_no_multiplier_does_more_than_one_product_a_cycle(one: Design) -> None:
    found = cost(one)
    assert 0 < found.busy <= 1
    assert 0 < found.memory_share < 1
    products = sum(
        chore.weight * sum(p.count * p.values * p.reuse for p in chore.products)
        for chore in SERVED.chores
    )
    assert found.seconds >= products / (one.macs * one.frequency)


# ------------------------------------------------------------------ monotone


@given(DESIGNS, st.sampled_from(["rows", "cols", "arrays"]))
def test_more_multipliers_take_more_area(one: Design, what: str) -> None:
    more = replace(one, **{what: 2 * getattr(one, what)})
    assert cost(more).silicon.active > cost(one).silicon.active
    assert cost(more).silicon.total >= cost(one).silicon.total


@given(DESIGNS, st.sampled_from(list(pairwise(NODES))))
def test_an_older_process_takes_more_of_everything_but_carbon(
    one: Design, pair: tuple[int, int]
) -> None:
    new, old = (cost(replace(one, node_nm=nm)) for nm in pair)
    assert old.joules > new.joules
    assert old.silicon.total >= new.silicon.total
    assert old.seconds == new.seconds


@given(DESIGNS, st.floats(1.01, 1.3))
def test_voltage_costs_its_square_on_the_dies_and_nothing_beside_them(
    one: Design, by: float
) -> None:
    usual, higher = cost(one), cost(replace(one, voltage=by * one.voltage))
    for part in ("arithmetic", "local memory", "shared memory", "clocks"):
        assert higher.parts[part] == pytest.approx(by**2 * usual.parts[part])
    assert higher.parts["memory"] == usual.parts["memory"]
    assert higher.parts["leakage"] > usual.parts["leakage"]


@given(DESIGNS, st.sampled_from(["frequency", "bandwidth"]))
def test_faster_parts_never_slow_a_design(one: Design, what: str) -> None:
    assert cost(replace(one, **{what: 1.3 * getattr(one, what)})).seconds <= cost(one).seconds


@given(DESIGNS)
def test_narrower_multipliers_save_joules_area_and_time(one: Design) -> None:
    wide, narrow = (cost(replace(one, precision=p)) for p in ("bf16", "int8"))
    assert narrow.joules < wide.joules
    assert narrow.silicon.active < wide.silicon.active
    assert narrow.seconds <= wide.seconds


@given(DESIGNS, st.floats(1.0, 6.0))
def test_overhead_scales_what_is_done_and_not_what_stands_by(one: Design, kappa: float) -> None:
    bare, whole = (
        cost_of(columns_of([one]), SERVED, published().changed({"overhead": k}))
        for k in (1.0, kappa)
    )
    standing = ("leakage", "clocks", "standby")
    for part, value in whole.parts.items():
        assert value == pytest.approx(bare.parts[part] * (1 if part in standing else kappa))


@given(DESIGNS)
def test_larger_batches_cost_no_more_a_token_on_weights(one: Design) -> None:
    alone, many = (
        cost(one, served([anatomy_of(SMALL)], [Workload(64, 32, batch)])) for batch in (1, 16)
    )
    assert many.joules < alone.joules


def test_yield_makes_large_dies_dearer_than_their_area() -> None:
    t = published()
    small, large = (
        silicon_of(columns_of([design(arrays=arrays, capacity=1e3)]), t) for arrays in (8, 32)
    )
    assert large.carbon / small.carbon > large.total / small.total


def test_chiplets_save_carbon_and_cost_links() -> None:
    one, four = (cost(design(arrays=32, chiplets=n), LARGE) for n in (1, 4))
    assert four.silicon.carbon < one.silicon.carbon
    assert four.parts["links"] > one.parts["links"] == 0


# -------------------------------------------------------------------- search


def brute(points: Any) -> list[int]:
    return [
        at
        for at, point in enumerate(points)
        if not any((other <= point).all() and (other < point).any() for other in points)
    ]


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=40))
def test_the_front_is_the_one_that_pairs_tell(points: list[tuple[int, ...]]) -> None:
    columns = np.array(points, dtype=np.float64)
    assert sorted(front_of(columns).tolist()) == brute(columns)


def test_the_front_of_a_search_is_exact_and_ordered() -> None:
    found = search(SERVED, FEW, Limits(), published())
    points = found.costs.objectives
    assert sorted(found.front.tolist()) == brute(points)
    assert (np.diff(points[found.front, 0]) >= 0).all()


def test_many_designs_at_once_cost_what_each_costs_alone() -> None:
    found = search(SERVED, FEW, Limits(), published())
    for at in range(0, len(found.designs), 97):
        alone = assess(found.designs[at], SERVED, published())
        together = found.costs.objectives[at]
        assert (alone.joules, alone.area, alone.seconds) == pytest.approx(
            tuple(together), rel=1e-12
        )


def test_a_limit_leaves_exactly_the_designs_that_keep_it() -> None:
    free = search(SERVED, FEW, Limits(), published())
    power = float(np.median(free.costs.peak))
    bound = search(SERVED, FEW, Limits(power=power), published())
    assert len(bound.designs) == (free.costs.peak <= power).sum()


def test_twelve_thousand_designs_take_less_than_a_second() -> None:
    space = Space()
    assert len(space) > 12_000
    search(SERVED, FEW, Limits(), published())  # tables are read once
    begun = time.process_time()
    search(LARGE, space, Limits(), published())
    assert time.process_time() - begun < 1.0  # a tenth of it, for eight times as many designs


# ---------------------------------------------------------------- refinement


@settings(max_examples=25)
@given(DESIGNS)
def test_gradients_are_those_that_differences_tell(one: Design) -> None:
    t = published()
    # Away from the kinks where differences straddle two laws.
    one = replace(one, frequency=max(one.frequency, 0.8e9), voltage=1.0)
    one = replace(one, voltage=float(t.voltage_for(one.frequency)))
    problem = Problem(SERVED, t, Limits())
    exact = gradients(columns_of([one]), problem)[0, :3]
    for at, name in enumerate(VARIED):
        ends = []
        for sign in (-1.0, 1.0):
            moved = replace(one, **{name: getattr(one, name) * np.exp(sign * 1e-5)})
            if name == "frequency":
                moved = replace(moved, voltage=float(t.voltage_for(moved.frequency)))
            ends.append(np.log(cost(moved).objectives[0]))
        assert (ends[1] - ends[0]) / 2e-5 == pytest.approx(exact[:, at], abs=2e-4)


@settings(max_examples=20)
@given(st.floats(0.0, 1.0), st.floats(0.2, 1.0))
def test_refining_never_makes_a_point_worse_or_leaves_a_limit(where: float, share: float) -> None:
    t = published()
    free = search(SERVED, FEW, Limits(), t)
    least, most = free.costs.peak.min(), free.costs.peak.max()
    limits = Limits(
        power=float(least + where * (most - least)),
        area=float(free.costs.silicon.total.max() * share),
    )
    if not (free.costs.peak <= limits.power)[free.costs.silicon.total <= limits.area].any():
        return
    found = search(SERVED, FEW, limits, t)
    start = found.designs.taken(found.front)
    problem = Problem(SERVED, t, limits)
    better = refined(start, problem)
    before, after = problem.costs(start), problem.costs(better)
    assert (after.objectives <= before.objectives).all()
    assert problem.within(better, after).all()
    assert (better.voltage >= t.voltage_for(better.frequency) * (1 - 1e-9)).all()


def test_refining_makes_a_careless_design_better() -> None:
    t = published()
    careless = columns_of([design(shared_mb=200.0, local_mb=4.0, bandwidth=1.0e12)])
    problem = Problem(LARGE, t, Limits())
    before, after = (problem.costs(one) for one in (careless, refined(careless, problem)))
    assert np.log(after.objectives).sum() < np.log(before.objectives).sum() - 0.3


# ----------------------------------------------------------------- stability


def test_a_ranking_that_nothing_can_change_is_stable() -> None:
    t = published()
    apart = columns_of(
        [design(shared_mb=mb, bandwidth=bw) for mb, bw in [(8, 1.6e12), (250, 2e11)]]
    )
    found = stability_of(apart, LARGE, t)
    assert found.tau.value == 1
    assert found.stays == 1


def test_stability_knows_that_constants_matter() -> None:
    t = published()
    found = search(LARGE, FEW, Limits(), t)
    told = stability_of(found.designs.taken(np.arange(0, len(found.designs), 7)), LARGE, t)
    assert 0.3 < told.tau.value < 1
    assert told.tau.low < told.tau.value < told.tau.high


def test_the_knee_is_on_the_front_and_unmoved_by_units() -> None:
    found = search(SERVED, FEW, Limits(), published())
    points = found.costs.objectives
    assert knee_of(points) in found.front
    assert knee_of(points * np.array([1e3, 1e-2, 60.0])) == knee_of(points)


# ----------------------------------------------------------- a chip that is

#: TPU v4 as published. Two cores with four arrays of 128 × 128 each, 1.05 GHz, 7 nm, four stacks of
#: HBM2 with 32 GB and 1.2 TB/s, 275 TFLOP/s in bf16; 128 MB of common memory and 16 MB beside the
#: arrays of each core; die below 600 mm²: Jouppi et al., ISCA 2023. 90, 170 and 192 W were
#: measured at least, in the mean and at most: Google Cloud documentation of TPU v4. Its limit is
#: listed as 340 W: Epoch AI, Machine Learning Hardware (CC BY 4.0).
TPU_V4 = Design(
    rows=128, cols=128, arrays=8, dataflow="weight", precision="bf16", local_mb=4.0,
    shared_mb=128.0, memory="hbm2", stacks=4, bandwidth=1.2e12, capacity=32e9, frequency=1.05e9,
    voltage=1.0, node_nm=7,
)  # fmt: skip


def test_tpu_v4_multiplies_as_fast_as_published() -> None:
    assert 2 * TPU_V4.macs * TPU_V4.frequency == pytest.approx(275e12, rel=0.01)


@pytest.mark.parametrize("spec", ["128:128:1", "128:128:8", "512:128:1", "512:256:8"])
def test_tpu_v4_draws_what_was_measured(spec: str) -> None:
    # Nothing was fitted to this chip: κ is that of TPUv4i, TPUv5e and Gaudi2, standing power that of
    # five GPUs and TPUv4i. An 8B model in bf16 that answers requests stands for the services that
    # the chip was measured under.
    mix = served([anatomy_of(EIGHT_B)], [Workload.parse(spec)])
    found = assess(TPU_V4, mix, published())
    assert 90 < found.power < 192


def test_tpu_v4_draws_what_was_measured_at_a_lower_voltage_too() -> None:
    # Its voltage is not published: the least that carries its clock does as well.
    t = published()
    lower = replace(TPU_V4, voltage=float(t.voltage_for(TPU_V4.frequency)))
    assert 90 < assess(lower, LARGE, t).power < 192


def test_tpu_v4_stays_within_its_limit_when_it_only_multiplies() -> None:
    reading = served([anatomy_of(EIGHT_B)], [Workload(1024, 1, 8)])
    found = assess(TPU_V4, reading, published())
    assert found.busy > 0.9
    assert 192 < found.power < 340


def test_tpu_v4_is_as_large_as_published() -> None:
    assert 400 < assess(TPU_V4, LARGE, published()).area < 600
