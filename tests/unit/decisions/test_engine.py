"""Choosing an engine: least work for the workload, and where that changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Workload
from negawatt.decisions.engine import Run, choose_engine, crossing, fronts


def run(name: str, read: float, write: float, threads: int = 1) -> Run:
    times = [
        Estimate.exact(v, unit="s/token", source="test", boundary="process", kind=Kind.MEASURED)
        for v in (read, write)
    ]
    return Run(name, "1", "int8-row-sym", threads, *times, kl=0.0, size_bytes=1)


TIMES = st.floats(0.01, 100.0)
RUNS = st.lists(
    st.builds(run, st.sampled_from("abc"), TIMES, TIMES, st.integers(1, 2)), min_size=1, max_size=6
)


def test_the_choice_follows_the_workload_and_says_where_it_turns() -> None:
    reader, writer = run("reader", 1.0, 9.0), run("writer", 2.0, 6.0)
    chat = choose_engine([reader, writer], Workload(10, 10))
    assert chat.choice == writer.name
    assert "1.25 times as much" in chat.because
    assert "reader int8-row-sym, 1 thread takes less from 3 prompt tokens" in chat.because
    assert choose_engine([reader, writer], Workload(40, 10)).choice == reader.name


def test_an_engine_that_is_worse_in_both_has_no_crossing() -> None:
    good, bad = run("good", 1.0, 1.0), run("bad", 2.0, 2.0)
    assert crossing(good, bad) is None
    assert crossing(good, good) is None
    assert "prompt tokens" not in choose_engine([good, bad], Workload(1, 1)).because


def test_threads_of_one_engine_are_no_rival_of_it() -> None:
    one, two = run("a", 1.0, 1.0, threads=1), run("a", 2.0, 2.0, threads=2)
    decision = choose_engine([two, one], Workload(1, 1))
    assert decision.choice == one.name
    assert "times" not in decision.because
    assert decision.alternatives == (two.name,)


def test_nothing_to_choose_from_is_said_so() -> None:
    with pytest.raises(UsageError, match="no engine"):
        choose_engine([], Workload(1, 1))


@given(RUNS, st.integers(1, 500), st.integers(1, 500))
def test_nothing_beats_the_choice(runs: list[Run], prompt: int, generate: int) -> None:
    workload = Workload(prompt, generate)
    decision = choose_engine(runs, workload)
    least = min(one.cpu_s(workload) for one in runs)
    chosen = min(one.cpu_s(workload) for one in runs if one.name == decision.choice)
    assert chosen == pytest.approx(least)


@given(RUNS, st.floats(0.001, 1000.0))
def test_the_front_names_the_cheapest_at_every_ratio(runs: list[Run], ratio: float) -> None:
    steps = fronts(runs)
    named = [one for one, start in steps if start <= ratio][-1]
    cost = ratio * named.prefill_cpu.value + named.decode_cpu.value
    least = min(ratio * one.prefill_cpu.value + one.decode_cpu.value for one in runs)
    assert cost == pytest.approx(least, rel=1e-9)
    assert [start for _, start in steps] == sorted(start for _, start in steps)
