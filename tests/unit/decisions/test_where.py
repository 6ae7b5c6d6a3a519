"""Where a job runs: the clean place is taken, unless what has to be moved costs more."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.factors import table
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Signal, Status, Topic
from negawatt.decisions.when import Job, Schedule, Stretch
from negawatt.decisions.where import Data, Place, Ranked, choose, one_move, scan
from negawatt.signals.series import Series

START = datetime(2026, 1, 1, tzinfo=UTC)
NETWORK = table("site_energy")["network"].estimate()
FEW = settings(max_examples=40)


def series(zone: str, values: Any, **kept: Any) -> Series:
    told: dict[str, Any] = {
        "topic": Topic.CARBON, "unit": GRAMS_PER_KWH, "basis": Basis(), "source": "file",
        "status": Status.MEASURED, "start": START, "step": timedelta(hours=1),
    }  # fmt: skip
    return Series(**{**told, **kept}, zone=zone, values=np.asarray(values, dtype=np.float64))


def place(name: str, values: Any, **kept: Any) -> Place:
    return Place(name=name, outlook=series(name, values), **kept)


def job(hours: float = 2.0, last: float = 6.0, **kept: Any) -> Job:
    return Job(
        name="train", work_s=3600 * hours, power_w=1000.0, release=START,
        deadline=START + timedelta(hours=last), **kept,
    )  # fmt: skip


def data(gigabytes: float, **kept: Any) -> Data:
    return Data(bytes_in=1e9 * gigabytes, network=NETWORK, **kept)


DE = [400.0, 400.0, 300.0, 200.0, 200.0, 400.0]
SE = [40.0, 40.0, 30.0, 20.0, 30.0, 40.0]


def test_the_clean_place_and_there_the_clean_time() -> None:
    found = choose(job(), [place("DE", DE), place("SE", SE)])
    best, home = found.chosen, found.at("DE")
    assert home is not None
    assert best.place == "SE"
    assert (best.schedule.start - START) == timedelta(hours=2)
    assert best.grams.value == pytest.approx(50)
    assert home.now.value == pytest.approx(800)
    assert best.place_part == pytest.approx(720)
    assert best.time_part == pytest.approx(30)
    assert home.time_part == pytest.approx(400)
    assert found.saving is not None
    assert found.saving.value == pytest.approx(1 - 50 / 800)
    for part in ("720 g", "30 g on top", "400 g, less than moving alone"):
        assert part in found.because


def test_parts_of_every_place_add_up_to_what_it_saves() -> None:
    sites = [place("DE", DE, pue=1.3), place("SE", SE, pue=1.1), place("PL", [700.0] * 6)]
    found = choose(job(), sites, data=data(50))
    home = found.at("DE")
    assert home is not None
    assert [one.place for one in found.ranking] == ["SE", "DE", "PL"]
    for one in found.ranking:
        assert one.place_part is not None
        assert one.place_part + one.time_part == pytest.approx(home.now.value - one.grams.value)


def test_moving_data_is_weighed_and_the_size_that_would_change_it_is_told() -> None:
    sites = [place("DE", DE), place("SE", SE)]
    few, many = choose(job(), sites, data=data(10)), choose(job(), sites, data=data(1000))
    each = NETWORK.value * (np.mean(DE) + np.mean(SE)) / 2 / 3.6e6
    assert few.chosen.place == "SE"
    assert few.chosen.transfer.value == pytest.approx(10e9 * each)
    assert few.chosen.transfer.high > 5 * few.chosen.transfer.value  # nobody knows it well
    assert many.chosen.place == "DE"
    turn = 350 / each / 1e9  # the two run at 400 and at 50 g
    assert f"{turn:.3g} GB" in few.would_change[0]
    assert "less than" in many.would_change[0]
    assert f"{turn:.3g} GB" in many.would_change[0]
    below, above = (choose(job(), sites, data=data(turn * f)).chosen for f in (0.99, 1.01))
    assert (below.place, above.place) == ("SE", "DE")


def test_what_is_sent_back_counts_and_sending_takes_time() -> None:
    sites = [place("DE", DE), place("SE", SE)]
    both = choose(job(), sites, data=data(10, bytes_out=10e9)).chosen
    assert both.transfer.value == pytest.approx(
        2 * choose(job(), sites, data=data(10)).chosen.transfer.value
    )
    slow = data(10, bytes_out=10e9, bandwidth=10e9 / 3600)
    found = choose(job(), sites, data=slow).chosen
    assert found.schedule.start >= START + timedelta(hours=1)
    assert found.schedule.end <= START + timedelta(hours=5)
    too_slow = choose(job(), sites, data=data(10, bandwidth=10e9 / 3600 / 5))
    assert too_slow.chosen.place == "DE"
    assert too_slow.impossible[0][0] == "SE"


def test_unlike_hardware_takes_longer_and_draws_less() -> None:
    slow = place("slow", [400.0] * 6, speed=0.5, energy=0.8, pue=1.5)
    found = choose(job(), [place("here", [400.0] * 6, pue=1.5), slow])
    there, here = found.at("slow"), found.at("here")
    assert there is not None
    assert here is not None
    assert there.grams.value == pytest.approx(0.8 * here.grams.value)
    assert there.schedule.end - there.schedule.start == timedelta(hours=4)
    late = choose(job(hours=4), [place("here", [400.0] * 6), slow])
    assert late.chosen.place == "here"
    assert late.impossible[0][0] == "slow"


def test_hardware_that_was_made_dirtily_counts_for_the_hours_it_is_held() -> None:
    new = place("new", SE, embodied_g_per_h=500.0)
    assert choose(job(), [place("DE", DE), place("SE", SE)]).chosen.place == "SE"
    assert choose(job(), [place("DE", DE), new]).chosen.place == "DE"


def test_latency_that_nobody_meets_is_named() -> None:
    sites = [place("DE", DE, latency_ms=80), place("SE", SE, latency_ms=20), place("FR", SE)]
    assert choose(job(), sites, latency_most_ms=100).chosen.place == "SE"
    near = choose(job(), sites[:2], latency_most_ms=15 + 10)
    assert near.chosen.place == "SE"
    with pytest.raises(UsageError, match=r"DE: its latency is 80 ms.*FR: its latency is not known"):
        choose(job(), sites, latency_most_ms=10)
    far = [place("DE", DE, latency_ms=5), place("SE", SE, latency_ms=90)]
    kept = choose(job(), far, latency_most_ms=10)
    assert kept.chosen.place == "DE"
    assert "SE would emit 50 g, but its latency is 90 ms" in kept.would_change[-1]


def test_money_is_weighed_in() -> None:
    dear = series("SE", [5000.0] * 6, topic=Topic.PRICE, unit="EUR/MWh", basis=None)
    cheap = series("DE", [50.0] * 6, topic=Topic.PRICE, unit="EUR/MWh", basis=None)
    sites = [place("DE", DE, price=cheap), place("SE", SE, price=dear)]
    assert choose(job(), sites).chosen.place == "SE"
    assert choose(job(), sites, price_weight=100.0).chosen.place == "DE"


def test_water_is_told_with_each_place() -> None:
    wet = Estimate.exact(1.5, unit="L/kWh", source="site", kind=Kind.ASSUMED)
    found = choose(job(), [place("DE", DE, pue=1.25, wue=wet, offsite=wet)])
    assert found.chosen.water.onsite.value == pytest.approx(3.0)
    assert found.chosen.water.offsite.value == pytest.approx(3.75)


@pytest.mark.parametrize(
    ("sites", "change", "told"),
    [
        ([], {}, "no place"),
        ([place("DE", DE), place("DE", SE)], {}, "one name"),
        ([place("DE", DE)], {"home": "Atlantis"}, "Atlantis"),
        (
            [
                place("DE", DE),
                Place(name="SE", outlook=series("SE", SE, basis=Basis(Signal.MARGINAL))),
            ],
            {},
            "cannot be mixed",
        ),
    ],
)
def test_what_cannot_be_chosen_is_said(sites: Any, change: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        choose(job(), sites, **change)


@pytest.mark.parametrize("change", [{"pue": 0.9}, {"speed": 0.0}, {"energy": float("nan")}])
def test_a_place_with_absurd_numbers_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="DE"):
        place("DE", DE, **change)
    with pytest.raises(UsageError, match="cannot be sent"):
        data(-1)


GRAMS = st.lists(st.floats(1, 900), min_size=6, max_size=6)


@FEW
@given(st.lists(GRAMS, min_size=2, max_size=4), st.booleans())
def test_a_place_with_lower_everything_is_chosen(rows: list[list[float]], stops: bool) -> None:
    low = 0.9 * np.min(rows, axis=0)
    sites = [place(f"zone {number}", row, pue=1.2) for number, row in enumerate(rows)]
    found = choose(job(interruptible=stops), [*sites, place("low", low, pue=1.1)])
    assert found.chosen.place == "low"
    assert found.ranking == tuple(sorted(found.ranking, key=lambda one: one.grams.value))


@FEW
@given(GRAMS, GRAMS, st.floats(0, 1e13), st.floats(1, 2))
def test_no_move_costs_more_than_it_gains(
    here: list[float], there: list[float], size: float, pue: float
) -> None:
    sites = [place("here", here), place("there", there, pue=pue)]
    found = choose(job(), sites, data=Data(bytes_in=size, network=NETWORK))
    home, away = found.at("here"), found.at("there")
    assert home is not None
    assert away is not None
    gain = home.grams.value - away.schedule.grams.value
    assume(abs(gain - away.transfer.value) > 1e-6)
    assert (found.chosen.place == "there") == (gain > away.transfer.value)


def test_any_planner_will_do() -> None:
    """Another way of choosing the time gives other grams, and the same choice of place."""

    def at_once(job: Job, outlook: Series, **_: Any) -> Schedule:
        grams = Estimate.exact(
            float(outlook.values[0]) * job.power_w * job.work_s / 3.6e6,
            unit="gCO2e",
            source="a test",
        )
        nothing = Estimate.exact(0.0, unit="1", source="a test")
        run = Stretch(job.release, job.release + timedelta(seconds=job.work_s))
        return Schedule(
            job=job, zone=outlook.zone, stretches=(run,), grams=grams, now=grams, saving=nothing,
            because="at once",
        )  # fmt: skip

    found = choose(job(), [place("DE", DE), place("SE", SE)], plan=at_once)
    best: Ranked = found.chosen
    assert (best.place, best.time_part, best.grams.value) == ("SE", 0.0, 80.0)


def test_one_move_is_that_of_the_published_study(shared: Path) -> None:
    """Sukprasert and others, EuroSys 2024: every zone's work moved to the cleanest of 123."""
    file = shared / "data/grid/placement/em_zone_mean_ci_2020_2022.csv"
    with file.open(encoding="utf-8-sig") as text:
        means = {row["zonecode"]: float(row["2022"]) for row in csv.DictReader(text)}
    found = one_move(means)
    assert len(means) == 123
    assert set(found.to.values()) == {"SE-SE1"}
    assert found.mean == pytest.approx(352.4759, abs=5e-5)
    alone = one_move(means, dict.fromkeys(means, ()))
    assert alone.mean == 0
    europe = one_move(means, {"DE": ["FR", "PL"]})
    assert europe.to["DE"] == "FR"


