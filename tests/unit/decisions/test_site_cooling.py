"""Cooling by weather: published values, bounds, and eight real climates."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.factors import table
from negawatt.decisions.site.cooling import (
    Cooled,
    Envelope,
    Mode,
    Plant,
    cool,
    dew_point,
    wet_bulb,
)
from negawatt.decisions.site.water import site_water

A1 = Envelope(name="A1", dry_high=32, dew_low=-12, dew_high=17)
RECOMMENDED = Envelope(name="recommended", dry_high=27, dew_low=-9, dew_high=15)
PARTS = ("overhead", "fans", "pumps", "carnot", "evaporation", "concentration")


def plant(**change: Any) -> Plant:
    known = table("site_energy")
    return Plant(**{**{name: known[name].value for name in PARTS}, **change})


def at(dry: float, humidity: float, envelope: Envelope = RECOMMENDED, **change: Any) -> Cooled:
    return cool(np.array([dry]), np.array([humidity]), envelope, plant(**change))


WEATHER = st.lists(
    st.tuples(st.floats(-20, 45), st.floats(0.05, 1.0)), min_size=1, max_size=30
).map(lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True)))


def test_wet_bulb_and_dew_point_are_those_of_the_tables() -> None:
    # Stull's own example, and psychrometric tables at sea level, within the fit's own bounds.
    assert float(wet_bulb(np.array([20.0]), np.array([0.5]))[0]) == pytest.approx(13.7, abs=0.05)
    for dry, humidity, wet, dew in (
        (30, 0.5, 22.0, 18.4),
        (10, 0.8, 8.2, 6.7),
        (35, 0.2, 18.8, 8.7),
    ):
        assert wet_bulb(np.array([dry]), np.array([humidity]))[0] == pytest.approx(wet, abs=1.0)
        assert dew_point(np.array([dry]), np.array([humidity]))[0] == pytest.approx(dew, abs=0.2)


@given(WEATHER)
def test_bounds_hold_in_any_weather(weather: tuple[np.ndarray, np.ndarray]) -> None:
    dry, humidity = weather
    assert (wet_bulb(dry, humidity) <= dry).all()
    assert (dew_point(dry, humidity) <= dry + 1e-9).all()
    for change in ({}, {"tower": False}, {"evaporative": True}, {"outside_air": False}):
        free = cool(dry, humidity, RECOMMENDED, plant(**change))
        always = cool(dry, humidity, RECOMMENDED, plant(**change), free=False)
        wider = cool(dry, humidity, A1, plant(**change))
        assert (free.pue >= 1).all()
        assert (free.pue <= always.pue + 1e-12).all()
        assert wider.free >= free.free
        # Warmer air costs no more, but for the pumps of a dry cooler that stands in for water.
        assert (wider.pue <= free.pue + plant().pumps + 1e-12).all()
        assert (free.wue >= 0).all()
        assert always.free == 0


def test_each_way_is_taken_where_it_can_be() -> None:
    assert at(15, 0.6).mode[0] == Mode.OUTSIDE_AIR
    assert at(5, 0.2).mode[0] == Mode.DRY_COOLER  # too dry a dew point for the servers
    assert at(31, 0.1, evaporative=True).mode[0] == Mode.EVAPORATION
    assert at(31, 0.1).mode[0] == Mode.CHILLER
    assert at(26, 0.9).mode[0] == Mode.CHILLER  # too damp
    assert at(31, 0.1, A1).mode[0] == Mode.OUTSIDE_AIR


def test_water_is_what_leaves_by_evaporation() -> None:
    assert at(15, 0.6).wue[0] == 0
    assert at(35, 0.5, tower=False).wue[0] == 0
    hot = at(35, 0.5)
    driven = hot.pue[0] - 1 - 0.06 - 0.04 - 0.03
    assert hot.wue[0] == pytest.approx((1.04 + driven) * 1.32 * 4 / 3)
    # A kelvin more to be cooled by evaporation is a twelfth of the heat more.
    two, one = (at(dry, 0.15, evaporative=True).wue[0] for dry in (29, 28))
    assert two == pytest.approx(2 * one)
    # Air at 20 degC and 5 % holds some 0.7 g/kg, a dew point of -9 degC 1.8: 298 kg carry a kWh.
    assert at(20, 0.05, evaporative=True).wue[0] == pytest.approx(
        1.04 * 298 * 1.14e-3 * 4 / 3, rel=0.15
    )


def test_water_of_a_site_is_weighed_by_hours_and_by_scarcity() -> None:
    it, grid = np.array([3.6e6, 10.8e6]), np.array([3.6e6, 0.0])
    found = site_water(it, grid, wue=np.array([2.0, 0.0]), stress=10.0)
    assert found.used.onsite.value == pytest.approx(2.0)
    assert found.weighted is not None
    assert found.weighted.value == pytest.approx(20.0)
    assert found.used.offsite.value == pytest.approx(table("water")["offsite"].value)
    unknown = site_water(it, grid)
    assert unknown.weighted is None
    assert unknown.used.onsite.high > unknown.used.onsite.value  # a band, not zero
    with pytest.raises(UsageError, match="water stress"):
        site_water(it, grid, stress=-1)


@pytest.mark.parametrize(
    ("dry", "humidity"), [([20.0], [50.0]), ([np.nan], [0.5]), ([20.0, 21.0], [0.5])]
)
def test_weather_that_cannot_be_is_refused(dry: list[float], humidity: list[float]) -> None:
    with pytest.raises(UsageError, match="weather"):
        cool(np.array(dry), np.array(humidity), A1, plant())


@pytest.mark.parametrize("change", [{"fans": -0.1}, {"carnot": 0.0}, {"concentration": 1.0}])
def test_a_plant_that_cannot_be_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="cooling plant"):
        plant(**change)


@pytest.fixture(scope="module")
def climates(shared: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    file = shared / "data/grid/placement/weather_typical_year_us8_hourly.csv.gz"
    with gzip.open(file, "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            found[row["station"]].append(
                (
                    float(row["dry_bulb_c"]),
                    float(row["rel_hum_pct"]) / 100,
                    float(row["dew_point_c"]),
                )
            )
    return {name: tuple(np.array(rows).T) for name, rows in found.items()}  # type: ignore[misc]


def test_real_climates_rank_as_they_are_known_to(climates: dict[str, Any]) -> None:
    assert len(climates) == 8
    free, pue = {}, {}
    for name, (dry, humidity, dew) in climates.items():
        assert len(dry) == 8760
        assert np.abs(dew_point(dry, humidity) - dew).mean() < 0.5
        cooled = cool(dry, np.minimum(humidity, 1), RECOMMENDED, plant())
        free[name.split("_")[1]], pue[name] = cooled.free, float(cooled.pue.mean())
        assert 1.05 < pue[name] < 1.35
    hottest = min(free, key=free.__getitem__)
    assert hottest in {"AZ", "FL", "GA", "TX"}
    assert free["WA"] > free["TX"]
    # Phoenix is dry: evaporation replaces most of its chiller.
    dry, humidity, _ = next(value for name, value in climates.items() if "Phoenix" in name)
    without = cool(dry, np.minimum(humidity, 1), A1, plant())
    with_water = cool(dry, np.minimum(humidity, 1), A1, plant(evaporative=True))
    assert with_water.free > without.free
