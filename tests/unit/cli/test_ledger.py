"""`negawatt ledger`: verify names what is wrong, list and export leave nothing out."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from negawatt.cli import main
from negawatt.core.estimate import Estimate
from negawatt.ledger import open_ledger
from negawatt.ledger.entry import canonical, digest


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("NEGAWATT_LEDGER", str(path))
    energy = Estimate.exact(3.5, unit="J", source="test meter")
    with open_ledger(path) as opened:
        opened.append("measure", {"name": "two\nlines", "energy": energy})
        opened.append("measure", {"name": "caf\udce9"})
        opened.append("optimize", {"name": "a model", "energy": energy})
    return path


def _out(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_verify_prints_the_end_of_the_chain_for_keeping(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "verify"]) == 0
    out, err = capsys.readouterr()
    assert "3 entries, all sound" in err
    noted = out.strip()
    assert noted.startswith("3:")

    with open_ledger(ledger) as opened:
        opened.append("measure", {})
    assert main(["ledger", "verify", "--expect", noted]) == 0


def test_verify_as_json(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "verify", str(ledger), "--json"]) == 0
    told = json.loads(_out(capsys))
    assert (told["sequence"], len(told["hash"])) == (3, 64)


def test_verify_names_the_entry_and_exits_9(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = sqlite3.connect(ledger)
    connection.execute("DROP TRIGGER entries_stay")
    connection.execute("UPDATE entries SET kind = 'x' WHERE sequence = 2")
    connection.commit()
    connection.close()

    assert main(["ledger", "verify"]) == 9
    assert "entry 2" in capsys.readouterr().err
    assert main(["ledger", "export"]) == 9
    assert _out(capsys) == ""


@pytest.mark.parametrize("noted", ["3", "x:y", "3:abc"])
def test_an_end_that_is_none_is_refused(
    ledger: Path, capsys: pytest.CaptureFixture[str], noted: str
) -> None:
    assert main(["ledger", "verify", "--expect", noted]) == 2
    assert "not the end of a chain" in capsys.readouterr().err


def test_an_end_of_another_chain_is_noticed(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "verify", "--expect", f"2:{'0' * 64}"]) == 9
    assert "written anew" in capsys.readouterr().err


def test_list_gives_each_entry_one_line(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "list"]) == 0
    lines = _out(capsys).splitlines()
    assert len(lines) == 3
    assert "two lines" in lines[0]
    assert "3.5 J (measured)" in lines[0]
    assert "energy unknown" in lines[1]


def test_list_narrows_by_kind_and_time(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "list", "--kind", "optimize", "--json"]) == 0
    (line,) = _out(capsys).splitlines()
    assert json.loads(line)["body"]["name"] == "a model"
    assert main(["ledger", "list", "--since", "2999-01-01"]) == 0
    assert _out(capsys) == ""


def test_an_export_can_be_verified_without_us(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out" / "ledger.jsonl"
    assert main(["ledger", "export", "--output", str(file)]) == 0
    assert _out(capsys) == ""
    assert main(["ledger", "export"]) == 0
    assert _out(capsys) == file.read_text()

    previous = "0" * 64
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        fields = (
            entry["sequence"], entry["time"], entry["kind"], entry["who"], entry["host"],
            canonical(entry["body"]), canonical(entry["versions"]), entry["previous"],
        )  # fmt: skip
        assert entry["previous"] == previous
        assert digest(fields) == entry["hash"]
        previous = entry["hash"]


def test_a_missing_ledger_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("verify", "list", "export"):
        assert main(["ledger", verb, str(tmp_path / "none.db")]) == 9
        assert "there is no ledger" in capsys.readouterr().err
