"""What two trackers or many ranks saw of one machine counts once, and what differs counts twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger import Entry, Link
from negawatt.ledger.overlap import Share, period, shares, slim
from negawatt.ledger.overlap import counted as left_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def figure(value: float, boundary: str = "machine", unit: str = "J") -> dict[str, Any]:
    return Estimate.exact(value, unit=unit, source="counter", boundary=boundary).to_json()


def entry(
    number: int,
    start_s: float,
    end_s: float,
    watts: dict[str, float] | None = None,
    *,
    machine: str | None = "m1",
    own_j: float = 0.0,
) -> Entry:
    """An entry that read counters of some watts, and modelled some joules of its own."""
    seconds = end_s - start_s
    joules = {key: value * seconds for key, value in (watts or {"package:0": 10.0}).items()}
    total = sum(v for k, v in joules.items() if not k.startswith("core")) + own_j
    body = {
        "name": "train",
        "started_at": (START + timedelta(seconds=start_s)).isoformat(),
        "wall_seconds": figure(seconds, unit="s"),
        "energy": figure(total, " + ".join(joules)),
        "boundaries": {key: figure(value, key) for key, value in joules.items()},
    }
    time = START + timedelta(seconds=end_s)
    return Entry(number, time, "measure", "a", "h", body, {}, "", f"id{number}", machine)


def counted(entries: Sequence[Entry]) -> float:
    """The sum in which nothing counts twice. [J]"""
    found = shares(entries)
    return sum(
        one.body["energy"]["value"] * (found[one.id].counted if one.id in found else 1.0)
        for one in {one.id: one for one in entries}.values()
    )


def test_ranks_of_one_node_count_the_node_once() -> None:
    ranks = [entry(n, 0, 100) for n in range(8)]
    found = shares(ranks)
    assert counted(ranks) == pytest.approx(1000)
    assert "id0" not in found
    assert all(found[f"id{n}"].counted == 0 for n in range(1, 8))
    assert "id0" in found["id7"].same_as


def test_the_same_boundary_of_two_machines_counts_twice() -> None:
    assert counted([entry(1, 0, 10), entry(2, 0, 10, machine="m2")]) == pytest.approx(200)


def test_two_boundaries_of_one_machine_both_count() -> None:
    ranks = [entry(n, 0, 10, {f"gpu:{n}": 300.0}) for n in range(4)]
    assert shares(ranks) == {}
    assert counted(ranks) == pytest.approx(12_000)


def test_ranks_with_a_gpu_each_share_the_package_alone() -> None:
    ranks = [entry(n, 0, 10, {"package:0": 100.0, f"gpu:{n}": 300.0}) for n in range(2)]
    assert counted(ranks) == pytest.approx(1000 + 2 * 3000)
    assert shares(ranks)["id1"] == Share(0.75, ("id0",))


def test_a_part_of_the_time_is_a_part_of_the_energy() -> None:
    assert counted([entry(1, 0, 10), entry(2, 5, 15)]) == pytest.approx(150)
    assert counted([entry(1, 0, 10), entry(2, 10, 20)]) == pytest.approx(200)
    assert counted([entry(1, 0, 10), entry(2, 2, 4)]) == pytest.approx(100)  # a window inside


def test_what_a_plug_saw_holds_what_the_chips_saw() -> None:
    plug = entry(2, -5, 105, {"wall": 50.0})
    chips = [entry(1, 0, 100), entry(3, 20, 40, {"gpu:0": 20.0})]
    assert counted([plug, *chips]) == pytest.approx(5500)
    assert counted([*chips, plug]) == pytest.approx(5500)


def test_cores_inside_a_package_are_not_added_to_it() -> None:
    one = entry(1, 0, 10, {"package:0": 10.0, "core:0": 6.0})
    two = entry(2, 0, 10, {"package:0": 10.0, "core:0": 6.0})
    assert counted([one, two]) == pytest.approx(100)


def test_what_was_modelled_for_a_process_of_its_own_is_nobody_elses() -> None:
    ranks = [entry(n, 0, 10, {"gpu:0": 30.0}, own_j=50.0) for n in range(2)]
    assert counted(ranks) == pytest.approx(300 + 2 * 50)


def test_the_same_entry_from_two_ledgers_is_one() -> None:
    one = entry(1, 0, 10)
    origin = Link(one.sequence, one.previous, one.hash)
    again = Entry(
        9, one.time, one.kind, one.who, one.host, one.body, {}, "p", "q", one.machine, origin
    )
    assert again.id == one.id
    assert shares([one, again]) == {}


@pytest.mark.parametrize("machine", [None, "", "unknown"])
def test_an_unknown_machine_is_not_taken_for_another(machine: str | None) -> None:
    entries = [entry(n, 0, 10, machine=machine) for n in range(2)]
    assert shares(entries) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"wall_seconds": None},
        {"wall_seconds": {"value": -1}},
        {"started_at": "yesterday"},
        {"started_at": "2026-01-01T00:00:00"},
    ],
)
def test_an_unknown_period_overlaps_nothing(change: dict[str, Any]) -> None:
    good = entry(1, 0, 10)
    bad = entry(2, 0, 10)
    bad = Entry(2, bad.time, "measure", "a", "h", {**bad.body, **change}, {}, "", "id2", "m1")
    assert period(bad) is None
    assert shares([good, bad]) == {}


def test_without_a_start_the_entry_was_written_at_its_end() -> None:
    one = entry(1, 0, 10)
    body = {key: value for key, value in one.body.items() if key != "started_at"}
    late = Entry(1, one.time, "measure", "a", "h", body, {}, "", "id", "m1")
    assert period(late) == (START, START + timedelta(seconds=10))


def test_one_counter_need_not_be_listed() -> None:
    bodies = [{**entry(n, 0, 10).body} for n in (1, 2)]
    entries = []
    for number, body in enumerate(bodies):
        del body["boundaries"]
        entries.append(Entry(number, START, "measure", "a", "h", body, {}, "", f"{number}", "m1"))
    assert shares(entries) == {"1": Share(0.0, ("0",))}


@pytest.mark.parametrize(
    "odd", [{}, {"energy": "much"}, {"energy": {"value": True}}, {"boundaries": []}]
)
def test_other_bodies_are_left_alone(odd: dict[str, Any]) -> None:
    body = {"wall_seconds": 10, **odd}
    assert shares([Entry(n, START, "k", "", "", body, {}, "", f"{n}", "m") for n in (1, 2)]) == {}


spans = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 50), st.sampled_from(["m1", "m2"])), min_size=1
)


@given(spans)
def test_at_constant_power_the_sum_is_the_time_that_anybody_saw(
    drawn: list[tuple[int, int, str]],
) -> None:
    entries = [
        entry(n, start, start + length, machine=machine)
        for n, (start, length, machine) in enumerate(drawn)
    ]
    seen = {
        (machine, second)
        for start, length, machine in drawn
        for second in range(start, start + length)
    }
    assert counted(entries) == pytest.approx(10.0 * len(seen))


@given(spans, st.randoms())
def test_the_order_in_which_ledgers_were_merged_does_not_matter(
    drawn: list[tuple[int, int, str]], dice: Any
) -> None:
    entries = [
        entry(n, start, start + length, machine=machine)
        for n, (start, length, machine) in enumerate(drawn)
    ]
    shuffled = entries.copy()
    dice.shuffle(shuffled)
    assert counted(shuffled) == pytest.approx(counted(entries))
    assert {key: one.counted for key, one in shares(shuffled).items()} == pytest.approx(
        {key: one.counted for key, one in shares(entries).items()}
    )


def modelled(number: int, start_s: float, end_s: float, *, process: str, view: str = "whole",
             machine: str = "m1") -> Entry:  # fmt: skip
    """An entry without counters: 2 W of rest for all, and 3 W for its own CPU time."""
    one = entry(number, start_s, end_s, machine=machine)
    seconds = end_s - start_s
    body = {
        **one.body,
        "boundaries": {},
        "energy": figure(5 * seconds, "package+dram, visible share"),
        "modelled": {
            f"rest:{view}": figure(2 * seconds, "package+dram, visible share"),
            f"process:{process}": figure(3 * seconds, "package, above rest"),
        },
    }
    return Entry(number, one.time, "measure", "a", "h", body, {}, "", f"id{number}", machine)


def test_the_rest_of_a_machine_counts_once_and_cpu_time_is_each_process_own() -> None:
    entries = [modelled(n, 0, 10, process=f"p{n}") for n in range(4)]
    assert counted(entries) == pytest.approx(2 * 10 + 4 * 3 * 10)


def test_windows_of_one_process_hold_its_cpu_time_once() -> None:
    outer, inner = modelled(1, 0, 10, process="p"), modelled(2, 2, 4, process="p")
    assert counted([inner, outer]) == pytest.approx(50)


def test_two_containers_rest_apart_and_inside_the_machine() -> None:
    apart = [modelled(n, 0, 10, process=f"p{n}", view=f"v{n}") for n in range(2)]
    assert counted(apart) == pytest.approx(100)
    whole = modelled(9, 0, 10, process="p9")
    assert counted([*apart, whole]) == pytest.approx(20 + 3 * 30)


def test_what_a_package_counter_saw_holds_what_was_modelled_beside_it() -> None:
    seen = entry(1, 0, 10)
    blind = modelled(2, 0, 10, process="p")  # a process that may not read the counter
    assert counted([seen, blind]) == pytest.approx(100)
    assert counted([entry(1, 0, 10, {"gpu:0": 30.0}), blind]) == pytest.approx(300 + 50)


def test_what_is_left_of_an_entry_is_guessed_only_in_part() -> None:
    one, two, three = entry(1, 0, 10), entry(2, 5, 15), entry(3, 0, 10)
    found = shares([one, two, three])
    for which, kind, joules in ((two, Kind.MODELLED, 50), (three, Kind.MEASURED, 0)):
        whole = Estimate.from_json(which.body["energy"])
        left = left_of(whole, which.body, found[which.id])
        assert (left.kind, left.value) == (kind, pytest.approx(joules))


def test_a_body_cut_down_to_what_is_looked_at_gives_the_same() -> None:
    full = [entry(n, 0, 10) for n in range(3)]
    assert shares(full) == shares(slim(one) for one in full)
    assert "name" not in slim(full[0]).body


@pytest.mark.parametrize("joules", [float("nan"), float("inf"), -5.0, True, "5"])
def test_a_reading_that_is_no_energy_takes_no_part(joules: Any) -> None:
    bad = entry(2, 0, 10)
    broken = {**bad.body, "boundaries": {"package:0": {"value": joules}}, "energy": None}
    entries = [entry(1, 0, 10), Entry(2, bad.time, "m", "a", "h", broken, {}, "", "id2", "m1")]
    assert "id2" not in shares(entries)


def test_a_window_over_all_others_holds_each_of_them() -> None:
    short = [entry(n, 2 * n, 2 * n + 1) for n in range(1, 1000)]
    assert counted([entry(0, 0, 10_000), *short]) == pytest.approx(100_000)
    assert counted([*short, entry(0, 0, 1000)]) == pytest.approx(10_000 + 500 * 10)
