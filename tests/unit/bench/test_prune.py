"""The bench of pruning: its cases can be asked for, and what is done is not done again."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import negawatt
from negawatt.cli.prune import command
from negawatt.compress.pruned import Healing, Pace
from negawatt.core.estimate import Estimate
from negawatt.models.per_byte import PerByte

FILE = Path(__file__).resolve().parents[3] / "bench" / "compress" / "prune.py"


@pytest.fixture
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_prune", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exact(value: float, unit: str = "1") -> Estimate:
    return Estimate.exact(value, unit=unit, source="a test", boundary="model")


def some_result() -> Any:
    quality = PerByte(1.0, 1.1, exact(0.1), exact(0.3), 0.05, 100, "a text")
    shape = SimpleNamespace(multiplications=3, parameters=4)
    return SimpleNamespace(
        quality=quality,
        raw=quality,
        shape=shape,
        base=SimpleNamespace(multiplications=4, parameters=8),
        paces=[Pace("engine 1", "reading", exact(1.0), exact(0.7), exact(0.7))],
        seconds=1.0,
        cpu_seconds=exact(2.0, "s"),
        energy=exact(3.0, "J"),
        pays_back=4.0,
        healing=Healing("weights", 1, 2, 0.3, 0.2, kept=True),
    )


def test_every_case_is_a_command_that_can_be_typed(bench: ModuleType) -> None:
    for model, asked in bench.CASES.values():
        words = shlex.split(bench.command(model, asked))
        assert words[:2] == ["negawatt", "prune"]
        assert command.make_context("prune", words[2:]).params["model"] == model


def test_a_case_that_is_there_is_kept(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def prune(model: str, **_: Any) -> Any:
        asked.append(model)
        return some_result()

    monkeypatch.setattr(negawatt, "prune", prune)
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "prune.json")
    monkeypatch.setattr(sys, "argv", ["prune.py", "smollm2-vocabulary"])
    bench.main()
    bench.main()
    assert len(asked) == 1
    row = json.loads((tmp_path / "prune.json").read_text())["cases"]["smollm2-vocabulary"]
    assert row["lost"]["bits_per_byte"][0] == 0.1
    assert (row["multiplications"], row["cpu_time"]["reading"][0]) == (0.75, 0.7)
    assert row["healing"]["steps"] == 1
