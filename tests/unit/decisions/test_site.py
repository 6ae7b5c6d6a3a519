"""A site with solar and battery: balanced, within limits, never worse for having more."""

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
from negawatt.decisions.site import Battery, Operation, Site, operate, run_now
from negawatt.decisions.when import Job
from negawatt.signals.series import Series

START = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
KWH = 3.6e6
FEW = settings(max_examples=25)


def series(values: Any, **kept: Any) -> Series:
    told: dict[str, Any] = {
        "zone": "DE", "topic": Topic.CARBON, "unit": GRAMS_PER_KWH, "basis": Basis(),
        "source": "file", "status": Status.MEASURED, "start": START, "step": HOUR,
    }  # fmt: skip
    return Series(**{**told, **kept}, values=np.asarray(values, dtype=np.float64))


def job(name: str, hours: float, first: float, last: float, **kept: Any) -> Job:
    return Job(
        name=name, work_s=3600 * hours, power_w=500.0, release=START + first * HOUR,
        deadline=START + last * HOUR, **kept,
    )  # fmt: skip


def site(values: Any, solar: Any = 0.0, **kept: Any) -> Site:
    told: dict[str, Any] = {"name": "roof", "load_w": np.array(800.0), "pue": np.array(1.25)}
    return Site(
        **{**told, **kept}, intensity=series(values), solar_w=np.asarray(solar, dtype=np.float64)
    )


def battery(kwh: float = 2.0, **kept: Any) -> Battery:
    told: dict[str, Any] = {"charge_w": 900.0, "discharge_w": 900.0, "initial_soc": 0.0}
    return Battery(capacity_j=kwh * KWH, **{**told, **kept})


def checked(found: Operation) -> Operation:
    """Balanced, within every limit, and with every job done in its window."""
    flows, own = found.flows, found.site
    largest = max(1.0, float(flows.facility.max()), float(flows.solar.max()))
    assert np.abs(flows.imbalance()).max() < 1e-6 * largest
    assert (flows.export <= flows.solar + 1e-6).all()
    assert (flows.curtailed <= flows.solar + 1e-6).all()
    if own.battery:
        store = own.battery
        slack = 1e-6 * max(1.0, store.capacity_j)
        assert flows.charge.max() <= store.charge_w + 1e-6
        assert flows.discharge.max() <= store.discharge_w + 1e-6
        assert flows.soc_j.max() <= store.capacity_j + slack
        assert flows.soc_j[1:].min() >= store.min_soc * store.capacity_j - slack
        assert flows.soc_j[-1] >= store.ends_at * store.capacity_j - slack
        kept = (1 - store.loss_per_h) ** own.step_h
        dt = own.intensity.step_s
        next_ = (
            flows.soc_j[:-1] * kept
            + flows.charge * store.charge_efficiency * dt
            - flows.discharge / store.discharge_efficiency * dt
        )
        assert np.abs(next_ - flows.soc_j[1:]).max() <= slack + 1e-3
    else:
        assert flows.charge.max() == flows.discharge.max() == 0
    for one in own.jobs:
        power = flows.jobs[one.name]
        assert power.sum() * own.intensity.step_s == pytest.approx(one.planned_s * one.power_w)
        times = np.array(own.intensity.times())
        outside = (times + HOUR <= one.release) | (times >= one.deadline)
        assert not power[outside].any()
        assert power.max() <= one.power_w * (1 + 1e-6)
    return found


GRAMS = st.lists(st.floats(5, 900), min_size=6, max_size=18)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    values = draw(GRAMS)
    steps = len(values)
    solar = draw(st.lists(st.floats(0, 3000), min_size=steps, max_size=steps))
    jobs = []
    for number in range(draw(st.integers(0, 2))):
        first = draw(st.floats(0, steps - 3))
        hours = draw(st.floats(0.5, 2.5))
        last = draw(st.floats(first + hours, steps))
        jobs.append(job(f"job {number}", hours, first, last, interruptible=draw(st.booleans())))
    store = battery(
        draw(st.floats(0, 8)),
        charge_efficiency=draw(st.floats(0.8, 1)),
        discharge_efficiency=draw(st.floats(0.8, 1)),
        wear_g_per_kwh=draw(st.sampled_from([0.0, 25.0])),
        initial_soc=draw(st.sampled_from([0.0, 0.5])),
    )
    return site(
        values,
        solar,
        jobs=tuple(jobs),
        battery=draw(st.sampled_from([None, store])),
        export_w=draw(st.sampled_from([0.0, 200.0, None])),
        avoided=draw(st.sampled_from([0.0, 0.0, 1.0])),
    )


