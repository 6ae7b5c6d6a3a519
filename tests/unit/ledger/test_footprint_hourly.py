"""Emissions hour by hour: weighting, labels that never mix, gaps that are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger.footprint import Accounting, Basis, Signal, stated_pue
from negawatt.ledger.footprint.hourly import IntensitySeries, Span, hourly_emissions

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AVERAGE = Basis(Signal.AVERAGE, Accounting.DIRECT)
MARGINAL = Basis(Signal.MARGINAL, Accounting.DIRECT)


def energy(kwh: float, start: datetime = NOON, step: timedelta = HOUR) -> Span:
    return Span(start, step, Estimate.exact(kwh * 3.6e6, unit="J", source="meter"))


def rate(grams: float, start: datetime = NOON, step: timedelta = HOUR) -> Span:
    return Span(start, step, Estimate.exact(grams, unit="gCO2e/kWh", source="grid"))


def test_the_mean_is_weighted_by_energy_not_by_hours() -> None:
    found = hourly_emissions(
        [energy(1), energy(9, NOON + HOUR)],
        IntensitySeries(AVERAGE, (rate(100), rate(500, NOON + HOUR))),
    )

    assert found.emissions is not None
    assert found.intensity is not None
    assert found.emissions.value == pytest.approx(4600)
    assert found.intensity.value == pytest.approx(460)  # and not 300
    assert found.emissions.kind is Kind.MEASURED
    assert found.complete
    assert "average, direct" in found.emissions.boundary


def test_average_and_marginal_are_never_mixed() -> None:
    average = IntensitySeries(AVERAGE, (rate(100),))
    with pytest.raises(UsageError, match=r"average, direct cannot be mixed with marginal, direct"):
        average + IntensitySeries(MARGINAL, (rate(100, NOON + HOUR),))


def test_direct_and_life_cycle_are_never_mixed() -> None:
    whole = Basis(Signal.AVERAGE, Accounting.LIFE_CYCLE)
    with pytest.raises(UsageError, match="cannot be mixed"):
        IntensitySeries(AVERAGE, (rate(1),)) + IntensitySeries(whole, (rate(2, NOON + HOUR),))


def test_like_series_join() -> None:
    both = IntensitySeries(AVERAGE, (rate(1),)) + IntensitySeries(AVERAGE, (rate(2, NOON + HOUR),))
    assert len(both.spans) == 2


def test_a_gap_is_told_and_not_filled() -> None:
    later = NOON + 2 * HOUR
    found = hourly_emissions(
        [energy(1), energy(2, NOON + HOUR), energy(4, later)],
        IntensitySeries(AVERAGE, (rate(100), rate(300, later))),
    )

    assert found.emissions is not None
    assert found.emissions.value == pytest.approx(100 + 1200)
    (gap,) = found.gaps
    assert (gap.start, gap.end) == (NOON + HOUR, later)
    assert gap.energy.value == pytest.approx(2 * 3.6e6)
    assert not found.complete


def test_with_no_intensity_at_all_the_emissions_are_unknown() -> None:
    found = hourly_emissions([energy(1)], IntensitySeries(AVERAGE, ()))
    assert found.emissions is None
    assert found.intensity is None
    assert len(found.gaps) == 1


def test_a_stretch_over_two_hours_holds_for_any_spread() -> None:
    found = hourly_emissions(
        [energy(2, step=2 * HOUR)],
        IntensitySeries(AVERAGE, (rate(100), rate(300, NOON + HOUR))),
    )

    assert found.emissions is not None
    assert (found.emissions.low, found.emissions.value, found.emissions.high) == pytest.approx(
        (200, 400, 600)
    )
    assert found.emissions.kind is Kind.MODELLED


def test_a_stretch_with_a_hole_does_not_know_how_much_fell_into_it() -> None:
    found = hourly_emissions([energy(2, step=2 * HOUR)], IntensitySeries(AVERAGE, (rate(100),)))

    assert found.emissions is not None
    assert (found.emissions.low, found.emissions.value, found.emissions.high) == pytest.approx(
        (0, 100, 200)
    )
    assert found.gaps[0].energy.high == pytest.approx(2 * 3.6e6)


def test_energy_that_may_lie_in_a_hole_is_never_more_than_there_is() -> None:
    series = IntensitySeries(AVERAGE, (rate(100), rate(100, NOON + HOUR)))
    found = hourly_emissions([energy(3, step=3 * HOUR)], series)

    assert found.covered is not None
    assert found.covered.high == pytest.approx(3 * 3.6e6)
    assert found.covered.value == pytest.approx(2 * 3.6e6)


def test_a_year_of_hours_from_two_sources_names_each_once() -> None:
    spans = [
        Span(
            NOON + i * HOUR,
            HOUR,
            Estimate.exact(100, unit="gCO2e/kWh", source=f"provider {i % 2}"),
        )
        for i in range(8760)
    ]
    found = hourly_emissions(
        [energy(1, NOON + i * HOUR) for i in range(8760)], IntensitySeries(AVERAGE, tuple(spans))
    )

    assert found.emissions is not None
    assert found.intensity is not None
    assert found.emissions.value == pytest.approx(876_000)
    assert found.emissions.source.count("provider 1") == 1
    assert found.intensity.source == "provider 0 + provider 1"


def test_the_building_is_counted_in() -> None:
    series = IntensitySeries(AVERAGE, (rate(100),))
    found = hourly_emissions([energy(1)], series, stated_pue(1.5))
    assert found.emissions is not None
    assert found.emissions.value == pytest.approx(150)


def test_overlaps_and_naive_times_are_refused() -> None:
    with pytest.raises(UsageError, match="overlap"):
        hourly_emissions(
            [energy(1), energy(1, NOON + HOUR / 2)], IntensitySeries(AVERAGE, (rate(1),))
        )
    with pytest.raises(UsageError, match="no stretch of time"):
        energy(1, datetime(2026, 3, 1))  # noqa: DTZ001
    with pytest.raises(UsageError, match="J is needed"):
        hourly_emissions([rate(1)], IntensitySeries(AVERAGE, (rate(1),)))


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)), min_size=1, max_size=24))
def test_hours_add_up_and_the_mean_lies_among_them(hours: list[tuple[float, float]]) -> None:
    starts = [NOON + i * HOUR for i in range(len(hours))]
    series = IntensitySeries(
        AVERAGE, tuple(rate(g, s) for (_, g), s in zip(hours, starts, strict=True))
    )
    found = hourly_emissions(
        [energy(e, s) for (e, _), s in zip(hours, starts, strict=True)], series
    )

    assert found.emissions is not None
    assert found.intensity is not None
    assert found.emissions.value == pytest.approx(sum(e * g for e, g in hours))
    rates = [g for _, g in hours]
    assert min(rates) - 1e-6 <= found.intensity.value <= max(rates) + 1e-6


@given(st.floats(0.1, 100), st.floats(0, 1000))
def test_a_flat_grid_makes_the_cut_of_time_irrelevant(kwh: float, grams: float) -> None:
    whole = hourly_emissions([energy(kwh)], IntensitySeries(AVERAGE, (rate(grams),)))
    halves = tuple(rate(grams, NOON + i * HOUR / 2, HOUR / 2) for i in range(2))
    cut = hourly_emissions([energy(kwh)], IntensitySeries(AVERAGE, halves))

    assert whole.emissions is not None
    assert cut.emissions is not None
    assert cut.emissions.value == pytest.approx(whole.emissions.value)
    assert cut.emissions.low == pytest.approx(cut.emissions.high)
