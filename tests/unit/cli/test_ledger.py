"""`negawatt ledger`: verify names what is wrong, list and export leave nothing out."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
from ledger_sample import opened as ledger_of

from negawatt.cli import main
from negawatt.core.estimate import Estimate
from negawatt.ledger import Origin, open_ledger
from negawatt.ledger.merge import LedgerSource, take_in


@pytest.fixture
def ledger(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("NEGAWATT_LEDGER", str(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
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

    def canonical(value: object) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    first, *lines = map(json.loads, file.read_text().splitlines())
    previous = "0" * 64
    for entry in lines:
        assert entry["origin"] is None
        fields = (
            entry["sequence"], entry["time"], entry["kind"], entry["who"], entry["host"],
            canonical(entry["body"]), canonical(entry["versions"]), entry["previous"],
            entry["machine"], None, None, None,
        )  # fmt: skip
        assert entry["previous"] == previous
        previous = hashlib.sha256(json.dumps(fields).encode()).hexdigest()
        assert previous == entry["hash"]
    assert first["export"] == {"format": 1, "sequence": 3, "hash": previous, "entries": 3}


def test_a_checkpoint_is_printed_kept_and_covers_what_is_before_it(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, held = tmp_path / "k" / "key", tmp_path / "held" / "checkpoints.jsonl"
    assert main(["ledger", "verify"]) == 0
    assert "unsigned: `negawatt ledger checkpoint` signs it" in capsys.readouterr().err
    assert main(["ledger", "key", str(key)]) == 0
    assert main(["ledger", "checkpoint", "--key", str(key), "--output", str(held)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == held.read_text().strip()
    assert "signed up to entry 3" in err

    with open_ledger(ledger) as opened:
        opened.append("measure", {})
    words = ["ledger", "verify", "--key", str(key), "--checkpoints", str(held)]
    assert main(words) == 0
    assert "signed up to entry 3" in (err := capsys.readouterr().err)
    assert "1 entry after it is unsigned" in err
    assert main([*words, "--json"]) == 0
    told = json.loads(_out(capsys))
    assert (told["sequence"], told["signed"], told["unsigned"]) == (4, 3, 1)
    assert told["checkpoints"][0]["signature_checked"] is True

    assert main(["ledger", "verify"]) == 0  # without the key: it fits, and nobody vouches
    assert "no signature was checked" in capsys.readouterr().err


def test_a_chain_written_anew_is_caught_by_the_auditors_copy(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "held.jsonl"
    assert main(["ledger", "checkpoint", "--output", str(held)]) == 0
    assert "a secret key was made for you" in capsys.readouterr().err
    ledger.unlink()
    with open_ledger(ledger) as forged:
        for _ in range(3):
            forged.append("measure", {"energy": None})
    assert main(["ledger", "verify"]) == 0
    assert main(["ledger", "verify", "--checkpoints", str(held)]) == 9
    assert "written anew" in capsys.readouterr().err


def test_a_pair_of_keys_signs_with_one_half_and_checks_with_the_other(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography", reason="Ed25519 needs the extra `sign`")
    key = tmp_path / "key"
    assert main(["ledger", "key", str(key), "--ed25519", "--json"]) == 0
    assert json.loads(_out(capsys))["public"] == f"{key}.pub"
    assert main(["ledger", "checkpoint", str(ledger), "--key", str(key), "--json"]) == 0
    made = json.loads(_out(capsys))["checkpoint"]
    assert main(["ledger", "verify", "--key", f"{key}.pub", "--json"]) == 0
    assert json.loads(_out(capsys))["signed"] == made["sequence"] == 3
    assert main(["ledger", "checkpoint", "--key", f"{key}.pub"]) == 9
    assert "public half" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["part.jsonl", "part.parquet"])
def test_what_was_exported_is_imported_once(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
    file, into = tmp_path / name, str(tmp_path / "team.db")
    assert main(["ledger", "export", "--output", str(file), "--json"]) == 0
    assert json.loads(_out(capsys)) == {"file": str(file), "entries": 3, "whole": True}
    assert main(["ledger", "import", str(file), "--into", into]) == 0
    assert "3 entries new, 0 known" in _out(capsys)
    assert main(["ledger", "import", str(file), "--into", into, "--json"]) == 0
    told = json.loads(_out(capsys))
    assert (told["taken"][0]["entries"], told["taken"][0]["known"]) == (0, 3)
    assert main(["ledger", "verify", into]) == 0


def test_a_selection_is_exported_and_told_as_one(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "part.jsonl"
    words = ["--kind", "measure", "--since", "24h", "--output", str(file)]
    assert main(["ledger", "export", *words]) == 0
    assert main(["ledger", "import", str(file), "--into", str(tmp_path / "team.db")]) == 0
    assert "2 entries new, 0 known, a selection of its ledger" in _out(capsys)


def test_nothing_half_written_is_left_of_an_export(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["ledger", "export", "--output", str(tmp_path / "file" / "x.jsonl")]) == 6
    assert main(["ledger", "export", "--json"]) == 2
    assert not [path for path in tmp_path.iterdir() if "jsonl" in path.name]
    assert "cannot write" in capsys.readouterr().err


def _rank(path: Path, number: int) -> None:
    """One rank of a job of 100 s on one node."""
    energy = Estimate.exact(500.0, unit="J", source="rapl:package-0", boundary="package:0")
    body = {
        "name": "train", "rank": number, "started_at": "2026-01-01T00:00:00+00:00",
        "wall_seconds": Estimate.exact(100.0, unit="s", source="clock"),
        "energy": energy, "boundaries": {"package:0": energy},
    }  # fmt: skip
    with open_ledger(path, origin=Origin("ada", "node1", {}, "one machine")) as opened:
        opened.append("measure", body)


def test_ranks_that_measured_one_node_are_told_when_they_are_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = [tmp_path / f"{n}.db" for n in range(3)]
    for number, path in enumerate(ranks):
        _rank(path, number)
    into = str(tmp_path / "team.db")
    assert main(["ledger", "merge", *map(str, ranks), "--into", into]) == 0
    told = _out(capsys)
    assert told.count("1 entry new, 0 known") == 3
    assert "2 entries measured what others measured too, and count once" in told

    assert main(["ledger", "list", into, "--kind", "measure", "--json"]) == 0
    entries = [json.loads(line) for line in _out(capsys).splitlines()]
    assert sorted(entry["body"]["rank"] for entry in entries) == [0, 1, 2]
    shown = []
    for entry in entries:
        words = ["ledger", "show", entry["origin"]["hash"][:16], "--ledger", into]
        assert main(words) == 0
        shown.append(_out(capsys))
        assert main([*words, "--json"]) == 0
        assert json.loads(_out(capsys))["body"] == entry["body"]
    assert sum("counted   0% in a sum" in text for text in shown) == 2
    assert all("entry 1 of another ledger" in text for text in shown)


def test_show_takes_a_number_or_the_beginning_of_an_id(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "show", "3"]) == 0
    assert '"name": "a model"' in _out(capsys)
    assert main(["ledger", "show", "99999999"]) == 2
    assert main(["ledger", "show", ""]) == 2
    assert "3 entries ''" in capsys.readouterr().err


def test_a_missing_ledger_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("verify", "list", "export", "merge"):
        assert main(["ledger", verb, str(tmp_path / "none.db")]) == 9
        assert "there is no ledger" in capsys.readouterr().err


def test_a_clock_that_was_set_back_is_told_and_is_no_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "back.db"
    for hours in (5, 0):  # the second time the clock is five hours behind
        with ledger_of(path, hours=hours) as ledger:
            ledger.append("measure", {"name": "train"})
    assert main(["ledger", "verify", str(path)]) == 0
    assert "set back before entry 2" in capsys.readouterr().err
    assert main(["ledger", "verify", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clock_set_back"] == [2]


def test_entries_of_other_machines_need_not_be_in_order(tmp_path: Path) -> None:
    late, early = tmp_path / "late.db", tmp_path / "early.db"
    for path, hours in ((late, 9), (early, 0)):
        with ledger_of(path, hours=hours, machine=path.stem) as ledger:
            ledger.append("measure", {"name": "train"})
    with ledger_of(tmp_path / "team.db", hours=20) as team:
        for path in (late, early):
            with ledger_of(path) as source:
                take_in(team, LedgerSource(source))
        assert team.audit().back == ()
