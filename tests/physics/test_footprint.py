"""Emissions against a case worked by hand, and the invariants of the product."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import GramsPerKWh
from negawatt.ledger.footprint import (
    operational_emissions,
    stated_intensity,
    stated_pue,
    world_intensity,
)


def _band(low: float, value: float, high: float, unit: str, kind: Kind) -> Estimate:
    return Estimate(value=value, low=low, high=high, unit=unit, kind=kind, source="test")


def test_two_kilowatt_hours_at_150_grams_and_pue_1_2_are_360_grams() -> None:
    energy = Estimate.exact(7_200_000, unit="J", source="meter", boundary="machine")

    grams = operational_emissions(energy, stated_intensity(GramsPerKWh(150)), stated_pue(1.2))

    assert (grams.value, grams.low, grams.high, grams.unit) == (360.0, 360.0, 360.0, "gCO2e")
    assert grams.kind is Kind.ASSUMED
    assert grams.boundary == "machine, operation only, facility overhead included"


def test_intervals_multiply_end_by_end() -> None:
    energy = _band(1.8e6, 3.6e6, 7.2e6, "J", Kind.MODELLED)
    intensity = _band(100, 200, 300, "gCO2e/kWh", Kind.MEASURED)

    grams = operational_emissions(energy, intensity)

    assert (grams.low, grams.value, grams.high) == pytest.approx((50, 200, 600))
    assert grams.kind is Kind.MODELLED


@given(
    joules=st.floats(0, 1e12),
    spread=st.floats(0, 1),
    grams=st.floats(0, 2000),
    pue=st.floats(1, 3),
)
def test_overhead_never_lowers_emissions_and_the_interval_holds_the_value(
    joules: float, spread: float, grams: float, pue: float
) -> None:
    energy = _band(joules * (1 - spread), joules, joules * (1 + spread), "J", Kind.MEASURED)
    grid = stated_intensity(GramsPerKWh(grams))

    bare = operational_emissions(energy, grid)
    full = operational_emissions(energy, grid, stated_pue(pue))

    assert bare.low <= bare.value <= bare.high
    assert full.value >= bare.value
    assert full.value == pytest.approx(bare.value * pue)


def test_an_unknown_place_is_a_wide_assumed_band_and_says_so() -> None:
    world = world_intensity()

    assert world.kind is Kind.ASSUMED
    assert world.high > 10 * world.low > 0
    assert "place unknown" in world.boundary
    assert "Ember" in world.source


@pytest.mark.parametrize("wrong", ["kWh", "W"])
def test_energy_in_another_unit_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="J is needed"):
        operational_emissions(Estimate.exact(1, unit=wrong, source="test"), world_intensity())


def test_intensity_in_another_unit_is_refused() -> None:
    lbs = Estimate.exact(900, unit="lb/MWh", source="test")
    with pytest.raises(UsageError, match="gCO2e/kWh is needed"):
        operational_emissions(Estimate.exact(1, unit="J", source="test"), lbs)


def test_a_pue_below_one_is_refused() -> None:
    energy = Estimate.exact(1, unit="J", source="test")
    with pytest.raises(UsageError, match="cannot be below 1"):
        operational_emissions(energy, world_intensity(), stated_pue(0.9))


def test_a_negative_intensity_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot emit"):
        stated_intensity(GramsPerKWh(-1))


def test_every_published_factor_can_be_cited() -> None:
    folder = files("negawatt") / "data" / "factors"
    tables = [item for item in folder.iterdir() if item.name.endswith(".toml")]
    assert tables
    for item in tables:
        for name, entry in tomllib.loads(item.read_text(encoding="utf-8")).items():
            assert entry.keys() >= {"value", "low", "high", "unit", "source", "year", "licence"}, (
                item.name,
                name,
            )
            assert entry["low"] <= entry["value"] <= entry["high"], (item.name, name)
