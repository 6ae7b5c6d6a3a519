"""From an address to an outlook: options, names of zones, keys, and who can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grid_rigs
import grid_worldwide
import numpy as np
import pytest
from grid_rigs import Rig
from grid_server import HOUR, NOW, GridServer, foreseen, truth

from negawatt import settings as configuration
from negawatt.core import registry
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Status, Topic
from negawatt.settings import Settings
from negawatt.signals import kept
from negawatt.signals.ladder import Rung
from negawatt.signals.series import Series
from negawatt.wiring import grid

TODAY = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configuration.load({"paths.cache": str(tmp_path / "cache")}, environ={}, folder=tmp_path)


@pytest.fixture
def past(tmp_path: Path) -> str:
    """An address of a file of what happened."""
    return f"file://{grid_rigs.file_of_past(tmp_path).options['path']}"


@pytest.fixture
def forecasts(tmp_path: Path) -> str:
    return f"file://{grid_rigs.file_of_forecasts(tmp_path).options['path']}"


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("ELECTRICITYMAPS_API_KEY", GridServer.key)
    monkeypatch.setattr(grid_worldwide, "NOW", TODAY)  # what it is asked through has its own clock
    made = grid_rigs.electricitymaps(tmp_path)
    yield made
    made.close()


def test_a_file_of_forecasts_replays_what_was_known_then(
    settings: Settings, forecasts: str
) -> None:
    then = NOW - 30 * HOUR
    outlook = grid.outlook(
        "DE", then, then + 12 * HOUR, settings=settings, provider=forecasts, now=then
    )
    assert outlook.rung is Rung.LIVE
    assert outlook.series.issued_at is not None
    assert outlook.series.issued_at <= then
    assert outlook.series.values.tolist() == [foreseen(then + n * HOUR) for n in range(12)]


def test_a_history_is_foreseen_from_what_was_over_then(settings: Settings, past: str) -> None:
    then = NOW - 10 * 24 * HOUR
    seen: list[Series] = []

    def foresee(history: Series, start: datetime, end: datetime) -> Series:
        seen.append(history)
        return replace(
            history, start=start, values=np.full(12, 1.0), status=Status.FORECAST, issued_at=then
        )

    outlook = grid.outlook(
        "DE", then, then + 12 * HOUR, settings=settings, provider=past, now=then, foresee=foresee,
        history=timedelta(days=7),
    )  # fmt: skip
    assert outlook.rung is Rung.FORESEEN
    assert (seen[0].start, seen[0].end) == (then - timedelta(days=7), then)


def test_providers_that_lack_a_key_never_block(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in registry.names(registry.GRIDS):
        for key in getattr(registry.load(registry.GRIDS, name), "keys", ()):
            monkeypatch.delenv(key, raising=False)
    everybody = "electricitymaps:// watttime:// entsoe:// eia:// file:///nowhere/at/all.csv"
    outlook = grid.outlook(
        "DE",
        NOW,
        NOW + 24 * HOUR,
        settings=settings,
        provider=everybody,
        foresee=lambda history, start, end: history,
    )
    assert outlook.rung is Rung.TYPICAL
    said = " ".join(outlook.remarks)
    for key in ("ELECTRICITYMAPS_API_KEY", "WATTTIME_USER", "ENTSOE_API_KEY", "EIA_API_KEY"):
        assert said.count(f"export {key}") == 1  # and once is enough


def test_what_a_provider_said_is_kept_for_when_it_is_out(
    settings: Settings, maps: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert maps.server is not None
    address = f"electricitymaps://?base_url={maps.server.url}"
    window = (TODAY - 10 * 24 * HOUR, TODAY - 8 * 24 * HOUR)
    first = grid.observed("DE", *window, settings=settings, provider=address)
    assert first.values.tolist() == [truth(at) for at in first.times()]
    asked = len(maps.server.asked)
    again = grid.observed("DE", *window, settings=settings, provider=address)
    assert again.values.tolist() == first.values.tolist()
    assert len(maps.server.asked) == asked  # a past that is settled is not asked for again
    ahead = grid.outlook("DE", TODAY, TODAY + 6 * HOUR, settings=settings, provider=address)
    assert ahead.rung is Rung.LIVE
    maps.server.troubles = [(418, {}, {"error": "I am a teapot"})] * 9
    monkeypatch.setattr(kept, "FORECAST", timedelta(0))
    later = grid.outlook("DE", TODAY, TODAY + 6 * HOUR, settings=settings, provider=address)
    assert later.rung is Rung.KEPT
    assert later.series.values.tolist() == ahead.series.values.tolist()
    assert any("teapot" in one for one in later.remarks)


def test_names_of_zones_are_translated(settings: Settings, past: str) -> None:
    address = f"{past}?zones=MY-HOME:DE,FR:DE"
    for zone in ("MY-HOME", "FR", "DE"):
        series = grid.observed(zone, NOW - 5 * HOUR, NOW, settings=settings, provider=address)
        assert (series.zone, len(series)) == (zone, 5)
    with pytest.raises(UsageError, match="zones=DE"):
        grid.observed("DE", NOW - HOUR, NOW, settings=settings, provider=f"{past}?zones=DE")


def test_providers_of_the_settings_are_asked_in_turn(tmp_path: Path, past: str) -> None:
    settings = configuration.load(
        {"grid.providers": f"file:///nowhere.csv {past}"}, environ={}, folder=tmp_path
    )
    series = grid.observed("DE", NOW - 5 * HOUR, NOW, settings=settings)
    assert series.source == "file:past.csv"


def test_a_past_that_nobody_tells_is_not_made_up(settings: Settings) -> None:
    with pytest.raises(SignalUnavailable, match="no provider is named"):
        grid.observed("DE", NOW - HOUR, NOW, settings=settings)
    with pytest.raises(UsageError, match="nowhere"):
        grid.observed("DE", NOW - HOUR, NOW, settings=settings, provider="file:///nowhere.csv")
    with pytest.raises(SignalUnavailable, match="nowhere"):
        grid.observed(
            "DE", NOW - HOUR, NOW, settings=settings, provider="file:///nowhere.csv file:///x.csv"
        )


def test_one_provider_that_knows_no_such_zone_says_so(settings: Settings, past: str) -> None:
    with pytest.raises(UsageError, match="'DX'") as raised:
        grid.observed("DX", NOW - HOUR, NOW, settings=settings, provider=past)
    assert "DE" in raised.value.fix
    two = f"{past} file:///nowhere.csv"
    with pytest.raises(SignalUnavailable, match="'DX'"):
        grid.observed("DX", NOW - HOUR, NOW, settings=settings, provider=two)


def test_who_tells_nothing_of_a_topic_is_passed_over(settings: Settings) -> None:
    outlook = grid.outlook(
        "GB", NOW, NOW + HOUR, settings=settings, provider="uk://", topic=Topic.PRICE
    )
    assert outlook.rung is Rung.NOTHING
    assert "uk tells nothing of price" in outlook.remarks


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("nobody://", "nobody"),
        ("uk", "uk"),
        ("uk://?colour=green", "colour"),
        ("electricitymaps://?factors=all", "factors=all"),
        ("watttime://?signal=signal-index", "no carbon intensity"),
        ("carbonawaresdk://", "its server"),
        ("file://", "no file"),
        ("eia://?key=abc", "holds a key"),
        ("watttime://?user=ada&password=abc", "holds a password"),
        ("uk://?base_url=https://ada:abc@host", "user and a password"),
    ],
)
def test_an_address_that_cannot_be_read_is_an_error(
    settings: Settings, address: str, what: str
) -> None:
    with pytest.raises(UsageError, match=what) as raised:
        grid.outlook("DE", NOW, NOW + HOUR, settings=settings, provider=address)
    assert "abc" not in str(raised.value)


def test_sources_that_are_built_already_may_be_handed_in(
    settings: Settings, tmp_path: Path
) -> None:
    source = grid_rigs.file_of_forecasts(tmp_path).source()
    for given in (source, [source], (source,)):
        outlook = grid.outlook("DE", NOW, NOW + HOUR, settings=settings, provider=given, now=NOW)
        assert outlook.rung is Rung.LIVE


def test_a_cache_that_cannot_be_written_is_a_remark(tmp_path: Path, maps: Rig) -> None:
    (tmp_path / "file").write_text("")
    settings = configuration.load({"paths.cache": str(tmp_path / "file" / "x")}, environ={})
    assert maps.server is not None
    outlook = grid.outlook(
        "DE",
        TODAY,
        TODAY + 3 * HOUR,
        settings=settings,
        provider=f"electricitymaps://?base_url={maps.server.url}",
    )
    assert any("cannot be written" in one for one in outlook.remarks)


def test_everybody_is_listed_with_what_they_lack() -> None:
    told = {one.name: one for one in grid.providers({"EIA_API_KEY": "x"})}
    assert set(told) == set(registry.names(registry.GRIDS))
    assert told["eia"].missing == ()
    assert told["watttime"].missing == ("WATTTIME_USER", "WATTTIME_PASSWORD")
    for one in told.values():
        assert one.about
        assert "carbon" in one.topics


@pytest.mark.parametrize(
    ("file", "zone", "options", "start", "first"),
    [
        ("em2022_ci_lca_hourly_123zones", "AT", "", "2022-01-01T00:00Z", 84.73),
        ("em2023_hourly_5zones", "AU-SA", "?column=ci_direct", "2023-01-01T00:00Z", 17.99),
        ("lww2020_ci_30min", "DE", "", "2019-12-20T00:00Z", 218.290031),
        ("dacf2021h2_dayahead_forecast", "CISO", "?column=ci_actual", "2021-07-01T00:00Z", 162.35),
        ("gb_neso2020_2025_hourly", "GB", "", "2020-01-08T00:00Z", 87.0),
        (
            "sgip2021-06_caiso_pge_moer_rolling_forecast",
            "CAISO_PGE",
            "?column=moer&unit=kg/kWh&signal=marginal",
            "2021-06-01T00:00Z",
            414.9,
        ),
    ],
)
def test_real_files_are_read_as_they_are(
    shared: Path, settings: Settings, file: str, zone: str, options: str, start: str, first: float
) -> None:
    begin = datetime.fromisoformat(start)
    address = f"file://{shared}/data/grid/{file}.csv.gz{options}"
    series = grid.observed(zone, begin, begin + 24 * HOUR, settings=settings, provider=address)
    assert series.values[0] == pytest.approx(first)
    assert series.end - series.start == timedelta(days=1)
    assert series.complete
