"""Built-in yearly factors, and what happens where there is none."""

from __future__ import annotations

import pytest

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.ledger.footprint import Accounting, Signal, of_zone, zones
from negawatt.ledger.footprint.intensity import countries, stated, world


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


def test_every_country_can_be_cited_and_no_other_table_speaks_for_it() -> None:
    assert {"CN", "RU", "SA", "MX", "VN", "EG", "TH", "MY", "AE", "AR"} <= countries().keys()
    spanned = {code.partition("-")[0] for code in zones()} - {"CA", "IN"}
    for country in countries().values():
        assert country.code not in spanned, country
        assert 2021 <= country.year <= 2025
        assert 10 < country.mean < 1500
        assert "Ember" in country.source
        assert country.licence == "CC BY 4.0"


def test_a_country_without_hours_spreads_as_other_grids_do() -> None:
    hours, years = of_zone("cn"), of_zone("CN", whole_year=True)

    assert hours.place == "CN (China)"
    assert hours.estimate.value == years.estimate.value == 582.3
    assert hours.estimate.low < years.estimate.low < hours.estimate.value
    assert hours.estimate.value < years.estimate.high < hours.estimate.high
    assert hours.estimate.kind is Kind.ASSUMED
    assert "2023" in hours.estimate.source
    assert "as the hours of other grids spread" in hours.estimate.source
    inside = [
        zone.hour_low >= zone.mean * hours.estimate.low / hours.estimate.value
        for zone in zones().values()
    ]
    assert sum(inside) / len(inside) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(("code", "mean"), [("CA", 170.0), ("IN", 713.4)])
def test_a_few_zones_do_not_speak_for_their_country_and_are_inside_its_interval(
    code: str, mean: float
) -> None:
    few = [zone for name, zone in zones().items() if name.startswith(f"{code}-")]
    assert 0 < len(few) < 4
    for whole_year in (False, True):
        found = of_zone(code, whole_year=whole_year).estimate
        assert found.value == mean
        assert f"{len(few)} of its zones" in found.source
        for zone in few:
            single = of_zone(zone.code, whole_year=whole_year).estimate
            assert found.low <= single.low
            assert single.high <= found.high
