"""Published worked cases of footprints, to all the digits they were published with."""

from __future__ import annotations

import pytest

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import J_PER_KWH
from negawatt.ledger.footprint.embodied import (
    SECONDS_PER_YEAR,
    Part,
    Reserved,
    embodied_share,
    hardware_share,
    sci_embodied,
    stated_seconds,
)
from negawatt.ledger.footprint.operation import kilowatt_hours
from negawatt.ledger.footprint.remote import Remote, Site, remote_request, stated_size
from negawatt.ledger.footprint.teads import teads_energy
from negawatt.reports.standards.sci import sci_for_ai

HOUR = stated_seconds(3600)


def _exactly(value: float, unit: str) -> Estimate:
    return Estimate.exact(value, unit=unit, source="worked case")


def test_an_hour_of_a_ton_over_four_years() -> None:
    share = embodied_share(
        _exactly(1e6, "gCO2e"), period=HOUR, lifetime=stated_seconds(4 * SECONDS_PER_YEAR)
    )

    assert share.value == pytest.approx(28.538812785, abs=5e-10)
    assert share.kind is Kind.ASSUMED


@pytest.mark.parametrize(
    ("vcpus", "grams"), [(1, 28.538812785388128), (2, 31.39269406392694), (4, 37.10045662100457)]
)
def test_sci_embodied_by_vcpus(vcpus: float, grams: float) -> None:
    share = sci_embodied(HOUR, Reserved(vcpus=vcpus))

    assert share.value == pytest.approx(grams, rel=1e-14)
    assert share.is_exact


def test_sci_embodied_counts_what_is_beyond_the_baseline() -> None:
    more = sci_embodied(HOUR, Reserved(memory_gb=400, ssds=1, hdds=1, gpus=1))
    base = sci_embodied(HOUR)

    # 384 GB are 533 kg; a flash disk is 50 kg, a turning one 100 kg, an accelerator 150 kg
    years = 126_144_000
    assert (more.value - base.value) * years / 3600 == pytest.approx(833_000)


def test_the_teads_curve() -> None:
    energy = teads_energy(_exactly(100, "W"), 0.1, _exactly(360, "s"), (2, 8))

    assert kilowatt_hours(energy).value == pytest.approx(0.0008, rel=1e-12)
    assert energy.kind is Kind.MODELLED
    assert energy.low < energy.value < energy.high


def test_sci_for_ai_of_a_week() -> None:
    found = sci_for_ai(_exactly(6_500_000, "gCO2e"), tokens=50e9)

    assert found.total.value == pytest.approx(130, rel=1e-12)
    assert found.training is None
    assert "training unknown" in found.total.boundary


def test_an_h100_hour_spans_the_literature() -> None:
    share = hardware_share([Part("h100")], period=HOUR)["h100"]

    assert share.low == pytest.approx(3.7, abs=0.05)
    assert share.high == pytest.approx(21.9, abs=0.05)
    assert share.low < share.value < share.high


@pytest.fixture
def answer() -> Remote:
    """A dense model of 7.3 billion parameters, 200 tokens, 5 s, at one described site."""
    site = Site(
        intensity=_exactly(590.478, "gCO2e/kWh"),
        pue=_exactly(1.26, "1"),
        wue=_exactly(0.37, "L/kWh"),
        wue_offsite=_exactly(5.04, "L/kWh"),
    )
    return remote_request(
        stated_size(7.3, 7.3), tokens=200, latency=5.0, site=site, batch=_exactly(64, "requests")
    )


def test_ecologits_energy_use_embodied_and_water(answer: Remote) -> None:
    assert answer.energy.value / J_PER_KWH == pytest.approx(1.536244e-5, abs=5e-12)
    assert answer.usage.value / 1000 == pytest.approx(9.07118e-6, abs=5e-12)
    assert answer.embodied.value / 1000 == pytest.approx(8.13802e-7, abs=5e-13)
    assert answer.water.total.value == pytest.approx(8.193786e-5, abs=5e-12)
    assert answer.accelerators.value == 1
    assert answer.latency.value == 5
    assert answer.emissions.value == pytest.approx(9.07118e-3 + 8.13802e-4, rel=1e-6)


def test_ecologits_latency_without_a_measured_one(answer: Remote) -> None:
    free = remote_request(
        stated_size(7.3, 7.3),
        tokens=200,
        site=Site(_exactly(590.478, "gCO2e/kWh")),
        batch=_exactly(64, "requests"),
    )

    # per token: 6.785088e-4 P + 3.119310e-4 B + 0.0194737 s
    per_token = 6.785088e-4 * 7.3 + 3.119310e-4 * 64 + 0.0194737
    assert free.latency.value == pytest.approx(200 * per_token, rel=1e-6)


@pytest.mark.parametrize(("billions", "boards"), [(7.3, 1), (33, 1), (34, 2), (70, 4), (405, 16)])
def test_ecologits_boards_are_a_power_of_two(billions: float, boards: int) -> None:
    # 2^⌈log2⌈1.2 × P × 16 / 8 / 80⌉⌉
    found = remote_request(
        stated_size(billions, billions), tokens=1, site=Site(_exactly(1, "gCO2e/kWh"))
    )

    assert found.accelerators.value == boards
