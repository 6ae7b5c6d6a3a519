from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from negawatt.cli.measure import command
from negawatt.core.errors import LedgerError, OutputError, UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger import open_ledger

PYTHON = (sys.executable, "-S", "-c")


def measure(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        command, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False
    )


def record(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(measure("--json", *arguments).stdout)
    return found


def test_people_get_their_screen_on_standard_error() -> None:
    result = measure("--", *PYTHON, "pass")
    assert result.stdout == ""
    for word in ("energy", "carbon", "CPU", "wall", "exit status 0"):
        assert word in result.stderr
    assert result.return_value == 0


def test_machines_get_one_object_on_one_line() -> None:
    result = measure("--json", "--name", "nap", "--", *PYTHON, "pass")
    assert result.stderr == ""
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert found["name"] == "nap"
    for key in ("energy", "cpu_seconds", "wall_seconds"):
        estimate = Estimate.from_json(found[key])
        assert estimate.low <= estimate.value <= estimate.high
    assert found["cpu_seconds"]["kind"] == "measured"


def test_the_exit_status_of_the_command_is_ours() -> None:
    assert measure(*PYTHON, "raise SystemExit(5)").return_value == 5


def test_without_an_intensity_carbon_is_unknown_and_never_zero() -> None:
    found = record(*PYTHON, "pass")
    assert found["carbon"] is None
    assert found["carbon_anywhere"]["low"] > 0
    assert "unknown" in measure(*PYTHON, "pass").stderr


def test_with_an_intensity_carbon_follows_energy() -> None:
    found = record("--intensity", "360", *PYTHON, "pass")
    assert found["carbon"]["value"] == pytest.approx(found["energy"]["value"] * 1e-4)
    assert found["carbon"]["unit"] == "gCO2e"
    assert found["carbon"]["kind"] == "assumed"  # as weak as the stated intensity


def test_the_intensity_of_the_settings_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGAWATT_INTENSITY", "360")
    found = record(*PYTHON, "pass")
    assert found["carbon"]["value"] == pytest.approx(found["energy"]["value"] * 1e-4)


def test_the_measurement_is_kept_in_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    found = record("--ledger", path, *PYTHON, "pass")
    with open_ledger(path, readonly=True) as ledger:
        (entry,) = ledger.entries()
        ledger.verify()
    assert entry.kind == "measure"
    assert entry.body["energy"] == found["energy"]
    assert "carbon" not in entry.body  # unknown is left out, not kept as a zero or a null


def test_a_ledger_that_cannot_be_opened_is_told_before_the_command_runs(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    broken = tmp_path / "broken.db"
    broken.write_text("no ledger at all, but longer than the header of one would have to be" * 20)
    with pytest.raises(LedgerError):
        measure("--ledger", broken, *PYTHON, f"open({str(flag)!r}, 'w')")
    assert not flag.exists()


def test_a_ledger_that_fails_after_the_command_loses_no_measurement(tmp_path: Path) -> None:
    book, output = tmp_path / "book.db", tmp_path / "energy.json"
    spoil = """
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
ledger.execute('DROP TRIGGER head_remains')
ledger.execute('DELETE FROM head')
"""
    with pytest.raises(LedgerError):
        measure("--ledger", book, "--output", output, sys.executable, "-c", spoil, book)
    assert json.loads(output.read_text())["energy"]["value"] > 0


def test_without_a_counter_the_parts_of_the_band_are_told() -> None:
    found = record(*PYTHON, "pass")
    if "modelled" not in found:
        pytest.skip("a counter covers the CPU here")
    parts = {key.partition(":")[0]: one["value"] for key, one in found["modelled"].items()}
    assert set(parts) == {"rest", "process"}
    assert sum(parts.values()) <= found["energy"]["value"] * (1 + 1e-9)


def test_output_goes_to_a_file_out_of_the_way(tmp_path: Path) -> None:
    path = tmp_path / "energy.json"
    assert measure("--output", path, *PYTHON, "pass").return_value == 0
    assert json.loads(path.read_text())["exit_status"] == 0
    with pytest.raises(OutputError):
        measure("--output", tmp_path / "nowhere" / "energy.json", *PYTHON, "pass")


def test_a_missing_command_has_the_status_shells_give() -> None:
    with pytest.raises(UsageError) as raised:
        measure("surely-not-there")
    assert raised.value.exit_status == 127


def test_options_of_the_command_are_its_own() -> None:
    found = record(*PYTHON, "pass", "--json", "--name", "x")
    assert found["name"] == Path(sys.executable).name
    assert found["command"].endswith("--json --name x")


def test_the_real_program_passes_output_and_status_through() -> None:
    talk = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = subprocess.run(
        [sys.executable, "-m", "negawatt", "measure", "--", *PYTHON, talk],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert "energy" in done.stderr


def test_the_help_has_an_example() -> None:
    help_text = CliRunner().invoke(command, ["--help"]).output
    assert "negawatt measure -- python train.py" in help_text


def test_repeats_tell_their_mean_and_how_far_it_is_certain(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    found = record("--repeat", "3", "--ledger", ledger, "--name", "job", "--", *PYTHON, "pass")
    cpu = Estimate.from_json(found["cpu_seconds"])
    assert found["runs"] == 3
    assert cpu.low <= cpu.value <= cpu.high
    assert "mean of 3 runs" in cpu.source
    with open_ledger(ledger, readonly=True) as book:
        kept = [entry.body["cpu_seconds"]["value"] for entry in book.entries()]
    assert len(kept) == 3
    assert cpu.value == pytest.approx(sum(kept) / 3)
    screen = measure("--repeat", "2", "--", *PYTHON, "pass").stderr
    assert "exit status 0, mean of 2 runs" in screen


def test_a_series_ends_with_its_first_failure(tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    code = f"import sys; f = open({str(counter)!r}, 'a'); f.write('x'); f.close(); sys.exit(3)"
    result = measure("--repeat", "5", "--", *PYTHON, code)
    assert result.return_value == 3
    assert counter.read_text() == "x"
