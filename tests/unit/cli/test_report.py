"""`negawatt report`: what is shown, where it goes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from outcome_sample import sample_outcome

from negawatt.cli import main
from negawatt.core.codec import encode
from negawatt.core.estimate import Estimate
from negawatt.ledger import open_ledger
from negawatt.reports import read, write


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("NEGAWATT_LEDGER", str(path))
    monkeypatch.delenv("NEGAWATT_INTENSITY", raising=False)
    energy = Estimate.exact(7_200_000, unit="J", source="test meter", boundary="machine")
    with open_ledger(path) as opened:
        opened.append("measure", {"name": "train", "energy": energy})
        opened.append("optimize", encode(sample_outcome(blocks=2)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(sample_outcome(blocks=2), tmp_path / "run")
    return tmp_path / "run"


def test_the_users_own_ledger_is_the_default(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report"]) == 0
    out, _ = capsys.readouterr()
    assert str(ledger) in out.replace("\n", "")
    assert "train" in out
    assert "2 entries verify" in out


def test_json_is_one_object_and_nothing_else(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(ledger), "--json", "--intensity", "150", "--pue", "1.2"]) == 0
    out, err = capsys.readouterr()
    totals = {total["name"]: total for total in json.loads(out)["totals"]}
    emissions = totals["train"]["sums"]["emissions"]["estimate"]
    assert emissions["value"] == pytest.approx(360)
    assert emissions["kind"] == "assumed"
    assert err == ""


def test_the_setting_for_the_grid_is_used_when_no_flag_is_given(
    ledger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEGAWATT_INTENSITY", "100")
    assert main(["report", "--json", "--name", "train"]) == 0
    (total,) = json.loads(capsys.readouterr().out)["totals"]
    assert total["sums"]["emissions"]["estimate"]["value"] == pytest.approx(200)


def test_html_goes_to_its_file_and_talk_to_stderr(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "page.html"
    assert main(["report", "--html", str(page), "--kind", "measure"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert str(page) in err
    assert page.read_text().startswith("<!doctype html>")


def test_an_entry_with_an_optimisation_is_shown_whole(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(ledger), "--entry", "2", "--json"]) == 0
    kept = tmp_path / "kept.json"
    kept.write_text(capsys.readouterr().out)
    assert read(kept) == sample_outcome(blocks=2)


@pytest.mark.parametrize(("number", "words"), [("1", "it is a measure"), ("9", "no entry 9")])
def test_an_entry_without_one_is_refused(
    ledger: Path, capsys: pytest.CaptureFixture[str], number: str, words: str
) -> None:
    assert main(["report", "--entry", number]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "report.json"])
def test_a_result_is_shown_again_from_its_folder_or_file(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["report", str(folder / name)]) == 0
    out = capsys.readouterr().out
    assert "searched-2" in out
    assert "\x1b" not in out


def test_a_result_is_written_again_byte_by_byte(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.html"
    assert main(["report", str(folder), "--html", str(again), "--json"]) == 0
    assert again.read_bytes() == (folder / "report.html").read_bytes()
    assert capsys.readouterr().out == (folder / "report.json").read_text()


def test_filters_of_entries_make_no_sense_for_a_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "--since", "7d"]) == 2
    assert "no entries to choose from" in capsys.readouterr().err


def test_the_schema_is_published_and_fits_what_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert main(["report", str(folder), "--json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)


def test_a_user_without_a_ledger_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEGAWATT_LEDGER", str(tmp_path / "none.db"))
    assert main(["report"]) == 9
    err = capsys.readouterr().err
    assert "there is no ledger" in err
    assert "negawatt measure" in err
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["report", "nowhere.db"], 2, "there is no file"),
        (["report", "--since", "soon"], 2, "no date or time"),
        (["report", "--pue", "0.5"], 2, "pue"),
    ],
)
def test_what_cannot_be_taken_is_refused(
    ledger: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, told: str
) -> None:
    assert main(words) == status
    assert told in capsys.readouterr().err


def test_a_folder_without_a_report_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "report.json" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_clear_error(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["report", "--html", str(tmp_path / "file" / "page.html")]) == 6
    assert "cannot write" in capsys.readouterr().err


@pytest.fixture
def pair(ledger: Path) -> Path:
    with open_ledger(ledger) as opened:
        for name, joules in (("old", 100.0), ("new", 60.0)):
            energy = Estimate.exact(joules, unit="J", source="test meter", boundary="machine")
            opened.append("measure", {"name": name, "energy": energy})
    return ledger


def test_two_names_are_compared(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--compare", "old", "new"]) == 0
    out = capsys.readouterr().out
    assert "Energy: 40 J less after: distinguishable from zero" in out
    assert "single run" in out


@pytest.mark.parametrize("sides", [("3", "4"), ("old", "4")])
def test_a_comparison_for_machines_obeys_its_schema(
    pair: Path, capsys: pytest.CaptureFixture[str], sides: tuple[str, str]
) -> None:
    assert main(["report", "--schema", "comparison"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert main(["report", "--json", "--compare", *sides]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schema)
    assert found["changes"][0]["difference"]["value"] == -40
    assert found["changes"][0]["ratio"]["value"] == 0.6


def test_a_ledger_for_machines_obeys_its_schema(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--schema", "ledger"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert main(["report", "--json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)


@pytest.mark.parametrize("words", [[], ["--compare", "old", "new"], ["--entry", "2"]])
def test_every_form_is_written(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    files = {form: tmp_path / f"out.{form}" for form in ("html", "csv", "pdf")}
    places = [part for form, file in files.items() for part in (f"--{form}", str(file))]
    assert main(["report", *words, *places]) == 0
    assert capsys.readouterr().out == ""
    assert files["pdf"].read_bytes().startswith(b"%PDF-")
    assert files["csv"].read_text().startswith("name,value,low,high,unit,kind,boundary")
    assert "<table>" in files["html"].read_text()


def test_an_unknown_side_is_named(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--compare", "old", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--entry", "2"], ["--name", "old"]])
def test_a_comparison_takes_no_other_choice_of_entries(
    pair: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["report", "--compare", "old", "new", *words]) == 2
    assert "names its entries itself" in capsys.readouterr().err


def hourly(folder: Path, *grams: object, name: str = "average_gCO2e_per_kWh") -> Path:
    path = folder / "grid.csv"
    lines = [f"2026-01-01T{n:02}:00Z,{one}" for n, one in enumerate(grams)]
    path.write_text("\n".join([f"time,{name}", *lines, ""]))
    return path


@pytest.fixture
def dated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kilowatt-hour in each of three hours, one of them across the edge of two."""
    path = tmp_path / "dated.db"
    monkeypatch.delenv("NEGAWATT_INTENSITY", raising=False)
    kwh = Estimate.exact(3_600_000, unit="J", source="test meter", boundary="machine")
    hour = Estimate.exact(3600, unit="s", source="clock")
    with open_ledger(path) as opened:
        for start in ("00:00", "01:30", "03:00"):
            started = f"2026-01-01T{start}:00+00:00"
            opened.append(
                "measure",
                {"name": "train", "energy": kwh, "wall_seconds": hour, "started_at": started},
            )
    return path


