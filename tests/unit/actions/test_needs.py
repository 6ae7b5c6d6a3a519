"""The limit on memory is told beforehand, and holds what every engine in the race needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_sample import PacedRuntime, some_order, some_tools

from negawatt.actions.optimize import memory, needs
from negawatt.actions.optimize.run import optimize
from negawatt.core import registry
from negawatt.core.appetite import USUAL, Appetite, appetite_of
from negawatt.core.errors import RuntimeUnavailable

HUNGRY = Appetite(1.7, 2.2, 4.8, 1.3, because="it widens what it loads")


@dataclass
class Engine:
    name: str
    appetite: Appetite = USUAL


def engines() -> st.SearchStrategy[list[Any]]:
    share = st.floats(0.1, 9)
    appetites = st.builds(Appetite, share, share, share, share)
    return st.lists(st.builds(Engine, st.just("one"), appetites), min_size=1, max_size=4)


@given(engines(), st.floats(0.1, 9))
def test_one_more_engine_never_takes_less(found: list[Any], more: float) -> None:
    reference: Any = Engine("torch")
    alone, _ = needs.of_race(found, reference)
    another: Any = Engine("another", Appetite(more, more, more, more))
    together, _ = needs.of_race([*found, another], reference)
    assert together >= max(alone, more)


def test_what_decides_is_named() -> None:
    modest: Any = Engine("modest", Appetite(1.0, 1.0, 1.0, 0.1))
    hungry: Any = Engine("hungry", replace(HUNGRY, convert=9.0))
    assert needs.of_race([modest, hungry], modest) == (9.0, "hungry converting")
    assert needs.of_job(modest) == (memory.BOUND, "")
    factor, why = needs.of_job(hungry)
    assert factor == 9.0
    factor, why = needs.of_job(Engine("hungry", HUNGRY))  # type: ignore[arg-type]
    assert 4.8 < factor < 5.6
    assert why == "hungry timed at 16 bits: it widens what it loads"


def test_every_engine_here_says_what_it_takes() -> None:
    told = set()
    for name in registry.names(registry.RUNTIMES):
        try:
            engine = registry.load(registry.RUNTIMES, name)()
        except RuntimeUnavailable:
            continue
        assert appetite_of(engine) is not USUAL, name
        told.add(name)
    if not told:
        pytest.skip("no engine is installed")


class Hungry(PacedRuntime):
    appetite = HUNGRY


def test_the_limit_is_told_before_the_race_and_holds_it(story: Any, tmp_path: Path) -> None:
    told: list[str] = []
    tools = some_tools(tmp_path / "cache", lambda stage, _: told.append(stage))
    hungry = Hungry(tools.clock, "hungry")  # type: ignore[arg-type]
    tools = replace(tools, runtime=hungry, engines=(hungry, tools.runtime))
    found = optimize(some_order(story.model, story.text, tmp_path / "out"), tools)
    limits = [i for i, what in enumerate(told) if what.startswith("memory: at most")]
    assert len(limits) == 2
    assert limits[0] < told.index("engines") < limits[1]
    served = next(note for note in found.facts.notes if note.startswith("Engine: "))
    serving = next(one for one in tools.engines if served.startswith(f"Engine: {one.name}"))
    factor, why = needs.of_job(serving)
    assert why in told[limits[1]]
    assert (factor > memory.BOUND) == any("were expected" in note for note in found.facts.notes)
    race, _ = needs.of_race(tools.engines, tools.reference)
    weights = 2 * found.facts.parameters
    assert found.stated_memory_bytes > max(race, factor) * weights
    assert found.peak_memory_bytes <= found.stated_memory_bytes
