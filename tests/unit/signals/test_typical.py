"""Typical hours: where they come from, and that their intervals hold what they say."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from negawatt.core.errors import UsageError
from negawatt.core.zones import zones
from negawatt.signals import typical

HOUR = timedelta(hours=1)


def test_every_zone_with_a_year_has_typical_hours() -> None:
    assert set(typical.table()) == set(zones())


@pytest.mark.parametrize("zone", sorted(zones()))
def test_intervals_hold_the_mean_and_the_year_is_the_mean_of_its_hours(zone: str) -> None:
    told = typical.table()[zone]
    assert (told.low <= told.mean).all()
    assert (told.mean <= told.high).all()
    assert told.mean.mean() == pytest.approx(zones()[zone].mean, rel=0.01, abs=1)


def test_seasons_are_those_of_the_months() -> None:
    for month, season in ((12, 0), (2, 0), (3, 1), (6, 2), (11, 3)):
        start = datetime(2026, month, 10, tzinfo=UTC)
        assert (typical.hours("DE", start, start + 24 * HOUR).values
                == typical.table()["DE"].mean[season]).all()  # fmt: skip


def test_a_part_of_an_hour_is_an_hour() -> None:
    start = datetime(2026, 6, 1, 10, 50, tzinfo=UTC)
    series = typical.hours("de", start, start + timedelta(minutes=20))
    assert (len(series), series.start.minute) == (2, 0)


def test_a_zone_without_them_is_told() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="CN"):
        typical.hours("CN", start, start + HOUR)
    with pytest.raises(UsageError, match="XX"):
        typical.year("XX", start, start + HOUR)


def test_nine_hours_in_ten_of_the_year_they_come_from_lie_inside(shared: Path) -> None:
    path = shared / "data" / "grid" / "em2022_ci_lca_hourly_123zones.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    start = datetime(2022, 1, 1, tzinfo=UTC)
    shares = []
    for zone in zones():
        real = np.array([float(row[zone]) for row in rows])
        told = typical.hours(zone, start, start + 8760 * HOUR)
        assert told.low is not None
        assert told.high is not None
        shares.append(float(((told.low <= real + 0.5) & (real - 0.5 <= told.high)).mean()))
    assert min(shares) > 0.88
    assert np.mean(shares) > 0.92