def test_place_beats_time_in_a_real_year(shared: Path) -> None:
    file = shared / "data/grid/em2022_ci_lca_hourly_123zones.csv.gz"
    with gzip.open(file, "rt", encoding="utf-8") as text:
        rows = list(csv.reader(text))
    zones, traces = rows[0][1:], np.array([row[1:] for row in rows[1:]], dtype=np.float64).T
    found = scan(zones, traces, 6, 24)
    time, here = found.now - found.time, found.now - found.place
    assert here > 5 * time
    assert found.both <= found.place
    assert found.best <= found.both
    assert found.zone == "SE-SE1"


def test_moves_that_cannot_be_are_refused() -> None:
    for means, reach, told in (
        ({}, None, "no zone"),
        ({"DE": float("nan")}, None, "not known"),
        ({"DE": 1.0}, {"DE": ["XX"]}, "XX"),
    ):
        with pytest.raises(UsageError, match=told):
            one_move(means, reach)
    with pytest.raises(UsageError, match="do not fit"):
        scan(["DE"], np.zeros((2, 4)), 1, 1)
    with pytest.raises(UsageError, match="gaps"):
        scan(["DE"], np.array([[1.0, np.nan]]), 1, 0)
    assert replace(data(1), bytes_out=1e9).total == 2e9


