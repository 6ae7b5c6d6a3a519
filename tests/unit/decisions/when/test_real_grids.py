"""The figures that the page on choosing hours tells, from the signals they were told of."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from negawatt.decisions.when import scan, scan_cheapest, window_sums

STEPS, SLACK = 8, 40  # half-hours


@pytest.mark.parametrize(
    ("zone", "window", "lowest_slot", "worse", "worst"),
    [("DE", 18.8, 15.5, 17, 31), ("GB", 21.8, 16.3, 22, 36), ("FR", 12.5, 8.7, 24, 22)],
)
def test_the_lowest_window_beats_the_lowest_half_hour(
    shared: Path, zone: str, window: float, lowest_slot: float, worse: float, worst: float
) -> None:
    file = shared / "data" / "grid" / "lww2020_ci_30min.csv.gz"
    if not file.exists():
        pytest.skip(f"no {file}")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        values = np.array([float(row[zone] or "nan") for row in csv.DictReader(lines)])
    now, best = scan(values, STEPS, SLACK)
    sums = window_sums(values, STEPS)
    within = sliding_window_view(values, SLACK + 1)[: len(now)]
    lowest = sums[np.arange(len(now)) + np.where(np.isnan(within), np.inf, within).argmin(axis=1)]
    dearest = sliding_window_view(sums, SLACK + 1)[: len(now)].max(axis=1)
    whole = ~(np.isnan(now) | np.isnan(best) | np.isnan(lowest) | np.isnan(dearest))
    assert whole.mean() > 0.95

    def saved(chosen: np.ndarray, before: np.ndarray) -> float:
        return 100 * (1 - float(chosen[whole].sum() / before[whole].sum()))

    assert saved(best, now) == pytest.approx(window, abs=0.06)
    assert saved(lowest, now) == pytest.approx(lowest_slot, abs=0.06)
    assert saved(best, dearest) == pytest.approx(worst, abs=0.6)
    assert 100 * float((lowest > now * (1 + 1e-9))[whole].mean()) == pytest.approx(worse, abs=0.6)
    assert (scan_cheapest(values, STEPS, SLACK)[whole] <= best[whole] * (1 + 1e-9)).all()
