"""What is particular to Electricity Maps, WattTime and the Carbon Aware SDK."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grid_rigs
import pytest
from grid_rigs import Rig
from grid_server import GAP, HOUR, NOW, truth
from grid_worldwide import CarbonAwareServer, ElectricityMapsServer, WattTimeServer

from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Accounting, Signal, Status, Topic


@pytest.fixture
def maps(tmp_path: Path) -> Iterator[Rig]:
    made = grid_rigs.electricitymaps(tmp_path)
    yield made
    made.close()


@pytest.fixture
def watttime(tmp_path: Path) -> Iterator[Rig]:
    made = grid_rigs.watttime(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sdk(tmp_path: Path) -> Iterator[Rig]:
    made = grid_rigs.carbonawaresdk(tmp_path)
    yield made
    made.close()


def server_of(rig: Rig) -> ElectricityMapsServer:
    assert isinstance(rig.server, ElectricityMapsServer)
    return rig.server


def watts_of(rig: Rig) -> WattTimeServer:
    assert isinstance(rig.server, WattTimeServer)
    return rig.server


# --------------------------------------------------------------- Electricity Maps


def test_the_last_day_is_asked_of_what_every_plan_has(maps: Rig) -> None:
    maps.source().past("DE", NOW - 6 * HOUR, NOW)
    assert "/history?" in server_of(maps).asked[0]
    maps.source().past("DE", NOW - 30 * HOUR, NOW)
    assert "/past-range?" in server_of(maps).asked[1]


def test_a_plan_without_a_history_still_tells_the_last_day(maps: Rig) -> None:
    server_of(maps).free = True
    readings = maps.source().past("DE", NOW - 10 * 24 * HOUR, NOW)
    assert readings[0].start == NOW - 24 * HOUR
    with pytest.raises(SignalUnavailable, match="not in your plan"):
        maps.source().past("DE", NOW - 10 * 24 * HOUR, NOW - 5 * 24 * HOUR)
    with pytest.raises(SignalUnavailable, match="not in your plan"):
        maps.source().ahead("DE", NOW, NOW + HOUR)


def test_an_hour_that_was_estimated_says_so(maps: Rig) -> None:
    readings = maps.source().past("DE", NOW - 24 * HOUR, NOW)
    estimated = [one.start.hour for one in readings if one.status is Status.ESTIMATED]
    assert estimated == [3]
    assert readings[0].issued_at == readings[0].start + 2 * HOUR  # a revision has its time


def test_direct_factors_are_asked_for_and_never_taken_for_others(maps: Rig) -> None:
    source = maps.source(factors="direct")
    assert source.basis.accounting is Accounting.DIRECT
    source.past("DE", NOW - HOUR, NOW)
    assert "emissionFactorType=direct" in server_of(maps).asked[0]
    server_of(maps).factors = "lifecycle"
    with pytest.raises(SignalUnavailable, match="lifecycle"):
        source.past("DE", NOW - HOUR, NOW)
    with pytest.raises(UsageError, match="factors=both"):
        maps.source(factors="both")


def test_the_shortest_horizon_that_is_long_enough_is_asked_for(maps: Rig) -> None:
    source = maps.source()
    for hours, horizon in ((3, 6), (7, 24), (25, 48), (72, 72), (100, 72)):
        source.ahead("DE", NOW, NOW + hours * HOUR)
        assert f"horizonHours={horizon}&" in server_of(maps).asked[-1]


def test_steps_of_other_lengths(maps: Rig) -> None:
    server_of(maps).granularity = "15_minutes"
    assert maps.source().past("DE", NOW - HOUR, NOW)[0].step == timedelta(minutes=15)
    server_of(maps).granularity = "monthly"
    with pytest.raises(SignalUnavailable, match="monthly"):
        maps.source().past("DE", NOW - HOUR, NOW)


def test_prices_have_their_currency(maps: Rig) -> None:
    source = maps.source(topic="price")
    assert source.topic is Topic.PRICE
    readings = source.past("DE", NOW - 48 * HOUR, NOW)
    assert {one.unit for one in readings} == {"EUR/MWh"}
    assert readings[0].value == truth(readings[0].start)
    assert source.ahead("DE", NOW, NOW + 3 * HOUR)[0].status is Status.FORECAST
    server_of(maps).price_unit = "pigs"
    with pytest.raises(SignalUnavailable, match="pigs"):
        source.past("DE", NOW - HOUR, NOW)


def test_zones_may_come_in_an_object_of_their_own(maps: Rig) -> None:
    server_of(maps).wrapped = True
    with pytest.raises(UsageError) as raised:
        maps.source().past("DK-DK9", NOW - HOUR, NOW)
    assert "DK-DK1" in raised.value.fix


def test_a_zone_without_data_is_no_unknown_zone(maps: Rig) -> None:
    server_of(maps).troubles = [(404, {}, {"status": "error", "message": "No recent data for FR"})]
    with pytest.raises(SignalUnavailable, match="No recent data"):
        maps.source().past("FR", NOW - HOUR, NOW)


# ----------------------------------------------------------------------- WattTime


def test_a_token_that_is_over_is_renewed(watttime: Rig) -> None:
    source = watttime.source()
    source.past("CAISO_NORTH", NOW - HOUR, NOW)
    source.past("CAISO_NORTH", NOW - HOUR, NOW)
    assert watts_of(watttime).logins == 1
    watts_of(watttime).expire()
    assert source.past("CAISO_NORTH", NOW - HOUR, NOW)
    assert watts_of(watttime).logins == 2


def test_a_percentile_is_refused(watttime: Rig) -> None:
    watts_of(watttime).units = "percentile"
    with pytest.raises(SignalUnavailable, match="percentile"):
        watttime.source().past("CAISO_NORTH", NOW - HOUR, NOW)
    for signal in ("signal-index", "health_damage"):
        with pytest.raises(UsageError, match="no carbon intensity"):
            watttime.source(signal=signal)


def test_marginal_and_average_are_labelled(watttime: Rig) -> None:
    assert watttime.source().basis.signal is Signal.MARGINAL
    average = watttime.source(signal="co2_aoer")
    assert average.basis.signal is Signal.AVERAGE
    assert average.past("CAISO_NORTH", NOW - HOUR, NOW)
    with pytest.raises(UsageError, match="signal=nice"):
        watttime.source(signal="nice")


def test_units_may_change_from_piece_to_piece(watttime: Rig) -> None:
    source, server = watttime.source(), watts_of(watttime)
    source.past("CAISO_NORTH", NOW - HOUR, NOW)
    start = NOW - 31 * 24 * HOUR
    kilos = {
        "data": [{"point_time": start.isoformat(), "value": 0.25}],
        "meta": {"units": "kg_co2_per_kwh", "signal_type": "co2_moer"},
    }
    server.troubles = [(200, {}, kilos)]
    readings = source.past("CAISO_NORTH", start, NOW)
    assert readings[0].value == pytest.approx(250.0)
    assert readings[1].value == pytest.approx(truth(readings[1].start), rel=1e-5)


def test_no_question_is_longer_than_thirty_days_nor_shares_a_point(watttime: Rig) -> None:
    watttime.source().past("CAISO_NORTH", NOW - 61 * 24 * HOUR, NOW)
    asked = [one for one in watts_of(watttime).asked if "/v3/historical" in one]
    assert len(asked) == 3
    assert "end=2026-02-07T11%3A55" in asked[0]
    assert "start=2026-02-07T12%3A00" in asked[1]


def test_an_old_forecast_is_looked_for_in_the_day_before(watttime: Rig) -> None:
    then = NOW - 5 * HOUR - timedelta(minutes=12)
    source = watttime.source()
    readings = source.ahead("CAISO_NORTH", then, then + HOUR, as_of=then)
    assert readings[0].issued_at == then.replace(minute=30)
    watts_of(watttime).troubles = [(200, {}, {"data": [], "meta": {}})] * 2
    with pytest.raises(SignalUnavailable, match="no forecast of the day before"):
        source.ahead("CAISO_NORTH", then, then + HOUR, as_of=then)


def test_a_region_of_the_plan_that_is_refused_is_no_unknown_region(watttime: Rig) -> None:
    source, server = watttime.source(), watts_of(watttime)
    source.past("CAISO_NORTH", NOW - HOUR, NOW)
    server.troubles = [(403, {}, {"error": "your plan has no historical data"})]
    with pytest.raises(SignalUnavailable, match="no historical data"):
        source.past("CAISO_NORTH", NOW - HOUR, NOW)


# --------------------------------------------------------------- Carbon Aware SDK


def test_whoever_names_the_server_says_what_its_ratings_are(sdk: Rig) -> None:
    with pytest.raises(UsageError, match="what its ratings are"):
        sdk.source(signal="")
    with pytest.raises(UsageError, match="its server"):
        sdk.source(base_url="")
    assert sdk.source(factors="direct").basis.accounting is Accounting.DIRECT


def test_an_old_forecast_that_is_not_old_is_refused(sdk: Rig) -> None:
    assert isinstance(sdk.server, CarbonAwareServer)
    sdk.server.keeps = False
    then = NOW - 30 * HOUR
    with pytest.raises(SignalUnavailable, match="made after"):
        sdk.source().ahead("eastus", then, then + HOUR, as_of=then)
    assert any(one.startswith("POST") for one in sdk.server.asked)


def test_nothing_to_tell_is_no_error(sdk: Rig) -> None:
    assert sdk.server is not None
    sdk.server.troubles = [(204, {}, "")]
    assert sdk.source().past("eastus", NOW - HOUR, NOW) == []
    assert sdk.source().ahead("eastus", NOW - 5 * HOUR, NOW) == []


def test_steps_are_found_where_nobody_tells_them(sdk: Rig) -> None:
    readings = sdk.source().past("eastus", GAP - 3 * HOUR, GAP + 3 * HOUR)
    assert {one.step for one in readings} == {HOUR}
