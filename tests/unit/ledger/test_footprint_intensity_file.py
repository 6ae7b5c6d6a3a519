"""Intensities by time out of a file: what is taken, what is refused, and what a gap is."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger.footprint import Accounting, Signal, stated_pue
from negawatt.ledger.footprint.intensity_file import IntensityFile, read_intensities

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
KWH = Estimate.exact(3_600_000, unit="J", source="meter")


def written(folder: Path, rows: Iterable[Sequence[object]], name: str = "average_gCO2e_per_kWh",
            ) -> Path:  # fmt: skip
    path = folder / "grid.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time", name])
        writer.writerows(rows)
    return path


def hours(*grams: object, start: datetime = START, step: timedelta = HOUR) -> list[list[object]]:
    return [[(start + n * step).isoformat(), one] for n, one in enumerate(grams)]


def read(folder: Path, *grams: object, name: str = "average_gCO2e_per_kWh") -> IntensityFile:
    return read_intensities(written(folder, hours(*grams), name))


@pytest.mark.parametrize(
    ("name", "signal", "accounting", "grams"),
    [
        ("average_gCO2e_per_kWh", Signal.AVERAGE, Accounting.UNSTATED, 300),
        ("average_life_cycle_gCO2e_per_kWh", Signal.AVERAGE, Accounting.LIFE_CYCLE, 300),
        ("average_direct_gCO2_per_kWh", Signal.AVERAGE, Accounting.DIRECT, 300),
        ("MARGINAL_DIRECT_G_PER_KWH", Signal.MARGINAL, Accounting.DIRECT, 300),
        ("marginal_kgCO2_per_kWh", Signal.MARGINAL, Accounting.UNSTATED, 300),
    ],
)
def test_the_name_of_the_column_says_what_the_numbers_are(
    tmp_path: Path, name: str, signal: Signal, accounting: Accounting, grams: float
) -> None:
    value = 0.3 if "kgCO2" in name else 300
    found = read(tmp_path, value, value, name=name)
    assert (found.basis.signal, found.basis.accounting) == (signal, accounting)
    assert found.series.spans[0].estimate.value == pytest.approx(grams)
    assert found.series.spans[0].estimate.kind is Kind.ASSUMED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# only a remark\n", "is empty"),
        ("zone,value\nDE,3\n", "names no column"),
        ("time,gCO2e_per_kWh\n2026-01-01T00:00Z,3\n", "names no column"),  # average or marginal?
        ("time,average_gCO2e\n2026-01-01T00:00Z,3\n", "names no column"),  # per what?
        ("time,average_g_per_kWh,marginal_g_per_kWh\n", "2 columns"),
        ("time,average_g_per_kWh\n2026-01-01T00:00Z,3\n", "1 times"),
        ("time,average_g_per_kWh\n2026-01-01T00:00Z\n", "line 2 .* is cut"),
        ("time,average_g_per_kWh\nyesterday,3\n", "line 2 .* is no time"),
        ("time,average_g_per_kWh\n2026-01-01T00:00,3\n", "line 2 .* does not say its zone"),
        ("time,average_g_per_kWh\n2026-01-01T00:00Z,many\n", "line 2 .* is no number"),
        ("# grid\n\ntime,average_g_per_kWh\n2026-01-01T00:00Z,-3\n", "line 4 .* cannot emit -3"),
        ("time,average_g_per_kWh\n2026-01-01T00:00Z,inf\n", "cannot emit inf"),
        ("time,average_kg_per_kWh\n2026-01-01T00:00Z,300\n", "more than any power station"),
        ("time,average_g_per_kWh\n2026-01-01T00:00Z,\n2026-01-01T01:00Z,nan\n", "no intensity"),
        ("time,average_g_per_kWh\n2026-01-01T00:00Z,3\n2026-01-02T00:00Z,3\n", "hour by hour"),
    ],
)
def test_what_cannot_be_taken_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_intensities(path)


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_intensities(tmp_path / "none.csv")
    (tmp_path / "grid.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_intensities(tmp_path / "grid.csv")


def test_steps_that_differ_are_named(tmp_path: Path) -> None:
    rows = hours(1, 2, 3)
    rows.append([(START + 2.6 * HOUR).isoformat(), 4])
    with pytest.raises(UsageError, match=r"line 5 .* not a whole number of steps"):
        read_intensities(written(tmp_path, rows))


def test_times_that_go_back_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 3 .* goes back in time"):
        read_intensities(written(tmp_path, reversed(hours(1, 2))))


BERLIN_SPRING = ["00:00+01:00", "01:00+01:00", "03:00+02:00", "04:00+02:00"]
BERLIN_AUTUMN = ["01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00"]


@pytest.mark.parametrize(
    "times",
    [
        [f"2026-03-29T{one}" for one in BERLIN_SPRING],
        [f"2026-10-25T{one}" for one in BERLIN_AUTUMN],
    ],
)
def test_a_day_whose_clock_is_moved_has_no_gap(tmp_path: Path, times: list[str]) -> None:
    found = read_intensities(written(tmp_path, [[when, 100] for when in times]))
    assert (found.step, found.gaps, len(found.series.spans)) == (HOUR, (), 4)


def test_a_local_hour_that_comes_twice_with_one_offset_is_named(tmp_path: Path) -> None:
    times = ["2026-10-25T01:00+02:00", "2026-10-25T02:00+02:00", "2026-10-25T02:00+02:00"]
    with pytest.raises(UsageError, match=r"lines 3 and 4 .* same time.*\n.*set back"):
        read_intensities(written(tmp_path, [[when, 100] for when in times]))


@pytest.mark.parametrize("hole", ["", " ", "NaN"])
def test_a_missing_number_is_a_gap_and_never_filled(tmp_path: Path, hole: str) -> None:
    found = read(tmp_path, 100, hole, 300)
    assert found.gaps == ((START + HOUR, START + 2 * HOUR),)
    assert "1 steps missing" in str(found)
    assert found.emissions(KWH, START, START + HOUR) is not None
    assert found.emissions(KWH, START + HOUR, START + 2 * HOUR) is None
    assert found.emissions(KWH, START, START + 3 * HOUR) is None


def test_a_missing_line_is_a_gap(tmp_path: Path) -> None:
    rows = hours(100, 200, 300, 400)
    del rows[2]
    found = read_intensities(written(tmp_path, rows))
    assert found.gaps == ((START + 2 * HOUR, START + 3 * HOUR),)


def test_time_outside_the_file_is_unknown(tmp_path: Path) -> None:
    found = read(tmp_path, 100, 200)
    assert (found.start, found.end) == (START, START + 2 * HOUR)
    for begin in (START - HOUR, START + 2 * HOUR, START + 1.5 * HOUR):
        assert found.emissions(KWH, begin, begin + HOUR) is None


def test_each_hour_has_its_own_intensity(tmp_path: Path) -> None:
    found = read(tmp_path, 100, 400)
    grams = found.emissions(KWH, START + 0.75 * HOUR, START + 1.75 * HOUR, stated_pue(1.5))
    assert grams is not None
    assert grams.value == pytest.approx(1.5 * (0.25 * 100 + 0.75 * 400))
    assert (grams.low, grams.high) == (pytest.approx(150), pytest.approx(600))
    assert grams.kind is Kind.ASSUMED
    assert "average" in grams.boundary


def test_an_entry_without_duration_has_a_place_in_time(tmp_path: Path) -> None:
    grams = read(tmp_path, 100, 400).emissions(KWH, START + HOUR, START + HOUR)
    assert grams is not None
    assert grams.value == pytest.approx(400)


@given(st.lists(st.integers(0, 900), min_size=2, max_size=24), st.data())
def test_two_halves_emit_what_the_whole_does(
    tmp_path_factory: pytest.TempPathFactory, grams: list[int], data: st.DataObject
) -> None:
    found = read(tmp_path_factory.mktemp("grid"), *grams)
    long = len(grams) * HOUR
    cut = data.draw(st.floats(0.1, 0.9)) * long
    whole = found.emissions(KWH, START, START + long)
    halves = [
        found.emissions(KWH.scaled((end - begin) / long), START + begin, START + end)
        for begin, end in ((timedelta(0), cut), (cut, long))
    ]
    assert whole is not None
    assert sum(half.value for half in halves if half) == pytest.approx(whole.value, abs=1e-6)


def column(shared: Path, name: str, column: str) -> list[tuple[str, str]]:
    with gzip.open(shared / "data" / "grid" / name, "rt", encoding="utf-8") as stream:
        return [(row["time_utc"], row[column]) for row in csv.DictReader(stream)]


def test_a_real_year_of_a_real_grid(shared: Path, tmp_path: Path) -> None:
    rows = column(shared, "em2022_ci_lca_hourly_123zones.csv.gz", "DE")
    path = written(tmp_path, rows, "average_life_cycle_gCO2e_per_kWh")
    found = read_intensities(path)
    assert (len(found.series.spans), found.gaps) == (8760, ())
    day = found.emissions(KWH, datetime(2022, 6, 1, tzinfo=UTC), datetime(2022, 6, 2, tzinfo=UTC))
    own = [float(value) for time, value in rows if time.startswith("2022-06-01")]
    assert len(own) == 24
    assert day is not None
    assert day.value == pytest.approx(sum(own) / 24)
    assert (day.low, day.high) == (pytest.approx(min(own)), pytest.approx(max(own)))


def test_a_real_marginal_signal_of_five_minutes(shared: Path, tmp_path: Path) -> None:
    rows = column(shared, "sgip2020_caiso_pge_moer_5min.csv.gz", "moer")[: 12 * 24]
    found = read_intensities(written(tmp_path, rows, "marginal_kgCO2_per_kWh"))
    assert found.step == timedelta(minutes=5)
    hour = found.emissions(KWH, found.start, found.start + HOUR)
    assert hour is not None
    assert hour.value == pytest.approx(1000 * sum(float(v) for _, v in rows[:12]) / 12)
    assert "marginal" in hour.boundary


def test_real_hours_that_lack_their_number(shared: Path, tmp_path: Path) -> None:
    with gzip.open(
        shared / "data" / "grid" / "eia2022_us8_hourly_mix_ci.csv.gz", "rt", encoding="utf-8"
    ) as stream:
        table = list(csv.DictReader(stream))
    zone = next(key for key, value in table[0].items() if value in {"AZPS", "CISO", "PJM"})
    rows = [(row["time_utc"], row["ci_avg"]) for row in table if row[zone] == "CISO"]
    found = read_intensities(written(tmp_path, rows, "average_direct_gCO2_per_kWh"))
    assert sum((end - start) / HOUR for start, end in found.gaps) == 3
    start, end = found.gaps[0]
    assert found.emissions(KWH, start, end) is None