@FEW
@given(sites())
def test_every_step_is_balanced_and_every_limit_kept(own: Site) -> None:
    found = checked(operate(own))
    told = {way.what: way.grams.value for way in found.beside}
    bare = told["no solar, no battery, run now"]
    assert bare - sum(found.saved.values()) == pytest.approx(found.grams.value, abs=1e-6)
    for grams in told.values():  # no poorer way is better
        assert found.grams.value <= grams + 1e-3 * max(1.0, abs(grams))


@FEW
@given(GRAMS, st.floats(0, 2000), st.floats(0, 5), st.floats(1, 3))
def test_more_solar_or_battery_never_is_worse(
    values: list[float], peak: float, kwh: float, more: float
) -> None:
    sun = peak * np.maximum(0, np.sin(np.arange(len(values)) / 3))
    own = site(values, sun, battery=battery(kwh), jobs=(job("a", 2, 0, len(values)),))
    larger = replace(own, battery=battery(kwh * more))
    sunnier = replace(own, solar_w=sun * more)
    grams = operate(own).grams.value
    slack = 1e-3 * grams + 1e-6
    assert operate(larger).grams.value <= grams + slack
    assert operate(sunnier).grams.value <= grams + slack


@FEW
@given(st.floats(1, 900), st.floats(0.8, 1), st.floats(0, 8))
def test_on_a_flat_signal_without_solar_the_battery_rests(
    grams: float, efficiency: float, kwh: float
) -> None:
    store = battery(kwh, charge_efficiency=efficiency, initial_soc=0.4)
    found = checked(operate(site([grams] * 8, battery=store)))
    assert found.flows.charge.max() < 1e-6
    assert found.flows.discharge.max() < 1e-6
    assert found.saved["battery"] == pytest.approx(0, abs=1e-6)


def test_a_battery_moves_what_a_person_would_move() -> None:
    """1 kWh an hour is drawn; 2 kWh can be stored; half is lost on the way round."""
    store = battery(2, charge_w=2000, discharge_w=1000, charge_efficiency=0.5,
                    discharge_efficiency=1.0)  # fmt: skip
    found = checked(operate(site([100, 100, 500, 500], battery=store)))
    # 4 kWh bought at 100 g are 2 kWh that replace 500 g: 200 + 400 g instead of 200 + 1000 g.
    assert found.grams.value == pytest.approx(600)
    assert found.saved == pytest.approx({"solar": 0, "battery": 600, "shifting": 0})


def test_a_battery_rests_when_its_wear_costs_more_than_it_saves() -> None:
    worn = battery(2, wear_g_per_kwh=450.0)
    assert checked(operate(site([100, 500], battery=worn))).flows.discharge.max() < 1e-6
    fresh = replace(worn, wear_g_per_kwh=50.0)
    found = operate(site([100, 500], battery=fresh))
    assert found.wear == pytest.approx(0.05 * found.flows.discharge.sum())
    assert found.wear > 0


def test_exports_earn_nothing_unless_asked_for() -> None:
    own = site([400, 400], [3000, 0], export_w=None)
    plain, credited = operate(own), operate(replace(own, avoided=1.0))
    assert plain.grams.value == pytest.approx(400)  # the dark hour
    assert credited.grams.value == pytest.approx(400 - 2 * 400)
    assert plain.flows.export[0] == pytest.approx(2000)
    assert any("avoided elsewhere" in note for note in credited.notes)
    assert operate(replace(own, export_w=0.0)).flows.curtailed[0] == pytest.approx(2000)


def test_a_job_goes_under_the_sun_and_one_that_cannot_stop_runs_through() -> None:
    values, sun = [400.0] * 8, [0, 0, 1000, 2000, 2000, 1000, 0, 0]
    for stops in (True, False):
        own = site(values, sun, jobs=(job("fit", 2, 0, 8, interruptible=stops),))
        found = checked(operate(own))
        power = found.flows.jobs["fit"]
        assert power[3:5] == pytest.approx([500, 500])
        assert found.saved["shifting"] == pytest.approx(2 * 0.5 * 1.25 * 400)
        assert run_now(own).load_w[:3] == pytest.approx([1300, 1300, 800])


def test_a_job_starts_between_steps_only_at_its_release() -> None:
    own = site([500, 100, 100, 500], jobs=(job("fit", 1.5, 0.5, 4),))
    power = checked(operate(own)).flows.jobs["fit"]
    assert power == pytest.approx([0, 500, 250, 0])
    early = operate(site([10, 10, 500, 500], jobs=(job("fit", 1.5, 0.5, 4),)))
    assert early.flows.jobs["fit"] == pytest.approx([250, 500, 0, 0])


