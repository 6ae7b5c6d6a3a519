"""The table of typical hours is what its script makes of the data it names."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "bench" / "grid" / "typical_hours.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("typical_hours", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_carried_table_is_the_derived_one(
    bench: ModuleType, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = bench.TABLE.read_text(encoding="utf-8")
    monkeypatch.setattr(bench, "TABLE", tmp_path / "typical_hours.csv")
    year = shared / "data" / "grid" / "em2022_ci_lca_hourly_123zones.csv.gz"
    names, times, values = bench.read_year(year)
    bench.write(bench.stretch(bench.derive(times, values), names), names)
    assert bench.TABLE.read_text(encoding="utf-8") == carried


def test_seasons_and_hours(bench: ModuleType) -> None:
    times = np.array(["2022-12-31T23", "2022-02-28T00", "2022-03-01T05"], dtype="datetime64[h]")
    assert bench.season_of(times).tolist() == [0, 0, 1]
    assert bench.hour_of(times).tolist() == [23, 0, 5]


def test_intervals_of_a_steady_grid_are_narrow_and_hold_it(bench: ModuleType) -> None:
    times = np.arange("2022-01-01", "2023-01-01", dtype="datetime64[h]")
    values = np.where(bench.hour_of(times) < 6, 100.0, 300.0)[:, None]
    made = bench.derive(times, values)
    assert made.shape == (3, 4, 24, 1)
    assert (made[0, :, 3] == 100).all()
    assert (made[1:, :, 12] == 300).all()
    assert bench.inside(made, times, values).tolist() == [1.0]
