"""A battery on what could be foreseen: within its limits, never better than knowing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Status, Topic
from negawatt.decisions.site import Battery, Rehearsed, Site, rehearse, yesterday
from negawatt.signals.series import Series

FEW = settings(max_examples=10)
DAYS = 3
STEPS = 24 * DAYS


def site(values: Any, solar: Any, store: Battery | None) -> Site:
    grid = Series(
        zone="DE", topic=Topic.CARBON, unit=GRAMS_PER_KWH, basis=Basis(), source="file",
        status=Status.MEASURED, start=datetime(2026, 6, 1, tzinfo=UTC), step=timedelta(hours=1),
        values=np.asarray(values, dtype=np.float64),
    )  # fmt: skip
    return Site(
        name="roof", intensity=grid, load_w=np.array(800.0), pue=np.array(1.25),
        solar_w=np.asarray(solar, dtype=np.float64), battery=store,
    )  # fmt: skip


def battery(**change: Any) -> Battery:
    told: dict[str, Any] = {
        "capacity_j": 4 * 3.6e6, "charge_w": 1500.0, "discharge_w": 1200.0, "initial_soc": 0.0,
    }  # fmt: skip
    return Battery(**{**told, **change})


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    hours = np.arange(STEPS)
    sun = 4000 * np.maximum(0, np.sin((hours % 24 - 6) / 12 * np.pi)) * dice.uniform(0, 1, STEPS)
    return 300 + 150 * np.sin(hours / 24 * 2 * np.pi) + dice.normal(0, 60, STEPS), sun


def checked(found: Rehearsed, store: Battery) -> None:
    flows = found.flows
    assert np.abs(flows.imbalance()).max() < 1e-6
    assert flows.charge.max() <= store.charge_w + 1e-6
    assert flows.discharge.max() <= store.discharge_w + 1e-6
    assert flows.soc_j.min() >= -1e-3
    assert flows.soc_j.max() <= store.capacity_j * (1 + 1e-9)
    assert min(flows.grid.min(), flows.curtailed.min(), flows.export.min()) >= 0
    assert (flows.discharge * flows.curtailed).max() < 1e-6


@FEW
@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([0.0, 0.02]))
def test_no_forecast_is_better_than_knowing(seed: int, every: int, loss: float) -> None:
    store = battery(loss_per_h=loss)
    own = site(*noisy(seed), store)
    found = rehearse(own, yesterday(own), horizon=24, every=every)
    checked(found, store)
    assert found.grams.value >= found.oracle.value * (1 - 1e-3)
    assert found.kept is not None
    assert found.kept <= 1 + 1e-3


def test_whoever_knows_the_future_keeps_all_of_it() -> None:
    own = site(*noisy(3), battery())

    def known(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        return own.solar_w[first:last], own.intensity.values[first:last]

    whole = rehearse(own, known, horizon=STEPS, every=STEPS)
    assert whole.grams.value == pytest.approx(whole.oracle.value, rel=1e-3)
    near = rehearse(own, known, horizon=24, every=6)
    assert near.kept is not None
    assert near.kept > 0.9
    blind = rehearse(own, yesterday(own), horizon=24, every=6)
    assert blind.grams.value > near.grams.value


def test_days_that_are_alike_are_foreseen_by_the_day_before() -> None:
    values, sun = (np.tile(column[:24], DAYS) for column in noisy(5))
    own = site(values, sun, battery())
    found = rehearse(own, yesterday(own), horizon=30, every=1)
    assert found.kept is not None
    assert found.kept > 0.98


def test_yesterday_looks_only_back() -> None:
    own = site(*noisy(1), battery())
    told = yesterday(own)
    solar, grams = told(30, 60)
    assert solar[:18].tolist() == own.solar_w[6:24].tolist()
    assert grams[:24].tolist() == own.intensity.values[6:30].tolist()
    assert grams[24:].tolist() == own.intensity.values[6:12].tolist()  # two days back by then


def test_a_battery_that_ends_too_empty_is_filled_in_the_dirtiest_step() -> None:
    own = site(*noisy(2), battery(initial_soc=1.0, charge_w=1.0))
    found = rehearse(own, yesterday(own), horizon=12, every=12)
    low = float(found.flows.soc_j[-1])
    assert low < 4 * 3.6e6
    spent = found.flows.grid @ own.intensity.values / 1e3
    filled = (4 - low / 3.6e6) / 0.95 * own.intensity.values.max()
    assert found.grams.value == pytest.approx(spent + filled)


def test_what_cannot_be_rehearsed_is_said() -> None:
    own = site(*noisy(1), battery())
    with pytest.raises(UsageError, match="no battery"):
        rehearse(replace(own, battery=None), yesterday(own), horizon=24)
    with pytest.raises(UsageError, match="cannot be followed"):
        rehearse(own, yesterday(own), horizon=2, every=3)
    odd = replace(own, intensity=replace(own.intensity, step=timedelta(hours=7)))
    with pytest.raises(UsageError, match="no whole number"):
        yesterday(odd)
