"""Signals and jobs out of files: what is there, what lacks, and what is wrong."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from negawatt.actions.backtest.jobs import Wanted, jobs
from negawatt.actions.backtest.spans import Slack, part_of, slack_of, span_of
from negawatt.actions.backtest.table import Reading, place, read, zones_of
from negawatt.core.errors import UsageError
from negawatt.core.grid import GRAMS_PER_KWH, Basis, Signal, Status, Topic
from negawatt.signals.series import Series

HOUR = timedelta(hours=1)
WIDE = """time_utc,DE,BA
2026-01-01T00:00:00Z,300,500
2026-01-01T01:00:00Z,310,
2026-01-01T03:00:00Z,290,510
"""
LONG = """zone,time,ci,forecast
DE,2026-01-01T00:00:00+01:00,300,290
SE,2026-01-01T00:00:00+01:00,20,21
DE,2026-01-01T01:00:00+01:00,310,305
SE,2026-01-01T01:00:00+01:00,22,23
"""


def write(folder: Path, text: str, name: str = "ci.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8-sig")
    return file


def hours(count: int, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> Series:
    return Series(
        zone="DE",
        topic=Topic.CARBON,
        unit=GRAMS_PER_KWH,
        basis=Basis(),
        source="made up",
        status=Status.MEASURED,
        start=start,
        step=HOUR,
        values=np.ones(count),
    )


def test_a_column_a_zone_with_holes_kept(tmp_path: Path) -> None:
    table = read(write(tmp_path, WIDE))
    assert zones_of(table) == ("DE", "BA")  # BA is Bosnia here, and no list of authorities
    found = place(table, Reading(), zone="BA").actual
    assert found.step == HOUR
    assert found.values == pytest.approx([500, np.nan, np.nan, 510], nan_ok=True)


def test_a_row_a_zone_with_its_forecast(tmp_path: Path) -> None:
    packed = tmp_path / "ci.csv.gz"
    packed.write_bytes(gzip.compress(LONG.encode()))
    table = read(packed)
    assert zones_of(table) == ("DE", "SE")
    found = place(table, Reading(unit="kg"), zone="SE", recorded="forecast")
    assert found.actual.start == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert found.actual.values.tolist() == [20_000, 22_000]
    assert found.recorded is not None
    assert found.recorded.tolist() == [21_000, 23_000]


def test_pounds_become_grams_and_the_basis_stays(tmp_path: Path) -> None:
    how = Reading(unit="lb/MWh", basis=Basis(Signal.MARGINAL))
    found = place(read(write(tmp_path, WIDE)), how, zone="DE").actual
    assert found.values[0] == pytest.approx(300 * 0.45359237)
    assert str(found.basis) == "marginal, accounting not stated"


def test_a_time_is_cut_out(tmp_path: Path) -> None:
    how = Reading(
        start=datetime(2026, 1, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 1, 2, tzinfo=UTC)
    )
    assert place(read(write(tmp_path, WIDE)), how, zone="DE").actual.values.tolist() == [310]


def test_forecasts_in_columns_become_slots_ahead(tmp_path: Path) -> None:
    lines = ["time,moer,f1,f2,f3,f4,f5,f6"]
    lines += [f"2026-01-01T00:{15 * at:02}:00Z,{at},1,2,3,4,5,{at}" for at in range(3)]
    found = place(
        read(write(tmp_path, "\n".join(lines))), Reading(), revised_step=timedelta(minutes=5)
    )
    assert found.revised is not None
    # 15 minutes ahead are f3, f4 and f5; f6 alone does not fill the next slot
    assert found.revised.tolist() == [[4.0], [4.0], [4.0]]
    with pytest.raises(UsageError, match="f1, f2"):
        place(read(write(tmp_path, WIDE)), Reading(), zone="DE", revised_step=HOUR)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no rows"),
        ("a,b\n1,2\n", "no column of times"),
        ("time,ci\n2026-01-01T00:00Z\n", "line 2"),
        ("time,ci\nyesterday,1\nnow,2\n", "yesterday"),
        ("time,ci\n2026-01-01T00:00,1\n2026-01-01T01:00,2\n", "no time zone"),
        ("time,ci\n2026-01-01T00:00Z,1\n2026-01-01T00:00Z,2\n", "stands twice"),
        ("time,ci\n2026-01-01T00:00Z,1\n", "one row only"),
        ("time,ci\n2026-01-01T00:00Z,many\n2026-01-01T01:00Z,2\n", "many"),
        (
            "time,ci\n2026-01-01T00:00:00Z,1\n2026-01-01T01:00:01Z,2\n2026-01-01T02:00:00Z,2\n",
            "even steps",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        place(read(write(tmp_path, text)), Reading())


def test_names_that_are_not_there_are_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.csv")
    wide, long = read(write(tmp_path, WIDE)), read(write(tmp_path, LONG, "long.csv"))
    with pytest.raises(UsageError, match="choose among DE, BA"):
        place(wide, Reading(), zone="GB")
    with pytest.raises(UsageError, match="several columns"):
        place(wide, Reading())
    with pytest.raises(UsageError, match="several zones"):
        place(long, Reading())
    with pytest.raises(UsageError, match="no column 'ci_lca'"):
        place(long, Reading(), zone="DE", column="ci_lca")
    with pytest.raises(UsageError, match="no unit"):
        place(wide, Reading(unit="t"), zone="DE")


def test_times_without_a_zone_may_be_said_to_be_utc(tmp_path: Path) -> None:
    file = write(tmp_path, "time,ci\n2026-01-01 00:00,1\n2026-01-01 01:00,2\n")
    found = place(read(file, naive_utc=True), Reading()).actual
    assert (found.zone, found.start.hour, len(found)) == ("ci", 0, 2)


def test_clocks_set_back_are_two_hours_and_not_one(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "time,ci\n2026-10-25T02:00+02:00,1\n2026-10-25T02:00+01:00,2\n2026-10-25T03:00+01:00,3\n",
    )
    assert place(read(file), Reading()).actual.values.tolist() == [1, 2, 3]


def test_jobs_by_the_clock() -> None:
    # 1 January 2026 is a Thursday
    day = jobs(Wanted(spec="daily 01:00", duration=HOUR, slack=slack_of("2h")), hours(72))
    assert day.release.tolist() == [1, 25, 49]
    assert day.deadline.tolist() == [4, 28, 52]
    working = jobs(
        Wanted(spec="workdays 09:00-10:00", duration=2 * HOUR, slack=slack_of("0h")), hours(120)
    )
    assert working.release.tolist() == [9, 10, 33, 34, 105, 106]
    some = jobs(Wanted(spec="every 6h", duration=HOUR, slack=slack_of("30m")), hours(24))
    assert some.release.tolist() == [0, 6, 12, 18]
    assert some.deadline.tolist() == [1, 7, 13, 19]  # half an hour is no slot


def test_jobs_of_a_study_for_any_policy() -> None:
    # 2020 begins on a Wednesday, and 24 h after this signal does
    series = hours(24 * 400, datetime(2019, 12, 31, tzinfo=UTC))
    found = jobs(Wanted(spec="lets-wait-awhile semi-weekly"), series)
    assert len(found) == 3387
    # in hours a job of half an hour too little slack ends in the next one
    on_time = found.deadline % 24 == 9
    assert on_time.mean() > 0.99
    weekday = (1 + found.deadline[on_time] // 24) % 7
    assert set(weekday.tolist()) == {0, 3}
    assert (found.release % 24 >= 9).all()


def test_jobs_of_a_file_in_numbers_and_in_times(tmp_path: Path) -> None:
    traced = write(tmp_path, "arrival_time,length,cpus\n0.25,1.5,4\n30,2,1\n", "jobs.csv")
    wanted = Wanted(spec=str(traced), slack=Slack(times=2.0), unit="h", power_w=10.0)
    found = jobs(wanted, hours(24))
    assert found.release.tolist() == [1]  # released within a slot, it begins with the next
    assert found.steps.tolist() == [1.5]
    assert found.deadline.tolist() == [4]
    assert found.power_w.tolist() == [40.0]
    assert found.left_out == 1  # the other lies after the signal
    told = write(
        tmp_path,
        "release,duration,deadline,power_w\n2026-01-01T02:00Z,3600,2026-01-01T09:30Z,5\n",
        "due.csv",
    )
    due = jobs(Wanted(spec=str(told)), hours(24))
    assert (due.release.item(), due.deadline.item(), due.power_w.item()) == (2, 9, 5.0)
    slack = write(tmp_path, "release,duration,slack\n0,3600,5h\n", "slack.csv")
    assert jobs(Wanted(spec=str(slack)), hours(24)).deadline.tolist() == [6]
    begun = Wanted(spec=str(slack), begin=datetime(2026, 1, 1, 3, tzinfo=UTC))
    assert jobs(begun, hours(24)).release.tolist() == [3]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("often", "not understood"),
        ("daily 25:00", "no time of day"),
        ("every soon", "no length of time"),
        ("lets-wait-awhile", "no rule"),
    ],
)
def test_jobs_that_cannot_be_read_are_told(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        jobs(Wanted(spec=spec), hours(24))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("length\n1\n", "no column release"),
        ("release\n1\n", "no column duration"),
        ("release,duration\nnoon,1\n", "no moment"),
        ("release,duration\n0,long\n", "no number"),
        ("release,duration\n2026-01-01T02:00,1\n", "no time zone"),
    ],
)
def test_files_of_jobs_that_cannot_be_read_are_told(tmp_path: Path, text: str, told: str) -> None:
    file = write(tmp_path, text, "jobs.csv")
    with pytest.raises(UsageError, match=told):
        jobs(Wanted(spec=str(file)), hours(24))


def test_a_duration_longer_than_the_signal_leaves_no_job() -> None:
    with pytest.raises(UsageError, match="no job to try"):
        jobs(Wanted(duration=48 * HOUR), hours(24))


@pytest.mark.parametrize("text", ["", "4", "h", "4 hours late", "-1h", "0h"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="no length of time"):
        span_of(text)


@pytest.mark.parametrize("text", ["", "many", "-5%", "nan", "inf"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="no share"):
        part_of(text)
