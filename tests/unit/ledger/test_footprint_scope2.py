"""Both views of purchased electricity, water and primary energy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger.footprint import Basis, Signal, of_zone, stated_pue
from negawatt.ledger.footprint.intensity import stated, world
from negawatt.ledger.footprint.primary import primary_energy
from negawatt.ledger.footprint.scope2 import Instrument, scope2
from negawatt.ledger.footprint.stated import stated_energy
from negawatt.ledger.footprint.water import stated_water, water

KWH = Estimate.exact(3.6e6, unit="J", source="meter", boundary="machine")


def test_a_contract_for_everything_needs_no_residual_mix() -> None:
    wind = Instrument("wind contract", stated(0).estimate)

    found = scope2(KWH, of_zone("DE"), pue=stated_pue(1.2), instruments=[wind])

    assert found.location.value == pytest.approx(481.5 * 1.2)
    assert (found.market.low, found.market.value, found.market.high) == (0, 0, 0)
    assert found.covered == 1
    assert "not needed" in found.residual
    assert "location-based, DE (Germany)" in found.location.boundary
    assert "market-based" in found.market.boundary


def test_an_unknown_residual_mix_is_a_band_up_to_coal() -> None:
    found = scope2(KWH, stated(100))

    assert found.market.low <= 100
    assert found.market.high > 700
    assert found.market.kind is Kind.ASSUMED
    assert "unknown" in found.residual
    assert "no contract or certificate was stated" in found.notes


def test_half_a_contract_leaves_half_to_the_residual_mix() -> None:
    half = Instrument("certificates", stated(20).estimate, share=0.5)

    found = scope2(KWH, stated(400), instruments=[half], residual=stated(600).estimate)

    assert found.market.value == pytest.approx(310)
    assert found.location.value == pytest.approx(400)
    assert found.market.is_exact


def test_marginal_intensities_are_no_inventory() -> None:
    with pytest.raises(UsageError, match="average intensities"):
        scope2(KWH, stated(400, Basis(Signal.MARGINAL)))


@pytest.mark.parametrize("share", [0, 1.1, -0.5])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="cannot cover"):
        Instrument("contract", stated(0).estimate, share=share)


def test_more_than_everything_cannot_be_covered() -> None:
    contracts = [Instrument(n, stated(0).estimate, share=0.7) for n in "ab"]
    with pytest.raises(UsageError, match="more than all of it"):
        scope2(KWH, stated(400), instruments=contracts)


def test_an_unknown_pue_is_said_and_not_counted() -> None:
    found = scope2(KWH, stated(400))
    assert any("PUE unknown" in note for note in found.notes)
    assert "IT equipment only" in found.location.boundary


@given(st.floats(0.01, 1), st.floats(0, 900), st.floats(0, 900), st.floats(1, 2))
def test_the_market_view_lies_between_what_was_bought_and_the_rest(
    share: float, bought: float, rest: float, pue: float
) -> None:
    found = scope2(
        KWH,
        stated(400),
        pue=stated_pue(pue),
        instruments=[Instrument("contract", stated(bought).estimate, share)],
        residual=stated(rest).estimate,
    )
    expected = pue * (share * bought + (1 - share) * rest)
    assert found.market.value == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_water_counts_it_energy_on_site_and_the_building_off_site() -> None:
    used = water(KWH, pue=stated_pue(1.5), onsite=stated_water(0.3), offsite=stated_water(4))

    assert used.onsite.value == pytest.approx(0.3)
    assert used.offsite.value == pytest.approx(6.0)
    assert used.total.value == pytest.approx(6.3)


def test_unknown_water_is_a_band_and_not_nothing() -> None:
    used = water(KWH)

    assert used.onsite.high > used.onsite.value > 0
    assert used.offsite.high > used.offsite.low > 0
    assert "unknown" in used.onsite.boundary
    assert used.total.kind is Kind.ASSUMED


def test_water_is_not_negative() -> None:
    with pytest.raises(UsageError, match="cannot be"):
        stated_water(-1)


def test_primary_energy_is_given_where_the_data_give_it() -> None:
    france = primary_energy(KWH, "FR", stated_pue(2))
    us_zone = primary_energy(KWH, "US-CAL-CISO")

    assert france is not None
    assert us_zone is not None
    assert france.value == pytest.approx(22.6)
    assert us_zone.value == pytest.approx(11.4)
    assert primary_energy(KWH, "ZA") is None
    anywhere = primary_energy(KWH)
    assert anywhere is not None
    assert anywhere.low < anywhere.high
    assert world().place in anywhere.boundary


@pytest.mark.parametrize(
    ("text", "joules"),
    [
        ("5 mWh", 18.0),
        ("5MWh", 18e9),
        ("2 mJ", 0.002),
        ("2MJ", 2e6),
        ("12KWH", 43.2e6),
        ("1.5e3 Wh", 5.4e6),
    ],
)
def test_a_thousandth_is_not_taken_for_a_million(text: str, joules: float) -> None:
    assert stated_energy(text).value == pytest.approx(joules)


@pytest.mark.parametrize("text", ["5 mwh", "5 MWH", "5 mj", "5", "kWh", "-3 kWh", "nan kWh"])
def test_an_energy_that_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no energy"):
        stated_energy(text)
