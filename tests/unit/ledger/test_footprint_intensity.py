"""Built-in yearly factors, and what happens where there is none."""

from __future__ import annotations

import pytest

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.ledger.footprint import Accounting, Signal, of_zone, zones
from negawatt.ledger.footprint.intensity import stated, world


def test_every_zone_can_be_cited_and_holds_together() -> None:
    table = zones()
    assert len(table) == 123
    for zone in table.values():
        assert zone.source == "Electricity Maps"
        assert zone.licence == "ODbL 1.0"
        assert zone.year == 2022
        assert 0 < zone.hour_low <= zone.mean <= zone.hour_high < 1500, zone
        assert zone.year_low <= zone.mean <= zone.year_high, zone
        assert zone.name


def test_a_zone_says_its_year_source_and_accounting() -> None:
    germany = of_zone("de")

    assert germany.place == "DE (Germany)"
    assert germany.basis.accounting is Accounting.LIFE_CYCLE
    assert germany.basis.signal is Signal.AVERAGE
    assert germany.estimate.kind is Kind.ASSUMED
    assert "2022" in germany.estimate.source
    assert "Electricity Maps" in germany.estimate.source


def test_hours_spread_wider_than_years() -> None:
    hours, years = of_zone("DE").estimate, of_zone("DE", whole_year=True).estimate

    assert hours.low < years.low <= years.value <= years.high < hours.high
    assert hours.value == years.value


def test_a_country_of_many_zones_is_a_band_over_them() -> None:
    country, zone = of_zone("SE"), of_zone("SE-SE3")

    assert country.place == "SE, one of 4 zones at hand"
    assert country.estimate.low <= zone.estimate.low
    assert country.estimate.high >= zone.estimate.high


def test_an_unknown_zone_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        of_zone("XX")
    assert "'XX'" in caught.value.what
    for name in ("DE", "US-CAL-CISO", "--intensity", "world's band"):
        assert name in caught.value.fix


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"did you mean US-CAL-CISO"):
        of_zone("US-CAL-CSO")


def test_no_place_is_the_world_and_says_so() -> None:
    assert world().place == "world, place unknown"
    assert world().estimate.low < world().estimate.high


def test_a_stated_intensity_does_not_pretend_to_know_its_accounting() -> None:
    assert stated(100).basis.accounting is Accounting.UNSTATED
