"""`negawatt grid`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from negawatt.cli import main
from negawatt.cli.grid import command
from negawatt.core.errors import SignalUnavailable, UsageError
from negawatt.core.grid import Status, Topic
from negawatt.reports.hours import Told, as_mapping, show
from negawatt.signals.series import Series

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def grid(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def test_typical_hours_are_shown_with_their_band_and_source() -> None:
    shown = " ".join(grid("DE", "--hours", "24").output.split())
    assert "carbon of DE, gCO2e/kWh" in shown
    assert "typical hours: built-in typical hours" in shown
    assert "average, life cycle, consumption" in shown
    assert " to " in shown
    assert "no provider is named" in shown


def test_json_holds_every_step_and_where_it_comes_from() -> None:
    told = json.loads(grid("FR", "--hours", "5", "--json").output)
    assert (told["zone"], told["unit"], told["origin"]) == ("FR", "gCO2e/kWh", "typical hours")
    assert len(told["values"]) == len(told["low"]) == len(told["high"])
    assert len(told["values"]) in (5, 6)  # a begun hour is one
    assert told["step_s"] == 3600


def test_of_what_nothing_is_known_is_an_error_that_helps() -> None:
    with pytest.raises(SignalUnavailable, match="Narnia"):
        grid("Narnia")
    with pytest.raises(SignalUnavailable, match="no built-in factor") as raised:
        grid("US-CAL-CIS0")
    assert "US-CAL-CISO" in raised.value.fix
    with pytest.raises(SignalUnavailable, match="price of DE") as raised:
        grid("DE", "--price")
    assert "near" not in raised.value.fix


def test_what_is_not_known_is_null_and_never_zero() -> None:
    made = as_mapping(told([float("nan"), 1.0]))
    assert made["values"] == [None, 1.0]
    assert "nothing is known" in drawn(told([float("nan")]))


def test_a_past_comes_from_a_provider_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(SignalUnavailable):
        grid("DE", "--past")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [f"{(now - n * HOUR).isoformat()},{300 + n}" for n in range(48, 0, -1)]
    (tmp_path / "grid.csv").write_text("\n".join(["time,value", *rows]))
    arguments = ("DE", "--past", "--hours", "6", "--provider", "file://grid.csv", "--json")
    told = json.loads(grid(*arguments).output)
    assert told["origin"] == "observed"
    assert told["source"] == "file:grid.csv"
    assert told["values"][-1] == 301


def test_the_zone_of_the_settings_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no zone is named"):
        grid()
    monkeypatch.setenv("NEGAWATT_ZONE", "PL")
    assert json.loads(grid("--json").output)["zone"] == "PL"


def test_providers_are_listed_with_the_keys_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIA_API_KEY", "x")
    monkeypatch.delenv("ENTSOE_API_KEY", raising=False)
    shown = grid("--providers").output
    assert "ENTSOE_API_KEY" in shown
    assert "EIA_API_KEY" not in shown
    told = json.loads(grid("--providers", "--json").output)["providers"]
    assert {"name", "about", "topics", "keys", "missing"} == set(told[0])


def test_a_provider_nobody_knows_is_an_error_with_its_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["grid", "DE", "--provider", "nobody://"]) == 2
    assert "electricitymaps" in capsys.readouterr().err
    assert main(["grid", "DE", "--past"]) == 11


def told(values: list[float], **more: object) -> Told:
    series = Series(
        zone="DE", topic=Topic.PRICE, unit="EUR/MWh", basis=None, source="it",
        status=Status.FORECAST, start=NOON, step=HOUR, values=np.array(values),
        issued_at=NOON - timedelta(minutes=30), **more,
    )  # fmt: skip
    return Told(series, "live forecast", ("a remark",), NOON)


def drawn(what: Told, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    show(what, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_picture_stands_negative_prices_and_holes() -> None:
    shown = drawn(told([-20.0, float("nan"), 40.0, 80.0]))
    lines = [line for line in shown.splitlines() if ":00" in line]
    assert ["█" in line or "#" in line for line in lines[:4]] == [False, False, True, True]
    assert "-20" in lines[0]
    assert "lowest -20 at Tue 12:00 UTC" in shown
    assert "issued 30 min ago" in shown
    assert "a remark" in shown
    assert drawn(told([-20.0, -10.0]))


def test_long_times_are_told_in_longer_steps() -> None:
    shown = drawn(told([float(n % 24) for n in range(24 * 7)]))
    assert len([line for line in shown.splitlines() if ":00" in line]) <= 26


def test_a_mapping_can_be_written_as_json() -> None:
    made = as_mapping(told([1.0, float("nan")], low=np.array([0.5, 1]), high=np.array([2.0, 3])))
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["age_s"] == 1800
    assert made["values"] == [1.0, None]
