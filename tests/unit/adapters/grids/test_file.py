"""Files of hours: clocks, labels, units, weather, and forecasts as they stood."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from negawatt.adapters.grids.file import GridFile
from negawatt.adapters.grids.web import Patience
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Status, Topic

HOUR = timedelta(hours=1)
DAY = datetime(2025, 10, 26, tzinfo=UTC)


def file_of(folder: Path, text: str, **options: Any) -> GridFile:
    path = folder / "grid.csv"
    path.write_text(text, encoding="utf-8")
    patience = Patience(clock=lambda: DAY + 24 * HOUR)
    return GridFile(path=str(path), patience=patience, **options)


def values(source: GridFile, zone: str = "DE") -> list[tuple[int, float]]:
    told = source.past(zone, DAY - 24 * HOUR, DAY + 48 * HOUR)
    return [(one.start.hour, one.value) for one in told]


def test_clocks_that_are_set_back_show_an_hour_twice(tmp_path: Path) -> None:
    text = "time,value\n" + "".join(
        f"2025-10-26T0{hour}:00,{value}\n" for hour, value in ((1, 1), (2, 2), (2, 3), (3, 4))
    )
    source = file_of(tmp_path, text, timezone="Europe/Berlin")
    assert values(source) == [(23, 1.0), (0, 2.0), (1, 3.0), (2, 4.0)]


def test_an_empty_hour_still_counts_among_those_that_come_twice(tmp_path: Path) -> None:
    text = "time,value\n2025-10-26T02:00,\n2025-10-26T02:00,3\n2025-10-26T03:00,4\n"
    source = file_of(tmp_path, text, timezone="Europe/Berlin")
    assert values(source) == [(1, 3.0), (2, 4.0)]


def test_an_hour_that_clocks_skip_is_refused(tmp_path: Path) -> None:
    source = file_of(tmp_path, "time,value\n2026-03-29T02:30,1\n", timezone="Europe/Berlin")
    with pytest.raises(UsageError, match="skip") as raised:
        values(source)
    assert "UTC" in raised.value.fix


def test_times_without_a_zone_are_refused_unless_it_is_told(tmp_path: Path) -> None:
    text = "time,value\n2025-10-26T02:00,1\n"
    with pytest.raises(UsageError, match="without their zone"):
        values(file_of(tmp_path, text))
    assert values(file_of(tmp_path, text, timezone="UTC")) == [(2, 1.0)]
    assert values(file_of(tmp_path, text.replace("time,", "time_utc,"))) == [(2, 1.0)]
    with pytest.raises(UsageError, match="Middle/Earth"):
        values(file_of(tmp_path, text, timezone="Middle/Earth"))


def test_a_time_that_is_told_twice_must_be_told_alike(tmp_path: Path) -> None:
    text = "time,value\n2025-10-26T02:00Z,1\n2025-10-26T02:00Z,{}\n2025-10-26T03:00Z,2\n"
    assert values(file_of(tmp_path, text.format(1))) == [(2, 1.0), (3, 2.0)]
    with pytest.raises(UsageError, match="twice: 1 and 5"):
        values(file_of(tmp_path, text.format(5)))


def test_times_may_name_the_end(tmp_path: Path) -> None:
    text = "time,value\n2025-10-26T02:00Z,1\n2025-10-26T03:00Z,2\n"
    assert values(file_of(tmp_path, text, label="end")) == [(1, 1.0), (2, 2.0)]
    with pytest.raises(UsageError, match="label=middle"):
        file_of(tmp_path, text, label="middle")


def test_units_are_converted_row_by_row_and_unknown_ones_refused(tmp_path: Path) -> None:
    text = "time,value,unit\n2025-10-26T02:00Z,0.3,kg/kWh\n2025-10-26T03:00Z,1000,lb/MWh\n"
    found = values(file_of(tmp_path, text))
    assert found == [(2, 300.0), (3, pytest.approx(453.59237))]
    with pytest.raises(SignalUnavailable, match="stone/furlong"):
        values(file_of(tmp_path, text.replace("lb/MWh", "stone/furlong")))
    assert values(file_of(tmp_path, "time,value\n2025-10-26T02:00Z,0.3\n", unit="kg/kWh")) == [
        (2, 300.0)
    ]


def test_a_price_needs_its_currency_and_may_be_negative(tmp_path: Path) -> None:
    text = "time,price\n2025-10-26T02:00Z,-12.5\n"
    with pytest.raises(UsageError, match="without its unit"):
        values(file_of(tmp_path, text, topic="price"))
    source = file_of(tmp_path, text, topic="price", unit="EUR/MWh")
    told = source.past("DE", DAY, DAY + 24 * HOUR)
    assert (told[0].value, told[0].unit, told[0].basis) == (-12.5, "EUR/MWh", None)


@pytest.mark.parametrize(
    ("topic", "column", "unit"),
    [
        ("temperature", "dry_bulb_c", "degC"),
        ("irradiance", "ghi_wh_m2", "W/m2"),
        ("wind", "wind_ms", "m/s"),
        ("solar", "value", "1"),
        ("load", "load", "MW"),
    ],
)
def test_weather_and_load(tmp_path: Path, topic: str, column: str, unit: str) -> None:
    source = file_of(tmp_path, f"time,{column}\n2025-10-26T02:00Z,7\n", topic=topic)
    told = source.past("here", DAY, DAY + 24 * HOUR)
    assert (told[0].topic, told[0].value, told[0].unit) == (Topic(topic), 7.0, unit)


def test_zones_in_columns_in_rows_or_translated_by_the_column(tmp_path: Path) -> None:
    wide = "time_utc,DE,FR\n2025-10-26T02:00,300,50\n"
    assert values(file_of(tmp_path, wide), "FR") == [(2, 50.0)]
    with pytest.raises(UsageError, match="FX") as raised:
        values(file_of(tmp_path, wide), "FX")
    assert "FR" in raised.value.fix
    tall = "time_utc,zone,ci\n2025-10-26T02:00,DE,300\n2025-10-26T02:00,FR,50\n"
    assert values(file_of(tmp_path, tall), "FR") == [(2, 50.0)]
    assert values(file_of(tmp_path, wide, column="DE"), "anything") == [(2, 300.0)]
    with pytest.raises(UsageError, match="no column ES"):
        values(file_of(tmp_path, wide, column="ES"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no column of times"),
        ("zone,value\nDE,1\n", "no column of times"),
        ("time,zone,huh\n2025-10-26T02:00Z,DE,1\n", "no column of values"),
        ("time,value\nyesterday,1\n", "yesterday"),
        ("time,value\n2025-10-26T02:00Z,much\n", "much"),
        ("time,value\n2025-10-26T02:00Z,inf\n", "inf"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        values(file_of(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        GridFile()
    with pytest.raises(SignalUnavailable, match="absent"):
        GridFile(path=str(tmp_path / "absent.csv")).past("DE", DAY, DAY + HOUR)
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"no gzip at all")
    with pytest.raises(SignalUnavailable, match="cannot be read"):
        GridFile(path=str(broken)).past("DE", DAY, DAY + HOUR)
    with pytest.raises(UsageError, match="colour"):
        GridFile(path=str(broken), colour="green")


def test_a_packed_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv.gz"
    path.write_bytes(gzip.compress("\ufefftime_utc,DE\n2025-10-26T02:00,300\n".encode()))
    assert values(GridFile(path=str(path))) == [(2, 300.0)]


def test_only_the_newest_forecast_of_then_is_told(tmp_path: Path) -> None:
    lines = ["issued_at,time,value"]
    for issued in (0, 6, 12):
        lines += [f"2025-10-26T{issued:02}:00Z,2025-10-26T{hour}:00Z,{issued}" for hour in (13, 14)]
    source = file_of(tmp_path, "\n".join(lines))

    def known(at: int) -> set[float]:
        then = DAY + at * HOUR
        told = source.ahead("DE", DAY + 13 * HOUR, DAY + 15 * HOUR, as_of=then)
        assert all(one.issued_at is not None and one.issued_at <= then for one in told)
        return {one.value for one in told}

    assert (known(3), known(6), known(11), known(20)) == ({0.0}, {6.0}, {6.0}, {12.0})
    assert source.ahead("DE", DAY + 13 * HOUR, DAY + 15 * HOUR, as_of=DAY - HOUR) == []
    assert source.ahead("DE", DAY + 13 * HOUR, DAY + 15 * HOUR)[0].value == 12.0


def test_a_column_that_says_what_it_is_needs_no_options(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(f"time,marginal_direct_kgCO2_per_kWh\n{DAY.isoformat()},0.25\n")
    source = GridFile(path=str(path))
    (reading,) = source.past("anywhere", DAY, DAY + HOUR)
    assert str(reading.basis) == "marginal, direct"
    assert reading.value == 250


def test_times_to_come_are_a_forecast_and_in_a_replay_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    begin = (datetime.now(UTC) + 2 * HOUR).replace(minute=0, second=0, microsecond=0)
    path.write_text(f"time,average_gCO2e_per_kWh\n{begin.isoformat()},250\n")
    source = GridFile(path=str(path))
    (reading,) = source.ahead("DE", begin, begin + HOUR)
    assert reading.status is Status.FORECAST
    with pytest.raises(SignalUnavailable, match="no forecasts"):
        source.ahead("DE", begin, begin + HOUR, as_of=begin - 48 * HOUR)
