"""Intervals from how a provider missed before: when there are any, and that they hold."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Reading, Signal, Status, Topic
from negawatt.signals.kept import Kept
from negawatt.signals.ladder import Question, Rung, look_ahead
from negawatt.signals.misses import banded, misses
from negawatt.signals.series import Column, Series
from negawatt.signals.store import Store

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def series(values: Column, start: datetime, issued: datetime | None = None) -> Series:
    return Series(
        zone="DE", topic=Topic.CARBON, unit=GRAMS_PER_KWH, basis=Basis(), source="it",
        status=Status.FORECAST if issued else Status.MEASURED, start=start, step=HOUR,
        values=values, issued_at=issued,
    )  # fmt: skip


def world(days: int, spread: float, seed: int = 0) -> tuple[list[Series], Series]:
    """A forecast a day that misses by chance, and what happened."""
    dice = np.random.default_rng(seed)
    real = 300 + 50 * np.sin(np.arange(24 * (days + 1)) / 24 * 2 * np.pi)
    made = [
        series(
            real[24 * n : 24 * n + 24] + dice.normal(0, spread, 24),
            BEGIN + n * DAY,
            BEGIN + n * DAY,
        )
        for n in range(days)
    ]
    return made, series(real, BEGIN)


def test_an_interval_is_as_wide_as_misses_were() -> None:
    made, past = world(20, 10.0)
    found = banded(made[-1], misses(made[:-1], past))
    assert found.low is not None
    assert found.high is not None
    width = float((found.high - found.low).mean())
    assert 2 * 1.645 * 10 * 0.9 < width < 2 * 1.645 * 10 * 1.4
    assert (found.low <= found.values).all()
    assert (found.values <= found.high).all()
    assert (found.values == made[-1].values).all()


def test_one_sided_misses_still_hold_the_forecast_and_grams_stay_above_zero() -> None:
    made, past = world(20, 1.0)
    low_ones = [replace(one, values=one.values - 400) for one in made]
    found = banded(
        series(np.full(24, 20.0), BEGIN + 20 * DAY, BEGIN + 20 * DAY), misses(low_ones, past)
    )
    assert found.low is not None
    assert found.high is not None
    assert (found.low <= 20).all()
    assert (found.low >= 0).all()
    assert (found.high > 400).all()


def test_few_days_tell_nothing() -> None:
    made, past = world(6, 10.0)
    assert banded(made[-1], misses(made, past)).low is None
    assert misses([], past) is None
    assert banded(made[-1], None) is made[-1]


def test_farther_ahead_than_any_that_is_over_nothing_is_told() -> None:
    made, past = world(20, 10.0)
    far = series(np.full(72, 300.0), BEGIN + 20 * DAY, BEGIN + 20 * DAY)
    assert banded(far, misses(made, past)).low is None


def test_a_forecast_with_an_interval_keeps_it() -> None:
    made, past = world(20, 10.0)
    own = replace(made[-1], low=made[-1].values - 1, high=made[-1].values + 1)
    assert banded(own, misses(made, past)) is own


def test_kinds_are_not_set_beside_each_other() -> None:
    made, past = world(10, 10.0)
    with pytest.raises(UsageError, match="cannot be mixed"):
        misses(made, replace(past, basis=Basis(Signal.MARGINAL)))


class Provider:
    """Foresees a day, and tells what happened."""

    name, topic, basis = "it", Topic.CARBON, Basis()

    def __init__(self) -> None:
        self.made, self.real = world(20, 10.0)
        self.now, self.status, self.out = BEGIN, Status.MEASURED, False

    def _readings(self, told: Series, status: Status, source: str = "it") -> list[Reading]:
        return [
            Reading("DE", Topic.CARBON, at, HOUR, float(value), GRAMS_PER_KWH, status, source,
                    Basis(), told.issued_at)
            for at, value in zip(told.times(), told.values, strict=True)
        ]  # fmt: skip

    def past(self, zone: str, start: datetime, end: datetime) -> list[Reading]:
        if self.out:
            raise SignalUnavailable("it is out", fix="wait")
        return [r for r in self._readings(self.real, self.status) if start <= r.start < end]

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> list[Reading]:
        return self._readings(self.made[(self.now - BEGIN) // DAY], Status.FORECAST)


def asked_daily(tmp_path: Path, days: int) -> tuple[Provider, Kept]:
    provider = Provider()
    store = Store(tmp_path, lambda: provider.now)
    kept = Kept(provider, store, "it://", lambda: provider.now)
    for _ in range(days):
        kept.ahead("DE", provider.now, provider.now + DAY)
        provider.now += DAY
    return provider, kept


def test_whoever_is_asked_daily_gets_an_interval_after_a_week(tmp_path: Path) -> None:
    for days, known in ((5, False), (10, True)):
        provider, kept = asked_daily(tmp_path / str(days), days)
        asked = Question(zone="DE", start=provider.now, end=provider.now + DAY, now=provider.now)
        outlook = look_ahead(asked, [kept])
        assert outlook.rung is Rung.LIVE
        assert (outlook.series.low is not None) == known
        assert any("how it missed" in one for one in outlook.remarks) == known


def test_a_past_of_guesses_or_none_at_all_tells_nothing(tmp_path: Path) -> None:
    provider, kept = asked_daily(tmp_path, 12)
    provider.status = Status.ESTIMATED
    assert kept.misses("DE", provider.now) is None
    provider, kept = asked_daily(tmp_path / "another", 12)
    provider.out = True
    assert kept.misses("DE", provider.now) is None
    assert Kept(provider, None, "it://").misses("DE", provider.now) is None


def test_nine_hours_in_ten_lie_inside_on_real_day_ahead_forecasts(shared: Path) -> None:
    path = shared / "data" / "grid" / "dacf2021h2_dayahead_forecast.csv.gz"
    told: dict[str, list[tuple[float, float]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            pair = float(row["ci_actual"] or "nan"), float(row["ci_forecast_dayahead"] or "nan")
            told.setdefault(row["region"], []).append(pair)
    shares = {}
    for region, pairs in told.items():
        real, foreseen = np.array(pairs).T
        past = series(real, BEGIN)
        made = [
            series(foreseen[24 * n : 24 * n + 24], BEGIN + n * DAY, BEGIN + n * DAY)
            for n in range(len(real) // 24)
        ]
        inside = []
        for n in range(15, len(made)):
            known = misses(made[n - 15 : n], past)
            found = banded(made[n], known)
            if found.low is None or found.high is None:
                continue
            here = real[24 * n : 24 * n + 24]
            known_hours = ~np.isnan(here)
            held = (found.low <= here) & (here <= found.high)
            inside.append(float(held[known_hours].mean()))
        assert len(inside) > 150
        shares[region] = float(np.mean(inside))
    assert min(shares.values()) > 0.86, shares
    assert 0.88 < float(np.mean(list(shares.values()))) < 0.93, shares
