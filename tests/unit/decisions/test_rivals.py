"""What another engine would take for a plan of equal harm."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Workload
from negawatt.decisions.engine import Run
from negawatt.decisions.rivals import Pair, Part, compare_rivals, mixed

CHAT = Workload(10, 10)


def run(name: str, bits: int, read: float, write: float, threads: int = 1) -> Run:
    times = [
        Estimate.exact(v, unit="s/token", source="test", boundary="process", kind=Kind.MEASURED)
        for v in (read, write)
    ]
    return Run(name, "1", f"int{bits}-row-sym", threads, *times, kl=0.0, size_bytes=100 * bits)


def pair(name: str, wide: float, narrow: float, **more: object) -> Pair:
    return Pair(run(name, 8, 1.0, wide), run(name, 4, 1.0, narrow), **more)  # type: ignore[arg-type]


PARTS = [Part(100, 0.001, 0.011), Part(100, 0.001, 0.101), Part(200, 0.001, 0.021)]


def test_parts_that_bear_it_go_to_four_bits() -> None:
    found = mixed(pair("a", 8.0, 4.0), PARTS, 0.034, CHAT)
    assert found is not None
    assert found.format == "75% in int4-row-sym, the rest in int8-row-sym"
    assert found.decode_cpu.value == pytest.approx(5.0)
    assert found.decode_cpu.kind is Kind.MODELLED
    assert found.kl == pytest.approx(0.033)
    assert found.size_bytes == 500


def test_coarser_formats_bear_less() -> None:
    found = mixed(pair("a", 8.0, 4.0, coarser=(1.0, 2.0)), PARTS, 0.034, CHAT)
    assert found is not None
    assert found.format.startswith("25%")


def test_an_engine_whose_eight_bits_do_more_harm_has_no_plan() -> None:
    assert mixed(pair("a", 8.0, 4.0, coarser=(100.0, 1.0)), PARTS, 0.034, CHAT) is None


def test_four_bits_that_take_longer_are_left_alone() -> None:
    found = mixed(pair("a", 4.0, 8.0), PARTS, 1.0, CHAT)
    assert found is not None
    assert found.format.startswith("0%")
    assert found.decode_cpu.value == 4.0


MILLI = st.integers(0, 100).map(lambda count: count / 1000)
SOME = st.lists(
    st.builds(lambda w, a, b: Part(w, a, a + b), st.integers(1, 50), MILLI, MILLI),
    min_size=1,
    max_size=7,
)


@given(parts=SOME, room=MILLI)
def test_it_never_does_more_harm_and_is_near_the_best_of_all_plans(
    parts: list[Part], room: float
) -> None:
    allowed = sum(part.wide for part in parts) + room
    found = mixed(pair("a", 8.0, 4.0), parts, allowed, CHAT)
    assert found is not None
    assert found.kl <= allowed + 1e-9
    weights = sum(part.weights for part in parts)
    best = max(
        sum(part.weights for part, low in zip(parts, plan, strict=True) if low)
        for plan in product((False, True), repeat=len(parts))
        if sum(p.narrow if low else p.wide for p, low in zip(parts, plan, strict=True))
        <= allowed + 1e-9
    )
    moved = (8.0 - found.decode_cpu.value) / 4.0 * weights
    assert moved <= best + 1e-6
    assert moved >= best - max(part.weights for part in parts) - 1e-6  # the last part's worth


def test_another_engine_is_named_where_it_is_clearly_cheaper() -> None:
    own, other = run("own", 8, 1.0, 6.0), run("other", 8, 2.0, 4.0)
    found = compare_rivals("own", [own, other, run("other", 8, 9.0, 9.0, 2)], CHAT, 10.0)
    assert found is not None
    assert found.choice == "other"
    assert found.facts == {"own": 35.0, "other": 30.0}
    assert "own int8-row-sym, 1 thread takes less from 2 prompt tokens" in found.because
    level = run("other", 8, 1.0, 5.9)
    near = compare_rivals("own", [own, level], CHAT, 10.0)
    assert near is not None
    assert near.choice == "own"  # within what whole-model runs can tell apart


def test_alone_there_is_nothing_to_compare() -> None:
    assert compare_rivals("own", [run("own", 8, 1.0, 1.0)], CHAT, 1.0) is None
    assert compare_rivals("own", [run("other", 8, 1.0, 1.0)], CHAT, 1.0) is None
