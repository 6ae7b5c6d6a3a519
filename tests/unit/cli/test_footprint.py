"""`negawatt footprint`: from an energy or a ledger to figures, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from negawatt.cli import main
from negawatt.core.estimate import Estimate
from negawatt.ledger import open_ledger

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "publish-a-footprint.md"
GIVEN = ["footprint", "--energy", "12kWh", "--zone", "DE", "--pue", "1.2", "--market", "0"]


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEGAWATT_LEDGER", str(tmp_path / "own.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("NEGAWATT_INTENSITY", raising=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "own.db"
    energy = Estimate.exact(7.2e6, unit="J", source="test meter", boundary="machine")
    wall = Estimate.exact(3600, unit="s", source="clock")
    with open_ledger(path) as opened:
        for _ in range(2):
            opened.append("measure", {"name": "train", "energy": energy, "wall_seconds": wall})
    return path


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    told: dict[str, Any] = json.loads(out)
    return told


def test_both_views_of_one_electricity(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(GIVEN, capsys)["account"]

    assert told["scope2"]["location"]["value"] == pytest.approx(12 * 1.2 * 481.5)
    assert told["scope2"]["market"]["value"] == 0
    assert told["scope2"]["location"]["low"] < told["scope2"]["location"]["high"]
    assert told["embodied"] is None


def test_the_screen_shows_interval_kind_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, "--hardware", "h100:8", "--hours", "24", "--units", "5e6"]) == 0
    out, _ = capsys.readouterr()

    for words in (
        "Scope 2, location-based", "Scope 2, market-based", "water, off site", "embodied share",
        "SCI, per token", "assumed", "Electricity Maps", "primary energy unknown",
    ):  # fmt: skip
        assert words in out, words


def test_a_ledgers_entries_are_added_and_their_time_is_used(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = answer(["footprint", "--intensity", "100", "--hardware", "h100"], capsys)["account"]

    assert told["energy"]["value"] == pytest.approx(1.44e7)
    assert told["energy"]["kind"] == "measured"
    assert told["period"]["value"] == pytest.approx(7200)
    assert told["scope2"]["location"]["value"] == pytest.approx(400)


def test_entries_of_two_names_have_no_sum(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    energy = Estimate.exact(1, unit="J", source="test meter")
    with open_ledger(ledger) as opened:
        opened.append("measure", {"name": "serve", "energy": energy})

    assert main(["footprint"]) == 2
    assert "have no sum" in capsys.readouterr().err
    assert answer(["footprint", "--name", "serve"], capsys)["account"]["energy"]["value"] == 1


def test_the_setting_is_used_where_no_place_is_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = answer(["footprint", "--energy", "1kWh"], capsys)["account"]
    monkeypatch.setenv("NEGAWATT_INTENSITY", "56")
    own = answer(["footprint", "--energy", "1kWh"], capsys)["account"]

    assert world["place"] == "world, place unknown"
    assert world["scope2"]["location"]["low"] < 50
    assert own["scope2"]["location"]["value"] == pytest.approx(56)


def test_a_remote_model_of_unknown_size_is_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(["footprint", "--params", "20:400", "--tokens", "100"], capsys)
    assert told["energy"]["high"] > 10 * told["energy"]["low"]
    assert main(["footprint", "--remote", "openai/gpt-4o", "--tokens", "100"]) == 0
    assert "EcoLogits method" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--energy", "12"], "is no energy"),
        (["--energy", "12 apples"], "is no energy"),
        (["--energy", "1kWh", "--zone", "XX"], "no built-in factor"),
        (["--energy", "1kWh", "--zone", "DE", "--intensity", "5"], "a zone and an intensity"),
        (["--energy", "1kWh", "--name", "train"], "given twice"),
        (["--energy", "1kWh", "--hardware", "h100"], "how long"),
        (["--energy", "1kWh", "--hardware", "toaster", "--hours", "1"], "nothing is known"),
        (["--energy", "1kWh", "--market-share", "0.5"], "needs a contract"),
        (["--energy", "1kWh", "--tokens", "5"], "--tokens cannot be used without"),
        (["--remote", "openai/gpt-4o", "--energy", "1kWh"], "--energy cannot be used with"),
        (["--remote", "openai/gpt-4o"], "how long was the answer"),
        (["--remote", "x/y", "--tokens", "5"], "nothing is known of the size"),
        (["--params", "9:3", "--tokens", "5"], "no number and no range"),
        (["--energy", "1kWh", "--as", "sci", "--units", "1"], "embodied share"),
        (["--energy", "1kWh", "--as", "model-card"], "how the model was trained"),
        (["--energy", "1kWh", "--as", "sci-ai", "--units", "1"], "embodied share"),
        (["--name", "nothing"], "ledger"),
    ],
)
def test_what_cannot_be_answered_says_why(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["footprint", *words]) != 0
    out, err = capsys.readouterr()
    assert told in err
    assert "fix:" in err
    assert out == ""


@pytest.mark.parametrize(
    "form", ["model-card", "sci", "sci-ai", "ghg", "eu-ai-act", "ai-energy-score"]
)
def test_every_form_prints_for_people_and_programs(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *GIVEN, "--hardware", "h100:8", "--hours", "24", "--units", "1000",
        "--training-type", "pre-training", "--as", form,
    ]  # fmt: skip
    assert main(words) == 0
    assert capsys.readouterr().out.strip()
    assert answer(words, capsys)


def test_the_page_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    # in its order, in an empty folder: what one block writes is what the next one reads
    text, ran = PAGE.read_text(encoding="utf-8"), 0
    for block in re.finditer(r"^```(console|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if block[1] == "python":
            exec(compile(block[2], PAGE.name, "exec"), {})  # noqa: S102  # the page is ours
            continue
        for line in block[2].replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ negawatt "))
            assert main(words) == 0, line
            capsys.readouterr()
            ran += 1
    assert ran > 10


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    path = tmp_path / "dated.db"
    kwh = Estimate.exact(3_600_000, unit="J", source="test meter", boundary="machine")
    hour = Estimate.exact(3600, unit="s", source="clock")
    with open_ledger(path) as opened:
        for start in ("00:00", "01:30"):
            started = f"2026-01-01T{start}:00+00:00"
            opened.append(
                "measure",
                {"name": "train", "energy": kwh, "wall_seconds": hour, "started_at": started},
            )
    return path


def hourly(folder: Path, *grams: object, name: str = "average_gCO2e_per_kWh") -> str:
    path = folder / "grid.csv"
    lines = [f"2026-01-01T{n:02}:00Z,{one}" for n, one in enumerate(grams)]
    path.write_text("\n".join([f"time,{name}", *lines, ""]))
    return str(path)


def test_both_views_hour_by_hour(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, 200, 400)
    words = ["footprint", "--ledger", str(dated), "--intensity-file", grid, "--pue", "1.2"]
    told = answer([*words, "--market", "10"], capsys)["account"]
    location = told["scope2"]["location"]
    assert location["value"] == pytest.approx(1.2 * (100 + 300))
    assert location["low"] == pytest.approx(1.2 * (100 + 200))
    assert location["high"] == pytest.approx(1.2 * (100 + 400))
    assert told["scope2"]["market"]["value"] == pytest.approx(1.2 * 20)
    assert "grid.csv, hour by hour" in location["boundary"]
    assert any("hour by hour with grid.csv" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("grams", "more", "status"),
    [
        ((100, 200), "", 10),  # stale: the file ends before the work did
        ((100, "", 400), "2999-01-01T00:00Z,5\n", 2),  # entries are written today, in its reach
    ],
)
def test_a_part_is_not_taken_for_the_whole(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    grams: tuple[object, ...], more: str, status: int,
) -> None:  # fmt: skip
    grid = hourly(tmp_path, *grams)
    with Path(grid).open("a") as stream:
        stream.write(more)
    assert main(["footprint", "--ledger", str(dated), "--intensity-file", grid]) == status
    err = capsys.readouterr().err
    assert "1 of 2 entries have no intensity" in err
    assert ("the last entry is of" in err) == (status == 10)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--energy", "12kWh"], "in which hours"),
        (["--zone", "DE"], "a zone and a file of them are given"),
        (["--intensity", "9"], "an intensity and a file of them are given"),
        (["--remote", "openai/gpt-4o", "--tokens", "5"], "--intensity-file cannot be used with"),
    ],
)
def test_hours_need_entries_and_one_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["footprint", "--intensity-file", hourly(tmp_path, 1, 2), *more]) == 2
    assert words in capsys.readouterr().err


def test_marginal_hours_make_no_scope_2(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, 200, 400, name="marginal_gCO2_per_kWh")
    assert main(["footprint", "--ledger", str(dated), "--intensity-file", grid]) == 2
    assert "this one is marginal" in capsys.readouterr().err


def test_concurrent_windows_have_no_common_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ranks.db"
    energy = Estimate.exact(3_600_000, unit="J", source="test meter", boundary="package:0")
    hour = Estimate.exact(3600, unit="s", source="clock")
    with open_ledger(path) as opened:
        for _ in range(4):
            opened.append(
                "measure",
                {"name": "train", "energy": energy, "wall_seconds": hour,
                 "started_at": "2026-01-01T00:00:00+00:00"},
            )  # fmt: skip
    words = ["footprint", "--ledger", str(path), "--intensity", "100"]
    told = answer(words, capsys)["account"]
    assert told["scope2"]["location"]["value"] == pytest.approx(100)
    assert any("counted once" in note for note in told["notes"])
    assert main([*words, "--hardware", "h100:8"]) == 2
    assert "how long was the hardware held" in capsys.readouterr().err
