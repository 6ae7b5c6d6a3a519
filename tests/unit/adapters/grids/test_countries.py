"""What is particular to the UK's API, to Energinet, the EIA and ENTSO-E."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grid_rigs
import pytest
from grid_entsoe import entsoe_expected
from grid_rigs import Rig
from grid_server import GAP, HOUR, NOW, truth

from negawatt.adapters.grids.entsoe_areas import AREAS, area_of
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Status, Topic

Make = Callable[..., Any]
QUARTER = timedelta(minutes=15)


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made: Rig = getattr(grid_rigs, request.param)(tmp_path)
    yield made
    made.close()


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rig", [name], indirect=True)


# ------------------------------------------------------------------ Great Britain


@of("uk")
def test_a_half_hour_that_is_not_over_has_no_past(rig: Rig) -> None:
    rig_now = NOW + timedelta(minutes=10)
    source = rig.source()
    source.patience = source.patience.__class__(clock=lambda: rig_now)
    readings = source.past("GB", NOW - HOUR, NOW + HOUR)
    assert readings[-1].end == NOW


@of("uk")
def test_times_between_slots_are_asked_for_by_slots(rig: Rig) -> None:
    shift = timedelta(minutes=7)
    readings = rig.source().past("GB", NOW - 2 * HOUR + shift, NOW - HOUR + shift)
    assert rig.server is not None
    assert rig.server.asked == ["GET /intensity/2026-03-10T10:00Z/2026-03-10T11:30Z"]
    assert (readings[0].start, readings[-1].end) == (NOW - 2 * HOUR, NOW - HOUR + HOUR / 2)


@of("uk")
def test_no_question_is_longer_than_fourteen_days(rig: Rig) -> None:
    readings = rig.source().past("GB", NOW - 30 * 24 * HOUR, NOW)
    assert rig.server is not None
    assert len(rig.server.asked) == 3
    assert len(readings) == 30 * 48 - 2


@of("uk_region")
@pytest.mark.parametrize("zone", ["GB-LONDON", "gb-london", "GB-13", "GB-South East England"])
def test_regions_by_name_and_number(rig: Rig, zone: str) -> None:
    readings = rig.source().ahead(zone, NOW, NOW + HOUR)
    assert {one.source for one in readings} == {"uk:regional"}
    assert rig.server is not None
    assert rig.server.asked[0].endswith(("/regionid/13", "/regionid/14"))


@of("uk_region")
def test_a_region_may_come_in_a_list_and_its_past_is_estimated(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.as_list = True
    readings = rig.source().past("GB-13", NOW - HOUR, NOW)
    assert {one.status for one in readings} == {Status.ESTIMATED}


@of("uk")
def test_beyond_two_days_there_is_no_forecast(rig: Rig) -> None:
    assert rig.source().ahead("GB", NOW + 60 * HOUR, NOW + 70 * HOUR) == []


# ---------------------------------------------------------------------- Energinet


@of("energinet")
@pytest.mark.parametrize("heeds", [True, False])
def test_ends_that_count_as_danish_time_lose_nothing(rig: Rig, heeds: bool) -> None:
    assert rig.server is not None
    rig.server.heeds_timezone = heeds
    readings = rig.source().past("DK1", NOW - 5 * HOUR, NOW)
    assert len(readings) == 60
    assert readings[0].start == NOW - 5 * HOUR


@of("energinet")
def test_rows_come_page_by_page(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.most = 50
    assert len(rig.source().past("DK-DK2", NOW - 24 * HOUR, NOW)) == 288
    assert len(rig.server.asked) > 5


@of("energinet")
def test_prices_go_over_from_hours_to_quarters(rig: Rig) -> None:
    changed = datetime(2025, 9, 30, 22, tzinfo=UTC)
    readings = rig.source(topic="price").past("DK1", changed - 3 * HOUR, changed + HOUR)
    assert [one.step for one in readings] == [HOUR] * 3 + [QUARTER] * 4
    assert {one.unit for one in readings} == {"EUR/MWh"}
    assert min(one.value for one in readings) < 0
    ahead = rig.source(topic="price").ahead("DK1", NOW, NOW + 3 * HOUR)
    assert {one.status for one in ahead} == {Status.FORECAST}


# ------------------------------------------------------------------------ the EIA


@of("eia")
def test_rows_of_fuels_come_page_by_page(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.page = 7
    readings = rig.source().past("CISO", NOW - 12 * HOUR, NOW)
    assert len(readings) == 12
    assert len(rig.server.asked) == 9


@of("eia")
def test_a_unit_that_is_no_energy_is_refused(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.units = "short tons"
    with pytest.raises(SignalUnavailable, match="short tons"):
        rig.source().past("CISO", NOW - HOUR, NOW)


@of("eia")
def test_load_has_a_forecast(rig: Rig) -> None:
    source = rig.source(topic="load")
    past = source.past("BPAT", NOW - 3 * HOUR, NOW)
    assert [(one.unit, one.value) for one in past] == [("MW", truth(one.start)) for one in past]
    ahead = source.ahead("BPAT", NOW, NOW + 3 * HOUR)
    assert [one.status for one in ahead] == [Status.FORECAST] * 3
    assert source.topic is Topic.LOAD
    assert source.basis is None


# ----------------------------------------------------------------------- ENTSO-E


@of("entsoe")
def test_steps_that_change_within_an_answer(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.quarters_from = NOW - 3 * HOUR
    readings = rig.source().past("DE", NOW - 6 * HOUR, NOW)
    assert len(readings) == 24
    for one in readings:
        assert one.step == QUARTER
        assert one.value == pytest.approx(entsoe_expected(one.start))


@of("entsoe")
@pytest.mark.parametrize("status", [200, 400])
def test_a_refusal_is_known_by_its_root(rig: Rig, status: int) -> None:
    assert rig.server is not None
    rig.server.refusal_status = status
    source = rig.source()
    later = NOW + 40 * HOUR
    assert source.past("FR", NOW - 2 * HOUR, NOW)
    assert rig.source(topic="price").ahead("FR", later, later + HOUR) == []  # no matching data
    with pytest.raises(UsageError, match="SE-SE9"):
        source.past("SE-SE9", NOW - HOUR, NOW)
    with pytest.raises(UsageError, match="10YXX"):
        source.past("10YXX-----------", NOW - HOUR, NOW)  # a code nobody has


@of("entsoe")
def test_a_time_that_is_too_long_is_cut_in_halves(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.most_days = 4
    readings = rig.source().past("FR", NOW - 15 * 24 * HOUR, NOW)
    assert len(readings) == 15 * 24 - 1
    assert len({one.start for one in readings}) == len(readings)


@of("entsoe")
@pytest.mark.parametrize("paged", [True, False])
def test_more_than_a_hundred_series_come_page_by_page_or_at_once(
    rig: Rig, paged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rig.server is not None
    rig.server.paged = paged
    whole = rig.server.mix

    def in_hours(start: datetime, end: datetime) -> list[str]:
        hours = int((end - start) / HOUR)
        return [s for n in range(hours) for s in whole(start + n * HOUR, start + (n + 1) * HOUR)]

    monkeypatch.setattr(rig.server, "mix", in_hours)
    readings = rig.source().past("FR", NOW - 40 * HOUR, NOW)
    assert len(readings) == 39
    for one in readings:
        assert one.value == pytest.approx(entsoe_expected(one.start))


@of("entsoe")
def test_units_of_power_are_read_and_others_refused(rig: Rig) -> None:
    assert rig.server is not None
    rig.server.unit = "KWT"
    one = rig.source().past("FR", NOW - HOUR, NOW)[0]
    assert one.value == pytest.approx(entsoe_expected(one.start))
    rig.server.unit = "KGM"
    with pytest.raises(SignalUnavailable, match="KGM"):
        rig.source().past("FR", NOW - HOUR, NOW)


@of("entsoe")
def test_prices_by_the_quarter_go_before_those_by_the_hour(rig: Rig) -> None:
    assert rig.server is not None
    source = rig.source(topic="price")
    hourly = source.past("DE_LU", NOW - 5 * HOUR, NOW)
    assert [one.value for one in hourly] == [truth(one.start) - 350 for one in hourly]
    rig.server.also_hours = True
    both = source.ahead("DE_LU", NOW, NOW + 3 * HOUR)
    assert [one.step for one in both] == [QUARTER] * 12
    assert both[0].issued_at == NOW - HOUR
    rig.server.price_unit = "MMBTU"
    with pytest.raises(SignalUnavailable, match="MMBTU"):
        source.past("DE_LU", NOW - HOUR, NOW)


@of("entsoe")
def test_a_document_with_entities_is_not_read(rig: Rig) -> None:
    assert rig.server is not None
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    rig.server.troubles = [(200, {}, bomb)]
    with pytest.raises(SignalUnavailable, match="none of its documents"):
        rig.source().past("FR", NOW - HOUR, NOW)


@of("entsoe")
def test_a_refusal_of_another_kind_is_told_without_the_key(rig: Rig) -> None:
    assert rig.server is not None
    said = "check you request against dependency tables: securityToken=s3cret-key&amp;x"
    rig.server.troubles = [rig.server.refused(said)]
    with pytest.raises(SignalUnavailable, match="dependency tables") as raised:
        rig.source().past("FR", NOW - HOUR, NOW)
    assert "s3cret" not in str(raised.value)


def test_codes_of_areas_are_codes() -> None:
    for name, code in AREAS.items():
        assert len(code) == 16
        assert area_of(name) == area_of(name.lower().replace("-", "_")) == area_of(code) == code


@of("entsoe")
def test_a_kind_that_has_not_reported_leaves_the_hour_out(rig: Rig) -> None:
    starts = {one.start for one in rig.source().past("FR", GAP - 3 * HOUR, GAP + 3 * HOUR)}
    assert GAP not in starts
    assert len(starts) == 5
