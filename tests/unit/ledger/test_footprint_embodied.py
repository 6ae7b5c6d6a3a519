"""Shares of making hardware, idle draw, remote models, and all of it in one account."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import table
from negawatt.ledger.footprint import stated_pue
from negawatt.ledger.footprint.account import Hold, Site, account
from negawatt.ledger.footprint.embodied import (
    SECONDS_PER_YEAR,
    Part,
    embodied_share,
    hardware_share,
    parts,
    stated_seconds,
    together,
)
from negawatt.ledger.footprint.idle import idle_energy, idle_power
from negawatt.ledger.footprint.intensity import stated, world_intensity
from negawatt.ledger.footprint.remote import (
    BILLIONS,
    Size,
    models,
    remote_request,
    stated_size,
)
from negawatt.ledger.footprint.remote import Site as Place
from negawatt.ledger.footprint.remote import model as remote_model
from negawatt.ledger.footprint.teads import teads_energy, teads_power_share

HOUR = stated_seconds(3600)
KWH = Estimate.exact(3.6e6, unit="J", source="meter", boundary="machine")
TON = Estimate.exact(1e6, unit="gCO2e", source="maker")
YEAR = stated_seconds(SECONDS_PER_YEAR)


@pytest.mark.parametrize(
    ("text", "name", "amount"), [("h100:8", "h100", 8), ("RAM:512", "ram", 512), ("cpu", "cpu", 1)]
)
def test_hardware_is_named_with_an_amount(text: str, name: str, amount: float) -> None:
    assert Part.parse(text) == Part(name, amount)


@pytest.mark.parametrize("text", ["", "h100:", "h100:x", "h 100", "lifetime_gpu", "toaster:2"])
def test_other_hardware_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Part.parse(text)


def test_an_unknown_part_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        Part.parse("toaster")
    assert all(name in caught.value.fix for name in parts())


@pytest.mark.parametrize("name", parts())
def test_every_part_has_a_spread(name: str) -> None:
    factor = Part(name).factor()
    assert 0 < factor.low < factor.high
    assert factor.unit in {"kgCO2e", "kgCO2e/GB"}


@given(st.floats(0, 1), st.floats(0, SECONDS_PER_YEAR))
def test_shares_are_proportional_and_never_more_than_the_whole(share: float, t: float) -> None:
    found = embodied_share(TON, period=stated_seconds(t), lifetime=YEAR, share=share)
    assert 0 <= found.low <= found.value <= found.high <= TON.value * (1 + 1e-9)
    assert found.value == pytest.approx(TON.value * share * t / SECONDS_PER_YEAR)


def test_a_long_life_makes_a_small_share() -> None:
    lifetime = Estimate(
        value=4, low=3, high=6, unit="s", kind=Kind.ASSUMED, source="range of practice"
    ).scaled(SECONDS_PER_YEAR)
    found = embodied_share(TON, period=YEAR, lifetime=lifetime)
    assert (found.low, found.value, found.high) == pytest.approx((1e6 / 6, 1e6 / 4, 1e6 / 3))


def test_more_time_than_a_lifetime_and_more_than_all_are_refused() -> None:
    with pytest.raises(UsageError, match="no part of a lifetime"):
        embodied_share(TON, period=YEAR.scaled(2), lifetime=YEAR)
    with pytest.raises(UsageError, match="cannot be reserved"):
        embodied_share(TON, period=HOUR, lifetime=YEAR, share=1.5)


def test_parts_add_up_and_nothing_named_is_unknown() -> None:
    shares = hardware_share([Part("h100", 8), Part("gpu-server"), Part("h100", 8)], period=HOUR)
    one = hardware_share([Part("h100")], period=HOUR)["h100"]
    total = together(shares)
    assert total is not None
    assert shares["h100"].value == pytest.approx(16 * one.value)
    assert total.value == pytest.approx(sum(share.value for share in shares.values()))
    assert together({}) is None


def test_idle_energy_is_that_of_the_hours_not_busy() -> None:
    watts = idle_power(Part("h100", 8))
    assert watts is not None
    found = idle_energy(watts, reserved=HOUR.scaled(24), busy=HOUR.scaled(18))
    assert found.value == pytest.approx(8 * 70 * 6 * 3600)
    with pytest.raises(UsageError, match="busy for"):
        idle_energy(watts, reserved=HOUR, busy=HOUR.scaled(2))


def test_the_teads_curve_meets_its_points_and_rises() -> None:
    loads = (0, 0.1, 0.5, 1)
    assert [teads_power_share(load).value for load in loads] == pytest.approx(
        [0.12, 0.32, 0.75, 1.02]
    )
    watts = Estimate.exact(200, unit="W", source="data sheet")
    energies = [teads_energy(watts, load / 20, HOUR).value for load in range(21)]
    assert energies == sorted(energies)
    with pytest.raises(UsageError, match="no share"):
        teads_power_share(1.01)
    with pytest.raises(UsageError, match="vCPUs"):
        teads_energy(watts, 0.5, HOUR, (9, 8))


def test_a_range_of_sizes_is_a_range_of_energies() -> None:
    place = Place(world_intensity())
    small, large = (
        remote_request(stated_size(b, b), tokens=100, site=place) for b in (20.0, 400.0)
    )
    unknown = remote_request(stated_size(20, 400), tokens=100, site=place)

    assert unknown.energy.low == pytest.approx(small.energy.low)
    assert unknown.energy.high == pytest.approx(large.energy.high)
    assert unknown.embodied.low < unknown.embodied.value < unknown.embodied.high
    assert unknown.energy.kind is Kind.ASSUMED


def test_a_mixture_costs_less_than_a_dense_model_of_its_size() -> None:
    place = Place(world_intensity())
    sparse = remote_request(stated_size(400, 400, (17, 17)), tokens=100, site=place)
    dense = remote_request(stated_size(400, 400), tokens=100, site=place)

    assert sparse.energy.value < dense.energy.value
    assert sparse.accelerators.value == dense.accelerators.value


def test_an_unknown_remote_model_is_an_error_with_the_way_out() -> None:
    with pytest.raises(UsageError) as caught:
        remote_model("nobody/nothing")
    assert "--params 20:400" in caught.value.fix
    assert "openai/gpt-4o" in caught.value.fix


@pytest.mark.parametrize("name", models())
def test_every_remote_model_can_be_worked_out(name: str) -> None:
    found = remote_request(models()[name], tokens=10, site=Place(world_intensity()))
    assert 0 < found.energy.low <= found.energy.value <= found.energy.high
    assert "/" in name


def test_sizes_that_cannot_be_are_refused() -> None:
    eight = Estimate.exact(8, unit=BILLIONS, source="t")
    with pytest.raises(UsageError, match="describe no model"):
        Size(active=eight, total=eight.scaled(0.5))
    with pytest.raises(UsageError, match="no answer"):
        remote_request(Size(eight, eight), tokens=0, site=Place(world_intensity()))


def test_an_account_holds_every_figure() -> None:
    hold = Hold(parts=(Part("h100", 8),), period=HOUR.scaled(24), share=0.5, busy=HOUR.scaled(12))
    found = account(KWH, Site(grid=stated(400), zone="FR", pue=stated_pue(1.5)), hold)

    assert found.idle is not None
    assert found.idle.value == pytest.approx(8 * 70 * 0.5 * 12 * 3600)
    assert found.energy.value == pytest.approx(KWH.value + found.idle.value)
    assert found.facility.value == pytest.approx(found.energy.value * 1.5)
    assert found.scope2.location.value == pytest.approx(found.facility.value / 3.6e6 * 400)
    assert found.embodied is not None
    assert found.embodied.value == pytest.approx(8 * 273e3 * 0.5 * 24 / (4 * 8760))
    assert found.emissions is not None
    assert found.emissions.value == pytest.approx(
        found.scope2.location.value + found.embodied.value
    )
    assert found.primary is not None


def test_what_is_unknown_in_an_account_is_none_with_a_note() -> None:
    found = account(KWH, Site(grid=stated(400), zone="ZA"))

    assert found.embodied is None
    assert found.emissions is None
    assert found.primary is None
    assert any("embodied share unknown" in note for note in found.notes)
    assert any("primary energy unknown" in note for note in found.notes)


def test_idle_draw_nobody_published_is_said() -> None:
    hold = Hold(parts=(Part("h100"), Part("ram", 512)), period=HOUR, busy=HOUR.scaled(0.5))
    found = account(KWH, Site(grid=stated(400)), hold)
    assert any("idle draw of ram unknown" in note for note in found.notes)
    with pytest.raises(UsageError, match="idle energy is unknown"):
        account(
            KWH,
            Site(grid=stated(1)),
            Hold(parts=(Part("ram", 8),), period=HOUR, busy=HOUR),
        )


FACTORS = Path(str(files("negawatt") / "data" / "factors"))


@pytest.mark.parametrize("name", sorted(file.stem for file in FACTORS.glob("*.toml")))
def test_a_figure_that_nobody_read_again_says_so_where_it_is_shown(name: str) -> None:
    for factor in table(name).values():
        if "recalled" in factor.note:
            assert "recalled" in factor.estimate().source, factor.name


def test_the_sources_of_hardware_that_were_read_name_their_figures() -> None:
    known = table("embodied")
    for name in ("cpu", "ram", "ssd"):
        assert "recalled" not in known[name].source + known[name].note
    module = (4 / 1.79 * 2.2 + 5.22) / 4  # a module of 4 GB by the Boavizta methodology [kg/GB]
    assert known["ram"].high == pytest.approx(module, rel=0.02)
    assert known["cpu"].value == pytest.approx(9.14 + 8 * 1.97, rel=0.01)
    assert "recalled" in known["server"].estimate().source