def test_price_is_weighed_in_and_what_is_paid_is_told() -> None:
    price = series([300, 10], topic=Topic.PRICE, unit="EUR/MWh", basis=None)
    own = site([100, 200], jobs=(job("fit", 1, 0, 2),), price=price)
    green, cheap = operate(own), operate(replace(own, price_weight=1000.0))
    assert green.flows.jobs["fit"] == pytest.approx([500, 0])
    assert cheap.flows.jobs["fit"] == pytest.approx([0, 500])
    assert cheap.cost is not None
    assert green.cost is not None
    assert cheap.cost == pytest.approx((1.0 * 300 + 1.625 * 10) / 1000)
    assert cheap.cost < green.cost


def test_intervals_of_the_signal_reach_the_grams() -> None:
    own = site([100, 200])
    wide = replace(own.intensity, low=np.array([90.0, np.nan]), high=np.array([150.0, 250.0]))
    grams = operate(replace(own, intensity=wide)).grams
    assert (grams.low, grams.value, grams.high) == pytest.approx((290, 300, 400))


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    operate(site([100, 500], battery=battery(), jobs=(job("fit", 1, 0, 2),)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"values": [100, np.nan, 100]}, "2026-06-01 01:00"),
        ({"pue": np.array(0.9)}, "PUE"),
        ({"solar": [1, 2]}, "2 steps"),
        ({"load_w": np.array([1.0, -1.0, 1.0])}, "below 0"),
        ({"price_weight": 2.0}, "no price"),
        ({"avoided": 2.0}, "avoided|credits"),
        ({"jobs": (job("a", 1, 0, 9),)}, "longer signal"),
        ({"jobs": (job("a", 1, 0, 2), job("a", 1, 0, 2))}, "one name"),
        ({"jobs": (job("a", 1, 0, 2, scaling=(1.0, 1.9)),)}, "spread"),
        ({"import_w": 10.0}, "within its limits"),
    ],
)
def test_what_cannot_be_is_said(change: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"values": [100, 100, 100], **change}
    with pytest.raises(UsageError, match=told):
        operate(site(given.pop("values"), given.pop("solar", 0.0), **given))


@pytest.mark.parametrize(
    "change",
    [
        {"capacity_j": -1.0}, {"charge_w": float("nan")}, {"charge_efficiency": 0.0},
        {"discharge_efficiency": 1.1}, {"loss_per_h": 1.0}, {"min_soc": 0.6},
        {"final_soc": 1.5},
    ],
)  # fmt: skip
def test_a_battery_with_absurd_numbers_is_refused(change: dict[str, float]) -> None:
    told = {"capacity_j": 1.0, "charge_w": 1.0, "discharge_w": 1.0, "initial_soc": 0.5, **change}
    with pytest.raises(UsageError, match="battery"):
        Battery(**told)


def test_the_share_saved_takes_a_dirtier_grid_on_both_sides() -> None:
    own = site([100, 200], [1000, 0])
    wide = replace(own.intensity, low=np.array([50.0, 150.0]), high=np.array([300.0, 250.0]))
    saving = operate(replace(own, intensity=wide)).saving
    assert saving.value == pytest.approx(1 - 200 / 300)
    assert (saving.low, saving.high) == pytest.approx((1 - 150 / 200, 1 - 250 / 550))


def test_what_a_little_more_would_save_is_told() -> None:
    own = site([400] * 24, [0, 2000] * 12, battery=battery(0.5), jobs=(job("fit", 1, 0, 1),))
    found = operate(own)
    solar, store, later = found.would_change
    assert solar == "a tenth more solar would save nothing more"
    # 50 Wh more come out at 0.95 in each dark hour but the first, and go in for nothing.
    assert store == f"a tenth more battery would save {11 * 50 * 0.95 * 0.4:.0f} g more"
    # Under the sun it saves 250 g, but leaves 375 W to charge what 526 W would fill.
    assert (
        later
        == f"deadlines 12 h later would save {250 - (500 - 0.95 * 375) * 0.95 * 0.4:.0f} g more"
    )
    limited = operate(replace(own, import_w=5000.0))
    assert limited.would_change == ()
    assert limited.flows.grid.max() <= 5000


def test_what_is_not_counted_is_noted() -> None:
    price = series([-900, 10], topic=Topic.PRICE, unit="EUR/MWh", basis=None)
    waits = job("a", 1, 0, 2, interruptible=True, restart_s=60.0)
    held = job("b", 1, 0, 2, idle_w=50.0)
    store = battery(1, initial_soc=1.0, final_soc=0.0)
    found = operate(
        site([100, 200], jobs=(waits, held), price=price, price_weight=1e3, battery=store)
    )
    told = " | ".join(found.notes)
    for part in ("restarting", "reserved while a job waits", "nothing is burnt", "may end emptier"):
        assert part in told
    assert found.self_use is None
    assert operate(site([100, 200], [3000, 0])).self_use == pytest.approx(1 / 3)
