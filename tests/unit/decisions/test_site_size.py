"""Sizes of solar and battery: beside a scan of operated sites, and where nothing should be built."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
from negawatt.decisions.site import Battery, Limits, Making, Site, size
from negawatt.decisions.site.operate import emitted
from negawatt.decisions.site.program import solve
from negawatt.signals.series import Series

START = datetime(2022, 6, 1, tzinfo=UTC)
HOURS = np.arange(72)
SUN = np.maximum(0, np.sin((HOURS % 24 - 6) / 12 * np.pi)) * 0.8
YEARS = len(HOURS) / 8766


def factor(value: float, low: float = 0.5, high: float = 2.0) -> Estimate:
    return Estimate(
        value=value, low=low * value, high=high * value, unit="kgCO2e/kWp", kind=Kind.ASSUMED,
        source="a test",
    )  # fmt: skip


def making(**change: Any) -> Making:
    told: dict[str, Any] = {
        "solar_kg_per_kwp": factor(1000), "solar_years": factor(25),
        "battery_kg_per_kwh": factor(80), "battery_years": factor(12),
        "battery_cycles": factor(5000),
    }  # fmt: skip
    return Making(**{**told, **change})


def site(values: Any, **kept: Any) -> Site:
    grams = Series(
        zone="DE", topic=Topic.CARBON, unit=GRAMS_PER_KWH, basis=Basis(), source="file",
        status=Status.MEASURED, start=START, step=timedelta(hours=1),
        values=np.asarray(values, dtype=np.float64),
    )  # fmt: skip
    told: dict[str, Any] = {"load_w": np.array(1000.0), "pue": np.array(1.2)}
    return Site(name="roof", intensity=grams, solar_w=np.array(0.0), **{**told, **kept})


DAILY = site(350 + 200 * np.sin(HOURS / 24 * 2 * np.pi))


def test_no_size_of_a_scan_is_better() -> None:
    """The total of a size, by the program that runs a site at given sizes."""
    found = size(DAILY, SUN, making())
    best = found.best
    assert best.solar_kwp > 0
    assert best.battery_kwh > 0
    scanned = []
    sizes = [*product(np.linspace(0, 2, 5), np.linspace(0, 2, 5), (0, 0.4, 0.8))]
    for kwp, kwh, soc in [*sizes, *((1, 1, soc) for soc in np.linspace(0, 1, 41))]:
        store = Battery(
            capacity_j=kwh * best.battery_kwh * 3.6e6, charge_w=500 * kwh * best.battery_kwh,
            discharge_w=500 * kwh * best.battery_kwh, initial_soc=soc,
        )  # fmt: skip
        own = replace(DAILY, solar_w=1000 * kwp * best.solar_kwp * SUN, battery=store)
        flows = solve(own).flows
        worn = max(kwh * best.battery_kwh / 12, flows.discharge.sum() / 1e3 / YEARS / 5000)
        made = kwp * best.solar_kwp * 1e6 / 25 + worn * 80e3
        scanned.append(emitted(own, flows).value / YEARS + made)
    assert best.grams.value <= min(scanned) * (1 + 1e-4)
    # The scan holds the best size itself, with a battery that begins about as full.
    assert min(scanned) <= best.grams.value * 1.02


def test_what_is_told_adds_up() -> None:
    found = size(DAILY, SUN, making(), ends=True)
    best, (alone, nothing) = found.best, found.beside
    assert best.grams.value < alone.grams.value < nothing.grams.value
    assert nothing.grams.value == pytest.approx(1.2 * DAILY.intensity.values.sum() / YEARS)
    assert nothing.making_g.value == 0
    assert best.making_g.low < best.making_g.value < best.making_g.high
    assert 0 < found.saving < 1
    assert len(found.would_change) == 3
    assert "as if the whole year" in found.notes[0]
    assert found.best.cost is None


def test_solar_alone_is_the_best_of_a_fine_scan() -> None:
    alone = size(DAILY, SUN, making(), Limits(battery_kwh=0)).best
    drawn = 1.2
    totals = {
        kwp: float(np.maximum(drawn - kwp * SUN, 0) @ DAILY.intensity.values) / YEARS + kwp * 4e4
        for kwp in np.linspace(0, 10, 2001)
    }
    assert alone.grams.value <= min(totals.values()) * (1 + 1e-9)
    assert alone.solar_kwp == pytest.approx(min(totals, key=totals.__getitem__), abs=0.01)


@settings(max_examples=12)
@given(st.floats(0, 8), st.floats(0, 8), st.floats(0, 4))
def test_wider_limits_never_are_worse_and_limits_are_kept(
    kwp: float, kwh: float, more: float
) -> None:
    small = size(DAILY, SUN, making(), Limits(solar_kwp=kwp, battery_kwh=kwh)).best
    large = size(DAILY, SUN, making(), Limits(solar_kwp=kwp + more, battery_kwh=kwh + more)).best
    assert small.solar_kwp <= kwp + 1e-5
    assert small.battery_kwh <= kwh + 1e-5
    assert large.grams.value <= small.grams.value * (1 + 1e-5)


def test_on_a_clean_grid_nothing_is_built() -> None:
    best = size(site(np.full(72, 10.0)), SUN, making()).best
    assert best.solar_kwp == pytest.approx(0, abs=1e-6)
    assert best.battery_kwh == 0


def test_a_battery_without_sun_pays_only_where_the_signal_swings() -> None:
    flat = size(site(np.full(72, 900.0)), 0 * SUN, making()).best
    swings = size(site(np.where(HOURS % 24 < 12, 50.0, 900.0)), 0 * SUN, making()).best
    assert (flat.battery_kwh, flat.solar_kwp) == (0, pytest.approx(0, abs=1e-6))
    assert swings.battery_kwh > 1


def test_least_cost_needs_prices_and_follows_them() -> None:
    with pytest.raises(UsageError, match="price of electricity"):
        size(DAILY, SUN, making(), aim="cost")
    priced = replace(
        DAILY,
        price=replace(
            DAILY.intensity, topic=Topic.PRICE, unit="EUR/MWh", basis=None,
            values=np.full(72, 200.0),
        ),
    )  # fmt: skip
    with pytest.raises(UsageError, match="what panels and batteries cost"):
        size(priced, SUN, making(), aim="cost")
    dear = size(priced, SUN, making(solar_price=9e4, battery_price=9e4), aim="cost")
    cheap = size(priced, SUN, making(solar_price=900.0, battery_price=9e4), aim="cost")
    assert dear.best.solar_kwp == pytest.approx(0, abs=1e-6)
    assert dear.best.cost == pytest.approx(1.2 * 72 * 0.2 / YEARS)
    assert cheap.best.solar_kwp > 1
    assert cheap.best.cost is not None
    assert cheap.best.cost < 1.2 * 72 * 0.2 / YEARS


@pytest.mark.parametrize(
    ("values", "sun", "told"),
    [
        (np.full(72, 300.0), SUN[:5], "5 yields"),
        (np.full(72, 300.0), np.full(72, np.nan), "not known"),
        (np.full(5, 300.0), SUN[:5], "too short"),
    ],
)
def test_what_cannot_be_sized_is_said(values: Any, sun: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        size(site(values), sun, making())
    with pytest.raises(UsageError, match="cannot be built"):
        Limits(solar_kwp=-1)


@pytest.mark.slow
def test_a_year_of_hours_is_sized_within_half_a_minute() -> None:
    import time

    hours = np.arange(8760)
    sun = np.maximum(0, np.sin((hours % 24 - 6) / 12 * np.pi)) * (0.5 + 0.3 * np.sin(hours / 1394))
    year = site(350 + 150 * np.sin(hours / 24 * 2 * np.pi) + 50 * np.sin(hours / 300))
    begun = time.process_time()
    found = size(year, sun, making())
    assert time.process_time() - begun < 30
    assert found.best.grams.value < found.beside[-1].grams.value
    assert not found.notes
