"""What happens when a variant that is only compared is run otherwise, or cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from negawatt.actions.optimize import stages
from negawatt.actions.optimize.heats import Heats
from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, Layer

DEAD = RuntimeUnavailable("the engine does not survive it", fix="use two threads")
LAYERS = (Layer("a", "linear", 8, 64), Layer("b", "linear", 8, 64))


def ask(stage: Callable[..., Any], *given: Any) -> Any:
    """A worker that runs no model."""
    if stage in {stages.grade, stages.race_int8}:
        return SimpleNamespace(name="uniform int8", selection=None, test=None)
    return stage(*given)


class Stubborn(Heats):
    """Runs all variants but those of one role."""

    def __init__(self, role: str, runtime: object = None, reference: object = None) -> None:
        order = SimpleNamespace(max_latency=None)
        shop = SimpleNamespace(call=ask, change=lambda *_, model: None)
        tools = SimpleNamespace(
            progress=lambda *_: None, runtime=runtime, reference=reference, workshop=shop
        )
        source = SimpleNamespace(layers=LAYERS, folder=None)
        prices = SimpleNamespace(order=order, tools=tools, source=source, haven=Format(8))

        def step(name: str, kind: type, compute: Callable[[], Any]) -> Any:
            found = compute()
            assert isinstance(found, kind)
            return found

        super().__init__(prices, SimpleNamespace(step=step), Path("theirs"))  # type: ignore[arg-type]
        self.role = role

    def attempt(self, track: Any, entry: Any, label: str = "", **_: Any) -> Any:
        if entry[1] == self.role:
            raise DEAD
        return SimpleNamespace(name=entry[0])


def run(heats: Heats) -> list[str]:
    track = SimpleNamespace(int8={}, converted=Path("wide"), threads=1)
    model = SimpleNamespace(joint=lambda _: ())
    formats = (Format(8), Format(4, 32))
    return [trial.name for trial in heats.uniform(track, formats, model)]  # type: ignore[arg-type]


def test_16_bits_that_an_engine_does_not_survive_are_left_out_and_told() -> None:
    heats = Stubborn("base")
    assert run(heats) == ["uniform int8", "uniform int4-g32-sym"]
    assert heats.told == ["16 bit was not run: the engine does not survive it."]
    assert run(Stubborn("nothing"))[1] == "16 bit"


class Careful:
    """Multiplies in 32 bits on one thread."""

    def otherwise(self, artifact: Path, options: RunOptions) -> str:
        return f"{artifact} in 32 bits" if options.threads == 1 else ""


def test_16_bits_that_an_engine_runs_otherwise_are_told_beside_the_figures() -> None:
    heats = Stubborn("nothing", Careful())
    assert run(heats)[1] == "16 bit"
    assert heats.told == ["16 bit: wide in 32 bits."]
    plain = Stubborn("nothing", object())
    run(plain)
    assert plain.told == []


def test_so_is_what_the_reference_does() -> None:
    heats = Stubborn("nothing", object(), Careful())
    run(heats)
    assert heats.told == ["torch bf16: theirs in 32 bits."]
    both = Stubborn("nothing", Careful(), Careful())
    run(both)
    assert len(both.told) == 2


def test_a_variant_that_may_be_chosen_has_to_run() -> None:
    with pytest.raises(RuntimeUnavailable, match="does not survive"):
        run(Stubborn("uniform"))
