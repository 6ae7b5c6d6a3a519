"""The bench of back-tests: its figures on file meet those in print, and its own arithmetic."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("grid_run", BENCH / "grid" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["grid_run"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["grid_run"]


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return json.loads((BENCH / "results" / "grid_backtest.json").read_text(encoding="utf-8"))


def test_every_section_has_its_figures(bench: ModuleType, figures: dict[str, Any]) -> None:
    assert set(figures) == set(bench.SECTIONS)


def test_figures_in_print_are_met(bench: ModuleType, figures: dict[str, Any]) -> None:
    rows = {
        (zone, row["rule"], row["shape"]): row["as published"]
        for zone, told in figures["awhile"].items()
        for row in told
        if row["known"] == "noisy-oracle" and row["error"] == 0.05
    }
    for key, printed in bench.PUBLISHED_AWHILE.items():
        assert round(rows[key], 2) == printed
    for (hours, name), printed in bench.PUBLISHED_LIMITS.items():
        assert figures["limits"][f"{hours} h, slack 24 h"][name] == printed
    assert figures["limits"]["moves"]["one move, g/kWh"] == bench.PUBLISHED_MOVE_G
    for zone, (oracle, recorded, _) in bench.PUBLISHED_AREAS.items():
        told = figures["areas"][zone]
        assert told["contiguous, oracle"]["saving"] == pytest.approx(oracle, abs=0.015)
        assert told["contiguous, recorded"]["saving"] == pytest.approx(recorded, abs=0.025)


def test_no_job_of_any_policy_was_late(figures: dict[str, Any]) -> None:
    for section in ("project", "areas", "traces", "signals", "revised"):
        for told in figures[section].values():
            late = [one["late"] for one in told.values() if isinstance(one, dict) and "late" in one]
            assert late
            assert not any(late)


def test_no_policy_saves_more_than_its_oracle(figures: dict[str, Any]) -> None:
    for section in ("project", "areas", "traces", "signals", "revised"):
        for told in figures[section].values():
            best = told["interruptible, oracle"]["saving"]
            assert told["contiguous, oracle"]["saving"] <= best
            for name, one in told.items():
                if isinstance(one, dict) and "saving" in one:
                    kind = "contiguous, oracle" if name.startswith("contig") else None
                    most = told[kind]["saving"] if kind else best
                    assert one["saving"] <= most, name


def test_parts_on_file_add_up(figures: dict[str, Any]) -> None:
    told = [each for each in figures["places"].values() if isinstance(each, dict)]
    assert told
    for policies in told:
        for parts in policies.values():
            *shares, together = parts.values()
            assert sum(shares) == pytest.approx(together, abs=0.025)


def test_best_against_worst_is_more_than_there_is_to_save(
    bench: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "ci.csv"
    days = [
        f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00Z,{100 if hour % 24 else 50}"
        for hour in range(240)
    ]
    file.write_text("\n".join(["time,DE", *days]))
    assert bench.against_worst(file, "DE", 1) == 50.0


def test_missing_data_are_said_to_be(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGAWATT_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="NEGAWATT_DATA"):
        bench.grid()
