"""When the search may count on a second look, and what a reader is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from negawatt.actions.optimize import second_look
from negawatt.core.records import Format, Layer

NARROW, WIDE = Format(4, 32, levels="nl"), Format(8, 32)
TIED = (Layer("wte", "embedding", 96, 32), Layer("head", "head", 96, 32, tied_to="wte"))
APART = (TIED[0], Layer("head", "head", 96, 32))


def at(reach: float | None) -> Any:
    return SimpleNamespace(second_look=reach)


@pytest.mark.parametrize(
    ("reach", "layers", "max_size", "found"),
    [
        (6.0, TIED, None, 6.0),
        (6.0, APART, None, None),
        (6.0, TIED, 9, None),
        (None, TIED, None, None),
    ],
)
def test_it_takes_an_engine_that_looks_a_shared_matrix_and_room(
    reach: float | None, layers: Any, max_size: int | None, found: float | None
) -> None:
    tools: Any = SimpleNamespace(runtime=at(reach))
    order: Any = SimpleNamespace(max_size=max_size)
    source: Any = SimpleNamespace(layers=layers)
    assert second_look.reach_of(tools, order, source) == found


def test_a_reader_is_told_what_other_programs_lack() -> None:
    (said,) = second_look.notes({"wte": WIDE, "head": NARROW}, TIED, at(6.0))
    assert "within 6 nats" in said
    assert "8 bits where head has 4" in said
    assert "Other programs" in said


@pytest.mark.parametrize(
    ("plan", "layers", "reach"),
    [
        ({"wte": WIDE, "head": WIDE}, TIED, 6.0),
        ({"wte": NARROW, "head": NARROW}, TIED, 6.0),
        ({"wte": WIDE, "head": NARROW}, APART, 6.0),
        ({"wte": WIDE, "head": NARROW}, TIED, None),
    ],
)
def test_nothing_is_told_where_nothing_is_looked_at(
    plan: dict[str, Format], layers: Any, reach: float | None
) -> None:
    assert second_look.notes(plan, layers, at(reach)) == []
