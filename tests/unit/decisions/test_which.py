"""The front has no member that another beats, and the choice keeps its budget."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.actions.optimize.order import seconds_of, share_of_loss
from negawatt.core.errors import BudgetUnreachable, UsageError
from negawatt.decisions.which import Contender, choose, pareto

TOLD_APART = 1.02  # timings closer than this count as equal

# Coarse values, so that ties happen.
losses = st.sampled_from([-0.01, 0.0, 0.004, 0.0101, 0.02, 0.5, 3.0]) | st.floats(-0.05, 5)
energies = st.sampled_from([0.5, 0.8, 1.0]) | st.floats(0.1, 2)
fields = st.lists(
    st.tuples(losses, energies, st.sampled_from([1.0, 2.0])), min_size=1, max_size=8
).map(lambda rows: [Contender(f"v{i}", *row) for i, row in enumerate(rows)])


def beats(a: Contender, b: Contender) -> bool:
    return a.loss <= b.loss and a.energy <= b.energy and (a.loss < b.loss or a.energy < b.energy)


@given(fields)
def test_no_member_of_the_front_is_beaten(field: list[Contender]) -> None:
    front = [next(one for one in field if one.name == name) for name in pareto(field)]
    assert front
    assert not any(beats(a, b) for a in field for b in front)


@given(fields)
def test_whoever_is_not_on_the_front_is_beaten_or_equalled(field: list[Contender]) -> None:
    front = set(pareto(field))
    for one in field:
        if one.name not in front:
            assert any(
                other.name in front and other.loss <= one.loss and other.energy <= one.energy
                for other in field
            )


@given(fields)
def test_the_front_goes_from_cheap_to_good(field: list[Contender]) -> None:
    front = [next(one for one in field if one.name == name) for name in pareto(field)]
    assert front == sorted(front, key=lambda one: one.energy)
    assert front == sorted(front, key=lambda one: one.loss, reverse=True)


@given(fields, st.permutations(range(8)))
def test_the_order_of_the_contenders_decides_nothing(
    field: list[Contender], order: list[int]
) -> None:
    shuffled = [field[i] for i in order if i < len(field)]

    def places(names: tuple[str, ...]) -> list[tuple[float, float, float]]:
        known = {one.name: (one.loss, one.energy, one.size) for one in field}
        return [known[name] for name in names]

    assert places(pareto(shuffled)) == places(pareto(field))
    if any(one.loss <= 0.01 for one in field):
        same = choose(field, max_loss=0.01).choice
        assert choose(shuffled, max_loss=0.01).choice == same


@given(fields, st.floats(0.0001, 0.9))
def test_the_choice_keeps_the_budget_and_none_inside_it_is_cheaper(
    field: list[Contender], limit: float
) -> None:
    inside = [one for one in field if one.loss <= limit]
    if not inside:
        with pytest.raises(BudgetUnreachable):
            choose(field, max_loss=limit)
        return
    decision = choose(field, max_loss=limit)
    chosen = next(one for one in field if one.name == decision.choice)
    assert chosen.loss <= limit
    assert chosen.energy <= TOLD_APART * min(one.energy for one in inside)
    assert set(decision.alternatives) == {one.name for one in field} - {chosen.name}
    assert decision.facts["loss"] == chosen.loss


@given(fields, st.floats(0.0001, 0.9))
def test_a_budget_that_nothing_meets_names_the_nearest_and_a_budget_that_works(
    field: list[Contender], limit: float
) -> None:
    nearest = min(field, key=lambda one: one.loss)
    if nearest.loss <= limit:
        return
    with pytest.raises(BudgetUnreachable) as caught:
        choose(field, max_loss=limit)
    assert f"{nearest.loss:.2%}" in caught.value.what
    advised = re.search(r"--max-loss (\S+)", caught.value.fix)
    if advised is None:  # no budget the command takes is wide enough
        assert nearest.loss > 0.99
    else:
        choose(field, max_loss=share_of_loss(advised[1].rstrip(",")))  # the advice holds


def test_among_equals_in_energy_the_smaller_is_chosen() -> None:
    field = [Contender("large", 0.0, 1.0, 2.0), Contender("small", 0.001, 1.0, 1.0)]
    assert choose(field, max_loss=0.01).choice == "small"


@pytest.mark.parametrize(("measured", "wanted"), [(0.985, "model"), (0.97, "timing")])
def test_what_timings_cannot_tell_apart_the_model_decides(measured: float, wanted: str) -> None:
    field = [
        Contender("timing", 0.0, measured, 1.0, expected=1.1),
        Contender("model", 0.0, 1.0, 1.0, expected=1.0),
    ]
    assert choose(field, max_loss=0.01).choice == wanted


@given(fields, st.integers(0, 7))
def test_noise_inside_what_timings_tell_apart_does_not_move_the_choice(
    field: list[Contender], seed: int
) -> None:
    # Candidates a hair apart would else take turns at being chosen, run after run.
    calm = [replace(one, energy=1.0, loss=0.0, expected=float(i)) for i, one in enumerate(field)]
    shaken = [replace(one, energy=1 + 0.001 * (i * seed % 7)) for i, one in enumerate(calm)]
    assert choose(shaken, max_loss=0.01).choice == choose(calm, max_loss=0.01).choice


def test_the_reason_tells_what_the_next_joule_would_have_cost() -> None:
    field = [
        Contender("base", 0.0, 2.0, 1.0),
        Contender("good", 0.008, 1.0, 1.0),
        Contender("cheap", 0.03, 0.9, 1.0),
        Contender("cheapest", 0.3, 0.5, 1.0),
    ]
    because = choose(field, max_loss=0.01).because
    assert "least energy of 2" in because
    assert "cheap, would take 0.90 times the energy but may lose 3.00%" in because


def test_the_cheapest_of_all_has_no_next_cheaper() -> None:
    assert "cheaper" not in choose([Contender("a", 0.0, 1.0, 1.0)], max_loss=0.01).because


def test_what_is_slower_than_allowed_is_passed_over() -> None:
    slow = Contender("slow", 0.0, 1.0, 1e6, latency=0.03)
    quick = Contender("quick", 0.0, 2.0, 2e6, latency=0.01)
    assert choose([slow, quick], max_loss=0.01).choice == "slow"
    found = choose([slow, quick], max_loss=0.01, max_latency=0.02)
    assert found.choice == "quick"
    assert "20 ms" in found.because
    with pytest.raises(BudgetUnreachable, match=r"quick, takes 10 ms") as caught:
        choose([slow, quick], max_loss=0.01, max_latency=0.005)
    assert "--max-latency 11ms" in caught.value.fix
    with pytest.raises(BudgetUnreachable, match="takes 30 ms"):  # the quick one is too large
        choose([slow, quick], max_loss=0.01, max_size=1.5e6, max_latency=0.02)


@pytest.mark.parametrize("text", ["20", "ms", "0s", "-1ms", "1..2s"])
def test_a_time_without_sense_or_unit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        seconds_of(text)


def test_what_is_larger_than_allowed_is_passed_over() -> None:
    small, large = Contender("small", 0.0, 1.0, 10e6), Contender("large", 0.0, 0.5, 20e6)
    assert choose([small, large], max_loss=0.01).choice == "large"
    found = choose([small, large], max_loss=0.01, max_size=15e6)
    assert found.choice == "small"
    assert "15 MB" in found.because
    with pytest.raises(BudgetUnreachable, match="10 MB") as caught:
        choose([small, large], max_loss=0.01, max_size=5e6)
    assert "10.01MB" in caught.value.fix
