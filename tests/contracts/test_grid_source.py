"""What every provider of grid signals must do. A new one is done when its rig passes here.

Rigs and fakes are in `tests/samples/grid_*.py`: each fake follows what the provider documents of
authentication, paging, limits, errors and gaps, and all tell the same made-up world.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from grid_rigs import RIGS, Rig
from grid_server import GAP, HOUR, NOW, GridServer

from negawatt.core import registry
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import GRAMS_PER_KWH, GridSource, Reading, Status, Topic
from negawatt.signals.series import from_readings
from negawatt.signals.store import Store

FORESEES = [name for name in RIGS if name not in ("entsoe", "eia", "file, a past")]
REMEMBERS = [name for name in RIGS if name != "file, forecasts"]
HAS_HOLES = [name for name in REMEMBERS if name != "uk, a region"]  # forecasts fill a region's
ON_THE_WEB = [name for name in RIGS if not name.startswith("file")]
WANTS_A_KEY = ["electricitymaps", "watttime", "entsoe", "eia"]


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def web(rig: Rig) -> GridServer:
    assert rig.server is not None
    return rig.server


def of(names: list[str]) -> pytest.MarkDecorator:
    """Only these providers."""
    return pytest.mark.parametrize("rig", names, indirect=True)


def told(rig: Rig) -> Sequence[Reading]:
    """A past where there is one, else a forecast."""
    source: GridSource = rig.source()
    if rig.name == "file" and rig.ahead is not None:
        return source.ahead(rig.zone, NOW, NOW + 24 * HOUR)
    return source.past(rig.zone, NOW - 24 * HOUR, NOW)


def test_there_is_a_rig_for_every_provider() -> None:
    assert {name.partition(",")[0] for name in RIGS} == set(registry.names(registry.GRIDS))


@of(REMEMBERS)
def test_a_past_comes_in_order_in_utc_and_in_grams(rig: Rig) -> None:
    start, end = NOW - 48 * HOUR, NOW - 6 * HOUR
    readings = rig.source().past(rig.zone, start, end)
    assert readings
    for before, after in pairwise(readings):
        assert before.end <= after.start
    for reading in readings:
        assert reading.start.utcoffset() == timedelta(0)
        assert reading.end > start
        assert reading.start < end
        assert reading.step == rig.step
        assert reading.unit == GRAMS_PER_KWH
        assert reading.zone == rig.zone
        assert reading.status is not Status.FORECAST


def test_a_value_stands_at_the_start_of_its_time(rig: Rig) -> None:
    for reading in told(rig):
        expected = rig.ahead if reading.status is Status.FORECAST else rig.past
        assert expected is not None
        assert reading.value == pytest.approx(expected(reading.start), rel=1e-5), reading.start


@of(HAS_HOLES)
def test_what_lacks_is_left_out_and_the_rest_is_there(rig: Rig) -> None:
    readings = rig.source().past(rig.zone, GAP - 6 * HOUR, GAP + 6 * HOUR)
    starts = {reading.start for reading in readings}
    assert not [start for start in starts if start.replace(minute=0) == GAP]
    wanted = [GAP - 6 * HOUR + n * rig.step for n in range(12 * HOUR // rig.step)]
    assert starts >= {start for start in wanted if start.replace(minute=0) != GAP}


@of(REMEMBERS)
def test_a_long_past_is_put_together_from_pieces(rig: Rig) -> None:
    start = NOW - 40 * 24 * HOUR
    readings = rig.source().past(rig.zone, start, NOW)
    starts = [reading.start for reading in readings]
    assert len(starts) == len(set(starts))
    lacking = 0 if rig.zone == "GB-London" else HOUR // rig.step
    assert len(starts) == 40 * 24 * HOUR // rig.step - lacking
    assert starts[0] == start


def test_a_forecast_says_when_it_was_made(rig: Rig) -> None:
    source = rig.source()
    if rig.ahead is None:
        with pytest.raises(SignalUnavailable) as raised:
            source.ahead(rig.zone, NOW, NOW + 24 * HOUR)
        assert "history" in raised.value.fix
        return
    readings = source.ahead(rig.zone, NOW, NOW + 24 * HOUR)
    assert readings[0].start == NOW
    assert readings[-1].end == NOW + 24 * HOUR
    for reading in readings:
        assert reading.status is Status.FORECAST
        assert reading.issued_at is not None
        assert NOW - HOUR <= reading.issued_at <= NOW
        assert reading.value == pytest.approx(rig.ahead(reading.start), rel=1e-5)
    assert len({reading.issued_at for reading in readings}) == 1


@of(FORESEES)
def test_a_forecast_that_ends_early_is_shorter(rig: Rig) -> None:
    readings = rig.source().ahead(rig.zone, NOW, NOW + 200 * HOUR)
    assert NOW + rig.reach <= readings[-1].end <= NOW + rig.reach + 2 * rig.step


@of(FORESEES)
def test_what_was_known_then_was_made_then_or_is_refused(rig: Rig) -> None:
    then = NOW - 30 * HOUR - timedelta(minutes=7)
    source = rig.source()
    if not source.keeps_forecasts:
        with pytest.raises(SignalUnavailable, match="does not keep"):
            source.ahead(rig.zone, then, then + 12 * HOUR, as_of=then)
        return
    readings = source.ahead(rig.zone, then, then + 12 * HOUR, as_of=then)
    assert readings
    assert {reading.issued_at for reading in readings} == {readings[0].issued_at}
    assert readings[0].issued_at is not None
    assert readings[0].issued_at <= then
    assert then - readings[0].issued_at < timedelta(hours=13)
    assert source.ahead(rig.zone, NOW, NOW + HOUR, as_of=NOW)  # then is now


def test_a_file_of_forecasts_tells_no_past(tmp_path: Path) -> None:
    made = RIGS["file, forecasts"](tmp_path)
    assert made.source().past(made.zone, NOW - 24 * HOUR, NOW) == []


def test_all_it_says_is_of_one_kind(rig: Rig) -> None:
    source: GridSource = rig.source()
    readings = told(rig)
    assert source.topic is Topic.CARBON
    assert {reading.basis for reading in readings} == {source.basis}
    series = from_readings(readings)
    assert series.basis == source.basis
    assert source.name.partition(":")[0] == rig.name
    assert {reading.source.partition(":")[0] for reading in readings} == {rig.name}


def test_the_store_gives_back_what_it_was_given(rig: Rig, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", clock=lambda: NOW)
    readings = list(told(rig))
    store.keep("it", readings)
    if readings[0].status is Status.FORECAST:
        assert store.ahead("it", rig.zone, NOW, NOW + 24 * HOUR, NOW) == readings
    else:
        assert store.past("it", rig.zone, NOW - 24 * HOUR, NOW) == readings


def test_an_unknown_zone_is_an_error_that_names_one_near_it(rig: Rig) -> None:
    wrong, near = rig.misspelt
    source = rig.source()
    with pytest.raises(UsageError, match=wrong) as raised:
        source.past(wrong, NOW - HOUR, NOW)
    assert near in raised.value.fix


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOW, NOW),
        (NOW, NOW - HOUR),
        (NOW.replace(tzinfo=None), NOW + HOUR),
        (NOW, (NOW + HOUR).replace(tzinfo=None)),
    ],
)
def test_no_time_and_time_without_a_zone_are_refused(
    rig: Rig, start: datetime, end: datetime
) -> None:
    source = rig.source()
    for ask in (source.past, source.ahead):
        with pytest.raises(UsageError):
            ask(rig.zone, start, end)


def test_times_may_be_told_on_other_clocks(rig: Rig) -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    source = rig.source()
    start, end = NOW - 12 * HOUR, NOW
    assert source.past(rig.zone, start.astimezone(there), end.astimezone(there)) == source.past(
        rig.zone, start, end
    )


def test_a_topic_it_does_not_have_is_refused(rig: Rig) -> None:
    with pytest.raises(UsageError, match="topic=gossip") as raised:
        rig.source(topic="gossip")
    assert "carbon" in raised.value.fix


# ------------------------------------------------------------------- over the web


@of(WANTS_A_KEY)
def test_a_wrong_key_is_told_with_the_variable_that_holds_it(rig: Rig, web: GridServer) -> None:
    ((variable, option),) = rig.secret.items()
    source = rig.source(**{option: "s3cret-key-not"})
    with pytest.raises(SignalUnavailable) as raised:
        source.past(rig.zone, NOW - HOUR, NOW)
    assert variable in raised.value.fix
    assert "s3cret" not in str(raised.value)
    assert rig.waited == []


@of(WANTS_A_KEY)
def test_a_missing_key_is_told_before_anybody_is_asked(
    rig: Rig, web: GridServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((variable, option),) = rig.secret.items()
    monkeypatch.delenv(variable, raising=False)
    source = rig.source(**{option: None})
    with pytest.raises(SignalUnavailable, match=variable):
        source.past(rig.zone, NOW - HOUR, NOW)
    assert web.asked == []
    assert variable in source.keys
    monkeypatch.setenv(variable, GridServer.key)
    assert source.past(rig.zone, NOW - 2 * HOUR, NOW - HOUR)


@of(ON_THE_WEB)
def test_who_is_busy_is_asked_again_when_he_says(rig: Rig, web: GridServer) -> None:
    web.troubles = [(429, {"Retry-After": "7"}, {"message": "slow down"})]
    assert rig.source().past(rig.zone, NOW - HOUR, NOW)
    assert rig.waited == [7.0]


@of(ON_THE_WEB)
def test_who_says_a_date_is_asked_again_then(rig: Rig, web: GridServer) -> None:
    web.troubles = [(503, {"Retry-After": "Tue, 10 Mar 2026 12:00:09 GMT"}, {})]
    assert rig.source().past(rig.zone, NOW - HOUR, NOW)
    assert rig.waited == [9.0]


@of(ON_THE_WEB)
def test_who_wants_a_long_rest_is_let_alone(rig: Rig, web: GridServer) -> None:
    web.troubles = [(429, {"Retry-After": "3600"}, {"message": "slow down"})]
    with pytest.raises(SignalUnavailable, match="3600 s") as raised:
        rig.source().past(rig.zone, NOW - HOUR, NOW)
    assert "429" in raised.value.what
    assert rig.waited == []


@of(ON_THE_WEB)
def test_waits_grow_and_end(rig: Rig, web: GridServer) -> None:
    web.troubles = [(500, {}, {"message": "we are sorry"})] * 3
    with pytest.raises(SignalUnavailable, match="500: we are sorry"):
        rig.source().past(rig.zone, NOW - HOUR, NOW)
    assert rig.waited == [1.0, 2.0]


@of(ON_THE_WEB)
def test_a_refusal_is_not_asked_again(rig: Rig, web: GridServer) -> None:
    web.troubles = [(418, {}, {"error": "I am a teapot"})] * 5
    with pytest.raises(SignalUnavailable, match="teapot"):
        rig.source().past(rig.zone, NOW - HOUR, NOW)
    assert rig.waited == []
    assert len(web.troubles) == 4


@of(ON_THE_WEB)
def test_who_does_not_answer_is_given_up(rig: Rig, web: GridServer) -> None:
    rig.timeout_s = 0.02
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes calls, and says nothing
        source = rig.source(base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(SignalUnavailable, match=r"does not answer .*timed out"):
            source.past(rig.zone, NOW - HOUR, NOW)
    assert len(rig.waited) == 2


@of(ON_THE_WEB)
def test_a_closed_door_is_told(rig: Rig, web: GridServer) -> None:
    source = rig.source(base_url="http://127.0.0.1:9")
    with pytest.raises(SignalUnavailable, match="does not answer"):
        source.past(rig.zone, NOW - HOUR, NOW)
    assert len(rig.waited) == 2


@of(ON_THE_WEB)
@pytest.mark.parametrize(
    "body", ["<html>maintenance</html>", "[]", "{}", '{"data": 7}', '"', '{"data": [{"a": 1}]}', ""]
)
def test_nonsense_is_the_providers_fault(rig: Rig, web: GridServer, body: str) -> None:
    source = rig.source()
    source.past(rig.zone, NOW - 2 * HOUR, NOW - HOUR)  # log in, where that is needed
    web.troubles = [(200, {}, body)] * 3
    readings = []
    with suppress(SignalUnavailable):
        readings = source.past(rig.zone, NOW - HOUR, NOW)
    assert readings == []


@of(ON_THE_WEB)
def test_a_key_does_not_follow_to_another_place(rig: Rig, web: GridServer) -> None:
    web.troubles = [(302, {"Location": f"{web.url}/elsewhere"}, "")]
    with pytest.raises(SignalUnavailable, match="302"):
        rig.source().past(rig.zone, NOW - HOUR, NOW)
    assert len(web.asked) == 1


@of(ON_THE_WEB)
def test_a_base_that_is_no_address_is_refused(rig: Rig, web: GridServer) -> None:
    with pytest.raises(UsageError, match="ftp"):
        rig.source(base_url="ftp://example").past(rig.zone, NOW - HOUR, NOW)


@of(REMEMBERS)
def test_now_is_the_clocks(rig: Rig) -> None:
    """No adapter tells of a past that has not happened yet."""
    readings = rig.source().past(rig.zone, NOW - 6 * HOUR, NOW + 24 * HOUR)
    assert readings[-1].end <= NOW
    assert readings[-1].start.tzinfo is UTC
