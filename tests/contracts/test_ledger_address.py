"""Every command that takes a ledger takes the address of a database, and no password is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_sample import filled
from postgres_server import NoServer, running

from negawatt.cli import main
from negawatt.core import registry
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.ledger import open_ledger

PASSWORD = "kept-to-itself"  # noqa: S105 - of a server that lives as long as the tests
MEASURED = ["measure", "--name", "nap", "--", sys.executable, "-S", "-c", "pass"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server that asks for a password, which stands in the address."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    try:
        with running(PASSWORD) as server:
            yield server.replace("auditor@", f"auditor:{PASSWORD}@")
    except NoServer as reason:
        pytest.skip(str(reason))


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("NEGAWATT_LEDGER", "NEGAWATT_INTENSITY", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


def run(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(list(words)) == status
    told = "".join(capsys.readouterr())
    assert PASSWORD not in told
    return told


def test_from_measuring_to_the_report(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, MEASURED[0], "--ledger", address, *MEASURED[1:])
    run(capsys, MEASURED[0], "--ledger", address, *MEASURED[1:])
    told = run(capsys, "report", address)
    assert "nap" in told
    found = json.loads(run(capsys, "report", address, "--json"))
    assert found["ledger"].startswith("postgresql://")
    nap = next(total for total in found["totals"] if total["name"] == "nap")
    assert nap["entries"] >= 2


def test_pages_and_sheets_hold_no_password(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, MEASURED[0], "--ledger", address, *MEASURED[1:])
    places = [tmp_path / "page.html", tmp_path / "sheet.csv"]
    run(capsys, "report", address, "--html", str(places[0]), "--csv", str(places[1]))
    for place in places:
        assert PASSWORD not in place.read_text()


def test_every_verb_of_the_ledger_and_the_footprint(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, MEASURED[0], "--ledger", address, *MEASURED[1:])
    file, merged = str(tmp_path / "out.jsonl"), str(filled(tmp_path / "own.db", 2))
    run(capsys, "ledger", "checkpoint", address)
    assert "all sound" in run(capsys, "ledger", "verify", address)
    assert "nap" in run(capsys, "ledger", "list", address)
    assert "nap" in run(capsys, "ledger", "show", "1", "--ledger", address)
    run(capsys, "ledger", "export", address, "--output", file)
    run(capsys, "ledger", "import", file, "--into", str(tmp_path / "copy.db"))
    run(capsys, "ledger", "merge", merged, "--into", address)
    run(capsys, "ledger", "merge", address, "--into", str(tmp_path / "other.db"))
    assert PASSWORD.encode() not in (tmp_path / "other.db").read_bytes()
    told = run(capsys, "footprint", "--ledger", address, "--name", "nap", "--zone", "FR")
    assert "Scope 2, location-based" in told


def test_it_can_be_the_ledger_of_the_settings(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEGAWATT_LEDGER", address)
    with open_ledger(address) as ledger:
        ledger.append("measure", {"name": "set"})
    assert "set" in run(capsys, "report")
    assert "set" in run(capsys, "ledger", "list")
    assert "postgresql://auditor:…@" in run(capsys, "settings")


def test_a_wrong_password_is_refused_and_not_repeated(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = address.replace(PASSWORD, "guessed-wrong")
    for words in (("report", wrong), ("ledger", "verify", wrong)):
        told = run(capsys, *words, status=9)
        assert "guessed-wrong" not in told
        assert "refuses the user or the password" in told


def test_a_database_without_a_ledger_is_named(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, "report", address.replace("/postgres?", "/template1?"), status=9)
    assert "there is no ledger" in told


@pytest.mark.parametrize("words", [("report",), ("ledger", "verify"), ("ledger", "list")])
def test_a_server_that_is_not_there_is_named(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    nowhere = f"postgresql://auditor:{PASSWORD}@/energy?host={tmp_path}"
    told = run(capsys, *words, nowhere, status=9)
    assert "does not answer" in told
    assert "check the address" in told


def test_measuring_into_a_server_that_is_not_there_fails_before_the_command_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    nowhere = f"postgresql://auditor:{PASSWORD}@/energy?host={tmp_path}"
    mark = tmp_path / "ran"
    words = [sys.executable, "-S", "-c", f"open({str(mark)!r}, 'w')"]
    run(capsys, "measure", "--ledger", nowhere, "--", *words, status=9)
    assert not mark.exists()


def test_without_the_extra_the_fix_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "negawatt.adapters.stores.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(RuntimeUnavailable, match=r"negawatt\[postgres\]"):
        open_ledger(f"postgresql://auditor:{PASSWORD}@localhost/energy")
    assert "postgres" in registry.names("negawatt.stores")


@pytest.mark.parametrize("place", ["mysql://u:pw@host/db", "https://host/x", "file:///x.db"])
def test_another_address_makes_no_folder_of_that_name(place: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot lie in") as refused:
        open_ledger(place)
    assert "pw" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