def test_a_home_that_cannot_run_it_is_said_and_nothing_is_compared() -> None:
    slow = place("DE", DE, speed=0.1)
    found = choose(job(), [slow, place("SE", SE), place("PL", [700.0] * 6)], home="DE")
    assert found.chosen.place == "SE"
    assert found.saving is None
    assert found.chosen.place_part is None
    assert found.because.startswith("DE cannot run it")
    with pytest.raises(UsageError, match=r"no place can run train: DE"):
        choose(job(), [slow])


def test_a_place_of_which_nothing_is_foreseen_says_so() -> None:
    found = choose(job(), [place("DE", DE), place("SE", [np.nan] * 6)])
    assert found.chosen.place == "DE"
    assert any(line.startswith("SE: ") and "no forecast" in line for line in found.would_change)
    moved = choose(job(), [place("DE", DE), place("SE", [np.nan] * 6)], data=data(1))
    assert moved.impossible[0] == ("SE", "nothing is known of SE while train may run")


def test_alone_there_is_nothing_to_choose() -> None:
    found = choose(job(), [place("DE", DE)])
    assert "no other place may run it" in found.because
    assert found.would_change == ()
    with pytest.raises(UsageError, match="told in J"):
        Data(bytes_in=1.0, network=replace(NETWORK, unit="J"))
    with pytest.raises(UsageError, match="give carbon"):
        Place(name="DE", outlook=series("DE", DE, topic=Topic.PRICE, unit="EUR/MWh", basis=None))