def test_emissions_are_worked_out_hour_by_hour(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, 200, 400, 800)
    assert main(["report", str(dated), "--intensity-file", str(grid), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    emissions = told["totals"][0]["sums"]["emissions"]
    assert emissions["estimate"]["value"] == pytest.approx(100 + 300 + 800)
    assert (emissions["estimate"]["low"], emissions["estimate"]["high"]) == (1100, 1300)
    assert emissions["known"] == 3
    assert "average" in emissions["estimate"]["boundary"]
    assert "hour by hour with grid.csv" in told["notes"][0]


def test_an_hour_without_intensity_leaves_its_entry_unknown_and_says_so(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, "", 400, 800)
    assert main(["report", str(dated), "--intensity-file", str(grid), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    emissions = told["totals"][0]["sums"]["emissions"]
    assert (emissions["estimate"]["value"], emissions["known"]) == (900, 2)
    assert "The emissions of 1 entry are unknown" in " ".join(told["notes"])
    assert main(["report", str(dated), "--intensity-file", str(grid)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 known" in out
    assert "1 steps missing" in out


def test_an_entry_whose_clock_was_set_back_has_no_hours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "back.db"
    kwh = Estimate.exact(3_600_000, unit="J", source="test meter", boundary="machine")
    hour = Estimate.exact(3600, unit="s", source="clock")
    body = {"name": "train", "energy": kwh, "wall_seconds": hour}
    with open_ledger(path) as opened:  # it began a thousand years after it was written
        opened.append("measure", {**body, "started_at": "2999-01-01T00:00:00+00:00"})
    grid = hourly(tmp_path, 100, 200)
    grid.write_text(grid.read_text().replace("2026-", "2999-"))
    assert main(["report", str(path), "--intensity-file", str(grid), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "emissions" not in told["totals"][0]["sums"]
    assert "The emissions of 1 entry are unknown" in " ".join(told["notes"])


def test_marginal_emissions_are_called_so(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, 200, 400, 800, name="marginal_gCO2_per_kWh")
    page = tmp_path / "page.html"
    words = ["report", str(dated), "--intensity-file", str(grid)]
    assert main([*words, "--json", "--html", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "marginal" in told["totals"][0]["sums"]["emissions"]["estimate"]["boundary"]
    assert any("no Scope 2 total" in note for note in told["notes"])
    assert "no Scope 2 total" in page.read_text()


def test_one_place_is_stated_once(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, 200)
    words = ["report", str(dated), "--intensity-file", str(grid), "--intensity", "9"]
    assert main(words) == 2
    assert "leave one of them out" in capsys.readouterr().err


def test_a_comparison_works_hour_by_hour_too(
    dated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = hourly(tmp_path, 100, 200, 400, 800)
    words = ["report", str(dated), "--compare", "1", "3", "--intensity-file", str(grid), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    changes = {one["name"]: one for one in told["changes"]}
    assert changes["emissions"]["difference"]["value"] == pytest.approx(700)
    assert any("hour by hour with grid.csv" in note for note in told["notes"])
