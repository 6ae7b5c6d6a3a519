"""`negawatt plan`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from negawatt.cli.plan import command
from negawatt.core.errors import UsageError
from negawatt.wiring import plan as wired

NOW = datetime(2026, 6, 1, 18, tzinfo=UTC)


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NEGAWATT_ZONE", raising=False)
    monkeypatch.setattr(wired, "clock", lambda: NOW)
    monkeypatch.setattr("negawatt.wiring.grid._now", lambda: NOW)


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def told(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan(*arguments, "--json").output)
    return found


@pytest.fixture
def night(tmp_path: Path) -> str:
    """A grid whose clean hours are from 02:00 to 05:00, two days long."""
    lines = ["time,average_life_cycle_gCO2e_per_kWh"]
    begin = NOW.replace(hour=0) - timedelta(days=30)
    for hour in range(24 * 33):
        at = begin + timedelta(hours=hour)
        lines.append(f"{at:%Y-%m-%dT%H:%MZ},{100 if 2 <= at.hour < 5 else 400}")
    file = tmp_path / "night.csv"
    file.write_text("\n".join(lines))
    return f"file://{file}"


def test_a_job_goes_to_the_clean_hours(night: str) -> None:
    found = told("--zone", "DE", "--duration", "3h", "--power", "1000", "--provider", night)
    best = found["options"][0]["schedule"]
    assert [one["start"] for one in best["stretches"]] == ["2026-06-02T02:00:00+00:00"]
    assert best["grams"]["value"] == pytest.approx(300)
    assert best["now"]["value"] == pytest.approx(1200)
    assert best["saving"]["value"] == pytest.approx(0.75)


def test_a_file_may_be_named_by_its_path(night: str) -> None:
    arguments = ("--zone", "DE", "--duration", "3h", "--provider")
    assert told(*arguments, night.removeprefix("file://")) == told(*arguments, night)
    with pytest.raises(UsageError, match="neither a file nor the address"):
        plan(*arguments, "nowhere.csv")


def test_the_parts_of_the_saving_add_to_the_whole() -> None:
    arguments = ("--zone", "PL", "--zone", "FR", "--duration", "4h", "--provider", "")
    found = told(*arguments)
    assert found["options"][0]["place"] == "FR"
    place, time, both = (part["grams"]["value"] for part in found["parts"])
    assert place + time == pytest.approx(both)
    assert place > 0
    assert time >= 0


def test_zones_that_count_differently_are_not_ranked(night: str) -> None:
    file = Path(night.removeprefix("file://"))
    other = file.with_name("other.csv")
    other.write_text(file.read_text().replace("average_life_cycle", "marginal_direct"))

    def look(zone: str) -> str:
        return night if zone == "A" else f"file://{other}"

    from negawatt.actions.plan.choose import plan as choose_all
    from negawatt.actions.plan.sites import of_zones
    from negawatt.decisions.when import Job

    job = Job(name="a", work_s=3600, power_w=1, release=NOW, deadline=NOW + timedelta(hours=12))

    def ahead(zone: str) -> Any:
        return wired.outlook(zone, job.release, job.deadline, provider=look(zone), now=NOW)

    found = choose_all(job, of_zones(("A", "B")), ahead)
    assert [option.place for option in found.options] == ["A"]
    assert "B is not ranked" in found.left_out[0]


def test_a_page_and_a_screen_say_the_same_hours(night: str, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    arguments = ("--zone", "DE", "--duration", "3h", "--provider", night)
    printed = plan(*arguments, "--html", str(page)).output
    assert "Tue 02 Jun 02:00 to Tue 02 Jun 05:00" in printed
    assert "Tue 02 Jun 02:00 to Tue 02 Jun 05:00" in page.read_text()
    marks = next(line for line in printed.splitlines() if "━" in line)
    assert marks.count("━") == 3  # three of 24 columns


def test_a_place_nobody_knows_runs_at_once_and_says_so() -> None:
    found = told("--zone", "XX-NOWHERE", "--duration", "1h", "--provider", "")
    schedule = found["options"][0]["schedule"]
    assert schedule["stretches"][0]["start"] == NOW.isoformat()
    assert schedule["fallback"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--zone", "DE"), "how long the job runs"),
        (("--duration", "1h"), "no zone is named"),
        (("--zone", "DE", "--duration", "30h"), "to its deadline"),
        (("--zone", "DE", "--duration", "1h", "--deadline", "2026-05-01T00:00Z"), "is past"),
        (("--zone", "DE", "--duration", "1h", "--deadline", "soon"), "is no deadline"),
        (("--zone", "DE", "--duration", "1h", "--scaling", "a,b"), "no numbers"),
        (("--zone", "DE", "--duration", "1h", "--scaling", "2,3"), "scaling"),
        (("--zone", "DE", "--duration", "1h", "--price-weight", "3", "--provider", ""), "prices"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        plan(*arguments)


SITES = """
[sites.here]
zone = "PL"
pue = 1.5
[sites.there]
zone = "FR"
pue = 1.1
speed = 0.5
latency_ms = 20
[data]
gigabytes_in = {gigabytes}
"""


def sites(folder: Path, gigabytes: float, more: str = "") -> str:
    file = folder / "sites.toml"
    file.write_text(more + SITES.format(gigabytes=gigabytes))
    return str(file)


def test_moving_data_is_paid_for_and_may_not_be_worth_it(tmp_path: Path) -> None:
    arguments = ("--duration", "4h", "--deadline", "+36h", "--provider", "", "--sites")
    light = told(*arguments, sites(tmp_path, 1))
    heavy = told(*arguments, sites(tmp_path, 1e6))
    assert light["options"][0]["place"] == "there"
    assert light["options"][0]["transfer"]["value"] > 0
    assert heavy["options"][0]["place"] == "here"


def test_a_slower_device_in_another_building_takes_longer(tmp_path: Path) -> None:
    arguments = ("--duration", "4h", "--deadline", "+36h", "--provider", "", "--sites")
    found = told(*arguments, sites(tmp_path, 0))
    there = next(one for one in found["options"] if one["place"] == "there")
    ran = there["schedule"]["stretches"][0]
    length = datetime.fromisoformat(ran["end"]) - datetime.fromisoformat(ran["start"])
    assert length == timedelta(hours=8)


def test_the_example_of_sites_can_be_planned(tmp_path: Path) -> None:
    file = tmp_path / "sites.toml"
    file.write_text(plan("--example").output)
    found = told("--duration", "4h", "--provider", "", "--sites", str(file))
    assert {one["place"] for one in found["options"]} == {"berlin", "lulea"}
    assert not any(one["excluded"] for one in found["options"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[sites", "no TOML"),
        ("", "has no sites"),
        ("[sites.a]\npue = 1.2", "has no zone"),
        ('[sites.a]\nzone = "DE"\ncolour = 3', "colour"),
        ('[sites.a]\nzone = "DE"\npue = "low"', "give a number"),
        ('[sites.a]\nzone = "DE"\npue = 0.5', "1 or more"),
    ],
)
def test_a_file_of_sites_that_cannot_be_taken(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "sites.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        plan("--duration", "1h", "--provider", "", "--sites", str(file))
    assert what in str(refused.value)
