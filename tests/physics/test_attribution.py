"""Sharing a reading neither makes nor loses energy, and does not care how the story is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from negawatt.core.estimate import Estimate, Kind
from negawatt.meters import (
    Account,
    CpuUse,
    EngineStep,
    GroupUse,
    NotConserved,
    PhaseSpan,
    Rest,
    SequenceWork,
    StepCosts,
    by_container,
    by_cpu_time,
    by_gpu_use,
    by_member,
    by_request,
    by_time,
)
from negawatt.meters.attribute import Use, divide

PERIOD = (0.0, 100.0)
NAMES = ("prefill", "decode", "train step", "eval", "idle")
amounts = st.floats(0, 1e4)
times = st.floats(*PERIOD)


def joules(value: float, error: float = 0.0) -> Estimate:
    return Estimate(
        value=value,
        low=value * (1 - error),
        high=value * (1 + error),
        unit="J",
        kind=Kind.MEASURED,
        source="rapl:package-0",
        boundary="package:0",
    )


devices = st.builds(joules, st.floats(1e-3, 1e6), st.floats(0, 0.2))
spans = st.lists(
    st.builds(
        lambda phase, ends: PhaseSpan(phase, min(ends), max(ends)),
        st.sampled_from(NAMES),
        st.tuples(times, times),
    ),
    max_size=12,
)
uses = st.builds(
    Use,
    st.dictionaries(st.sampled_from("abcdef"), amounts),
    amounts,
    amounts,
    blur=st.floats(0, 10),
)
bearers = st.sampled_from(["idle", "use", "equal"]) | st.dictionaries(
    st.sampled_from("abcz"), st.floats(0.1, 9), min_size=1
)
costs = st.builds(StepCosts, st.floats(0.1, 100), st.floats(0, 10), st.floats(0, 0.1))
works = st.builds(SequenceWork, st.sampled_from("abcd"), st.integers(0, 500), st.integers(0, 5_000))
steps = st.lists(
    st.builds(EngineStep, st.floats(0, 5), st.lists(works, max_size=5).map(tuple)),
    min_size=1,
    max_size=12,
)


def rows(account: Account) -> list[Estimate]:
    return [*account.parts.values(), account.idle, account.unattributed]


def conserved(account: Account) -> None:
    total = account.total.value
    assert math.fsum(row.value for row in rows(account)) == pytest.approx(total, rel=1e-9)
    for row in rows(account):
        assert 0 <= row.low <= row.value * (1 + 1e-9)
        assert row.value <= row.high * (1 + 1e-9)
    # what the parts may be together is never surer than what was read
    least, most = account.total.low, account.total.high
    assert math.fsum(row.low for row in rows(account)) <= least * (1 + 1e-9)
    assert math.fsum(row.high for row in rows(account)) >= most * (1 - 1e-9)


def same(one: Account, other: Account) -> None:
    for name in {*one.parts, *other.parts}:
        mine = one.parts[name].value if name in one.parts else 0.0
        theirs = other.parts[name].value if name in other.parts else 0.0
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-9 * one.total.value), name
    assert one.idle.value == pytest.approx(other.idle.value, rel=1e-6, abs=1e-9 * one.total.value)
    assert one.unattributed.value == pytest.approx(
        other.unattributed.value, rel=1e-6, abs=1e-9 * one.total.value
    )


# ------------------------------------------------------------------ any key


@given(devices, uses)
def test_whatever_the_use_parts_idle_and_unattributed_are_the_total(
    device: Estimate, use: Use
) -> None:
    account = divide(device, use, rule="test")
    conserved(account)
    assert all(row.kind is Kind.MODELLED for row in account.parts.values())


@given(devices, uses, st.floats(0, 1), st.floats(0, 0.3), bearers)
def test_power_at_rest_is_borne_as_stated_and_nothing_is_lost(
    device: Estimate, use: Use, share: float, error: float, bearer: object
) -> None:
    rest = Rest(joules(device.value * share, error), bearer)  # type: ignore[arg-type]
    account = divide(device, use, rule="test", rest=rest)
    conserved(account)
    if bearer == "idle":
        assert account.idle.value == pytest.approx(min(rest.energy.value, device.value))
    if bearer == "use" and sum(use.parts.values()) + use.unattributed > 0:
        assert account.idle.value == 0


@given(devices, uses)
def test_rest_that_stays_idle_is_in_no_part(device: Estimate, use: Use) -> None:
    whole = divide(device, replace(use, idle=0.0), rule="test")
    half = divide(device, use, rule="test", rest=Rest(joules(device.value / 2)))
    for name in use.parts:
        assert half.parts[name].value == pytest.approx(whole.parts[name].value / 2, abs=1e-12)


@given(devices)
def test_more_at_rest_than_was_drawn_is_told_with_both_figures(device: Estimate) -> None:
    with pytest.raises(NotConserved, match=r"rest .* J, total .* J"):
        divide(device, Use({"a": 1.0}), rule="test", rest=Rest(joules(device.high * 1.01)))
    near = Rest(joules(device.value * 1.05, 0.2))
    account = divide(device, Use({"a": 1.0}), rule="test", rest=near)
    conserved(account)
    assert "rest" in account.flags[0]
    assert account.parts["a"].value == 0


# ------------------------------------------------------------------ phases


@given(devices, spans)
def test_phases_and_idle_are_the_device(device: Estimate, told: list[PhaseSpan]) -> None:
    account = by_time(device, told, period=PERIOD)
    conserved(account)
    assert set(account.parts) == {span.phase for span in told} - {"idle"}


@given(devices, spans, st.randoms(use_true_random=False))
def test_the_order_of_spans_does_not_matter(
    device: Estimate, told: list[PhaseSpan], dice: object
) -> None:
    shuffled = list(told)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    same(by_time(device, told, period=PERIOD), by_time(device, shuffled, period=PERIOD))


@given(devices, spans, times)
def test_cutting_every_span_in_two_changes_nothing(
    device: Estimate, told: list[PhaseSpan], at: float
) -> None:
    cut = []
    for span in told:
        if span.start_s < at < span.end_s:
            cut += [replace(span, end_s=at), replace(span, start_s=at)]
        else:
            cut.append(span)
    same(by_time(device, told, period=PERIOD), by_time(device, cut, period=PERIOD))


@given(spans, st.floats(1, 99))
def test_two_readings_of_a_steady_device_add_to_the_reading_of_both(
    told: list[PhaseSpan], at: float
) -> None:
    def cut(first: float, last: float) -> Account:
        inside = [
            PhaseSpan(s.phase, max(s.start_s, first), min(s.end_s, last))
            for s in told
            if s.start_s <= last and s.end_s >= first
        ]
        return by_time(joules(5.0 * (last - first)), inside, period=(first, last))

    same(cut(*PERIOD), cut(0.0, at) + cut(at, 100.0))


@given(devices, spans, times, st.sampled_from(NAMES))
def test_a_span_of_no_length_takes_nothing(
    device: Estimate, told: list[PhaseSpan], at: float, phase: str
) -> None:
    same(
        by_time(device, told, period=PERIOD),
        by_time(device, [*told, PhaseSpan(phase, at, at)], period=PERIOD),
    )


@given(devices, spans, st.lists(amounts, min_size=1, max_size=9))
def test_a_curve_shares_as_the_meter_saw_it(
    device: Estimate, told: list[PhaseSpan], flows: list[float]
) -> None:
    width = 100.0 / len(flows)
    curve = [(i * width, math.fsum(flows[:i])) for i in range(len(flows))]
    curve.append((100.0, math.fsum(flows)))
    account = by_time(device, told, period=PERIOD, curve=curve)
    conserved(account)
    steady = by_time(device, told, period=PERIOD, curve=[(0.0, 7.0), (100.0, 12.0)])
    same(steady, by_time(device, told, period=PERIOD))


def test_a_curve_gives_the_busy_phase_what_it_drew() -> None:
    told = [PhaseSpan("prefill", 0, 1), PhaseSpan("decode", 1, 3)]
    curve = [(0.0, 0.0), (1.0, 300.0), (3.0, 500.0), (4.0, 550.0)]
    account = by_time(joules(550), told, period=(0.0, 4.0), curve=curve)
    assert {n: p.value for n, p in account.parts.items()} == pytest.approx(
        {"prefill": 300, "decode": 200}
    )
    assert account.idle.value == pytest.approx(50)
    rested = by_time(joules(550), told, period=(0.0, 4.0), curve=curve, rest=Rest(joules(110)))
    assert rested.idle.value == pytest.approx(110)
    assert rested.unattributed.value == pytest.approx(40)  # 440 J above rest, 50/550 of it


# ------------------------------------------------------- processes, containers


@given(devices, st.dictionaries(st.sampled_from("abcdef"), amounts, min_size=1), amounts)
def test_processes_never_take_more_than_the_machine(
    device: Estimate, cpu_s: dict[str, float], others: float
) -> None:
    use = CpuUse(math.fsum(cpu_s.values()) + others, 10.0, cpu_s)
    account = by_cpu_time(device, use, rest=Rest(joules(device.value / 4)))
    conserved(account)
    assert math.fsum(p.value for p in account.parts.values()) <= device.value * (1 + 1e-9)
    if others == 0 and any(cpu_s.values()):
        assert account.unattributed.value == 0
    summed = math.fsum(cpu_s.values())
    if summed > 2:
        with pytest.raises(NotConserved, match="CPU time of processes, of the machine"):
            by_cpu_time(device, replace(use, busy_s=0.8 * summed - 1.0), rest=None)


@given(
    devices,
    st.dictionaries(st.sampled_from("abc"), st.tuples(amounts, amounts, amounts), min_size=1),
    amounts,
)
def test_a_container_bears_at_least_what_its_processes_do(
    device: Estimate, inside: dict[str, tuple[float, float, float]], others: float
) -> None:
    cpu_s, groups = {}, {}
    for name, (first, second, gone) in inside.items():
        cpu_s[f"{name}/1"], cpu_s[f"{name}/2"] = first, second
        groups[name] = GroupUse(first + second + gone, (f"{name}/1", f"{name}/2"))
    busy = math.fsum(group.cpu_s for group in groups.values()) + others
    use = CpuUse(busy, 1.0, cpu_s, tick_s=0.0)
    rest = Rest(joules(device.value / 3))
    account = by_container(device, use, groups, rest=rest)
    conserved(account)
    alone = by_cpu_time(device, use, rest=rest)
    for name, group in groups.items():
        members = by_member(account, name, use, group)
        conserved(members)
        if busy > 0:
            for label in group.members:  # the same joules, whichever way they are reached
                assert members.parts[label].value == pytest.approx(
                    alone.parts[label].value, rel=1e-6, abs=1e-9 * device.value
                )


@given(devices, st.lists(st.dictionaries(st.integers(1, 5), st.floats(0, 20)), min_size=1))
def test_processes_on_a_board_and_its_idle_time_are_the_board(
    device: Estimate, samples: list[dict[int, float]]
) -> None:
    conserved(by_gpu_use(device, samples, rest=None))
    account = by_gpu_use(device, samples, rest=Rest(joules(device.value / 2)))
    conserved(account)
    assert account.idle.value == pytest.approx(device.value / 2)


# ------------------------------------------------------------------ requests


@given(devices, steps, costs)
def test_requests_idle_and_waiting_steps_are_the_device(
    device: Estimate, told: list[EngineStep], cost: StepCosts
) -> None:
    taken = math.fsum(step.amount for step in told)
    account = by_request(device, told, cost, period_s=taken + 1.0)
    conserved(account.shared)
    assert account.shared.idle.value == pytest.approx(device.value / (taken + 1.0))
    parts, saved = account.shared.parts, account.marginal
    for name, part in parts.items():
        assert saved[name].value <= part.value * (1 + 1e-9)
    whole = math.fsum(part.value for part in saved.values()) + account.common.value
    assert whole == pytest.approx(math.fsum(part.value for part in parts.values()))


@given(devices, steps, costs, st.randoms(use_true_random=False))
def test_neither_the_order_of_steps_nor_of_sequences_matters(
    device: Estimate, told: list[EngineStep], cost: StepCosts, dice: object
) -> None:
    turned = [replace(step, work=step.work[::-1]) for step in told]
    dice.shuffle(turned)  # type: ignore[attr-defined]
    one, other = by_request(device, told, cost), by_request(device, turned, cost)
    same(one.shared, other.shared)
    assert one.common.value == pytest.approx(other.common.value, abs=1e-9 * device.value)


@given(devices, steps, costs, st.floats(0, 1), st.sampled_from(["s", "J"]))
def test_splitting_every_step_in_two_changes_nothing(
    device: Estimate, told: list[EngineStep], cost: StepCosts, at: float, per: str
) -> None:
    taken = math.fsum(step.amount for step in told)
    device = joules(taken + 1.0)
    halves = [replace(step, amount=step.amount * part) for step in told for part in (at, 1.0 - at)]
    one = by_request(device, told, cost, per=per)  # type: ignore[arg-type]
    other = by_request(device, halves, cost, per=per)  # type: ignore[arg-type]
    same(one.shared, other.shared)
    assert one.common.value == pytest.approx(other.common.value, abs=1e-9 * device.value)


@given(devices, steps, costs)
def test_a_name_is_only_a_name(device: Estimate, told: list[EngineStep], cost: StepCosts) -> None:
    other = dict(zip("abcd", "dcba", strict=True))
    renamed = [
        replace(s, work=tuple(replace(w, request=other[w.request]) for w in s.work)) for s in told
    ]
    one, two = by_request(device, told, cost).shared, by_request(device, renamed, cost).shared
    for name, part in one.parts.items():
        assert two.parts[other[name]].value == pytest.approx(
            part.value, rel=1e-6, abs=1e-9 * device.value
        )


def test_who_joins_or_leaves_bears_only_the_steps_it_was_in() -> None:
    def decode(*requests: str) -> EngineStep:
        return EngineStep(1.0, tuple(SequenceWork(request, 1, 0) for request in requests))

    told = [decode("a"), decode("a", "b"), decode("a", "b"), decode("b"), EngineStep(1.0)]
    account = by_request(joules(50), told, StepCosts(weights=8, token=1, context=0), period_s=6.25)
    # 8 J a step; a: one alone, two halves; b the same
    assert {n: p.value for n, p in account.shared.parts.items()} == pytest.approx(
        {"a": 16.0, "b": 16.0}
    )
    assert account.shared.unattributed.value == pytest.approx(8.0)
    assert account.shared.idle.value == pytest.approx(10.0)
    # without a: its own step, and a tenth of each step with b
    assert account.marginal["a"].value == pytest.approx(8.0 + 2 * 0.8)
    assert account.common.value == pytest.approx(32.0 - 2 * 9.6)


def test_each_cost_follows_its_own_key() -> None:
    work = (SequenceWork("long", 1, 900), SequenceWork("short", 1, 100), SequenceWork("new", 7, 0))

    def shares(cost: StepCosts) -> list[float]:
        parts = by_request(joules(9000), [EngineStep(1.0, work)], cost).shared.parts
        return [parts[name].value for name in ("long", "short", "new")]

    assert shares(StepCosts(1, 0, 0)) == pytest.approx([3000, 3000, 3000])
    assert shares(StepCosts(0, 1, 0)) == pytest.approx([1000, 1000, 7000])
    assert shares(StepCosts(0, 0, 1)) == pytest.approx([8100, 900, 0])


@given(devices, steps, costs, st.floats(0, 1))
def test_requests_bear_no_rest_unless_it_is_said(
    device: Estimate, told: list[EngineStep], cost: StepCosts, share: float
) -> None:
    assume(any(step.work and step.amount > 1e-3 for step in told))
    rest = joules(device.value * share)
    idle = by_request(device, told, cost, rest=Rest(rest))
    conserved(idle.shared)
    assert idle.shared.idle.value == pytest.approx(rest.value)
    borne = by_request(device, told, cost, rest=Rest(rest, "use"))
    conserved(borne.shared)
    assert borne.shared.idle.value == 0
    for name, saved in borne.marginal.items():  # rest would have flowed without any of them
        assert saved.value == pytest.approx(idle.marginal[name].value)
