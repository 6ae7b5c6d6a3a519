"""`negawatt run`: real commands in replayed hours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from replayed import replay
from runner_rigs import WAITER, until

from negawatt.actions.run.book import Book
from negawatt.actions.run.orders import Phase
from negawatt.cli import main
from negawatt.ledger import open_ledger


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGAWATT_QUEUE", str(tmp_path / "queue.db"))
    monkeypatch.setenv("NEGAWATT_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.chdir(tmp_path)


JOB = ["--deadline", "+8h", "--duration", "2h"]


def test_a_command_waits_for_noon_and_its_status_passes_through(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*JOB, "--power", "100W", *replay(tmp_path), "--json"]
    assert main(["run", *words, "--", "sh", "-c", "echo hello; exit 3"]) == 3
    out = capfd.readouterr().out
    assert out.startswith("hello\n")
    told = json.loads(out.splitlines()[-1])
    assert (told["phase"], told["exit_status"], told["deadline_kept"]) == ("failed", 3, True)
    start = datetime.fromisoformat(told["stretches"][0][0])
    assert 10 <= start.hour <= 12
    saving = told["saving"]
    assert saving["share"]["value"] > 0.1
    assert saving["mean_run"] < saving["mean_now"]
    parts = [saving[name]["value"] for name in ("time", "restarts", "waiting", "grams")]
    assert parts[0] - parts[1] - parts[2] == pytest.approx(parts[3])
    assert any("replayed" in remark for remark in saving["remarks"])


def test_the_ledger_has_the_window_and_the_saving(tmp_path: Path) -> None:
    assert main(["run", *JOB, *replay(tmp_path), "--", "true"]) == 0
    with open_ledger(tmp_path / "ledger.db", readonly=True) as ledger:
        found = {entry.kind: entry.body for entry in ledger.entries()}
        ledger.verify()
    assert found["measure"]["orders"][0]["share"] == 1.0
    assert found["run"]["command"] == "true"
    assert found["run"]["speed"] == 20_000
    assert "carbon" not in found["run"]  # hours that are replayed are not emitted in
    assert found["run"]["carbon_replayed"]["unit"] == "gCO2e"


def test_a_dry_run_tells_when_and_runs_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*JOB, *replay(tmp_path), "--dry-run", "--json"]
    assert main(["run", *words, "--", "touch", "here"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["plan"]["saving"]["value"] > 0
    assert not (tmp_path / "here").exists()
    assert not (tmp_path / "queue.db").exists()


def test_it_is_shown_for_people(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *JOB, *replay(tmp_path), "--", "true"]) == 0
    told = capfd.readouterr().err
    for word in ("1: true, done, exit status 0", "deadline", "kept", "split", "cleaner hours"):
        assert word in told


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--deadline", "+12h", "--duration", "1h"], "no command"),
        (["--deadline", "2020-05-01T00:00Z", "--duration", "1h", "--", "true"], "is past"),
        (["--deadline", "+1h", "--duration", "2h", "--", "true"], "needs 2:00:00"),
        (["--duration", "2h", "--", "true"], "no deadline"),
        (["--deadline", "+4h", "--", "true"], "how long"),
        (
            ["--deadline", "+4h", "--duration", "1h", "--power", "0", "--", "true"],
            "nothing runs on",
        ),
        (["--deadline", "soon", "--duration", "1h", "--", "true"], "is no deadline"),
        (["--deadline", "+4h", "--duration", "long", "--", "true"], "is no duration"),
        (["--deadline", "+4h", "--duration", "0h", "--", "true"], "above 0"),
        (["--deadline", "+4h", "--duration", "1h", "--runner", "x", "--", "true"], "'x'"),
        (["--deadline", "+4h", "--duration", "1h", "--option", "x", "--", "true"], "KEY=VALUE"),
    ],
)
def test_what_cannot_be_taken_is_said_clearly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], what: str
) -> None:
    head = ["run", *replay(tmp_path)]
    assert main([*head, *words]) == 2
    told = capfd.readouterr().err
    assert what in told
    assert "fix:" in told


def test_an_unknown_zone_is_said_clearly(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [*JOB, *replay(tmp_path), "--zone", "ATLANTIS", "--provider", ""]
    assert main(["run", *words, "--", "true"]) == 2
    assert "ATLANTIS" in capfd.readouterr().err


def test_how_long_it_takes_comes_from_the_ledger(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ledger = str(tmp_path / "ledger.db")
    assert main(["measure", "--ledger", ledger, "--", "sleep", "0.05"]) == 0
    capfd.readouterr()
    words = ["--deadline", "+24h", *replay(tmp_path), "--dry-run", "--json"]
    assert main(["run", *words, "--", "sleep", "0.05"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["order"]["work_s"] == pytest.approx(0.1, abs=0.09)
    assert "1 earlier run" in told["notes"][0]


def test_a_program_that_is_not_there_is_127(tmp_path: Path) -> None:
    assert main(["run", *JOB, *replay(tmp_path), "--", "no-such-program"]) == 127


@pytest.mark.slow
def test_it_is_paused_and_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # six hours within thirty: more than one day's clean hours, so there is a night between
    words = ["--deadline", "+46h", "--duration", "14h", "--interruptible", "--json"]
    code = "import time\nfor _ in range(50): time.sleep(0.07)"
    words += replay(tmp_path, speed=14400)
    assert main(["run", *words, "--", sys.executable, "-c", code]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["resumes"] >= 1
    assert told["saving"]["share"]["value"] > 0


# ------------------------------------------------------------------ kill -9


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _begin(tmp_path: Path, started: list[subprocess.Popen[bytes]], *extra: str) -> int:
    words = ["--deadline", "+602s", "--duration", "600s", "--zone", "DE", *extra]
    command = ["sh", "-c", WAITER, "waiter", str(tmp_path / "end")]
    process = subprocess.Popen(
        [sys.executable, "-m", "negawatt", "run", *words, "--", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    started.append(process)
    until(lambda: bool(_phase(tmp_path) is Phase.RUNNING), "it never ran")
    return process.pid


def _phase(tmp_path: Path) -> Phase | None:
    if not (tmp_path / "queue.db").exists():
        return None
    with Book(tmp_path / "queue.db") as book:
        found = book.entries("")
    return found[-1].progress.phase if found else None


def _supervisor(tmp_path: Path) -> int:
    (place,) = (tmp_path / "queue.db.tasks").glob("*/0/started.json")
    return int(json.loads(place.read_text(encoding="utf-8"))["supervisor"])


@pytest.mark.slow
def test_a_run_that_was_killed_is_taken_up_again(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    os.kill(_begin(tmp_path, started), signal.SIGKILL)
    started[0].wait()
    assert psutil.pid_exists(_supervisor(tmp_path))
    (tmp_path / "end").write_text("7", encoding="ascii")
    assert main(["run", "--resume", "--json"]) == 7
    told = json.loads(capfd.readouterr().out)
    assert told["attempts"] == 1
    assert any("no worker watched" in note for note in told["notes"])
    assert main(["run", "--resume"]) == 2  # nothing is left behind now


@pytest.mark.slow
def test_a_run_whose_machine_went_down_is_begun_anew(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], capfd: pytest.CaptureFixture[str]
) -> None:
    os.kill(_begin(tmp_path, started), signal.SIGKILL)
    os.kill(_supervisor(tmp_path), signal.SIGKILL)  # and the kernel kills what it stood over
    started[0].wait()
    until(lambda: not _below(tmp_path), "the command outlived its supervisor")
    (tmp_path / "end").write_text("0", encoding="ascii")
    assert main(["run", "--resume", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["attempts"] == 2
    assert any("begun anew" in note for note in told["notes"])


def _below(tmp_path: Path) -> bool:
    (place,) = (tmp_path / "queue.db.tasks").glob("*/0/started.json")
    pid = int(json.loads(place.read_text(encoding="utf-8"))["pid"])
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_pass_through(
    tmp_path: Path, started: list[subprocess.Popen[bytes]], number: int, status: int
) -> None:
    os.kill(_begin(tmp_path, started), number)
    assert started[0].wait(20) == status


@pytest.mark.slow
def test_a_run_that_waits_can_be_ended(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    words = ["--deadline", "+24h", "--duration", "2h", *replay(tmp_path, speed=1)]
    words = [word for word in words if word not in {"--speed", "1"}]
    process = subprocess.Popen(
        [sys.executable, "-m", "negawatt", "run", *words, "--", "true"], stderr=subprocess.PIPE
    )
    started.append(process)
    until(lambda: _phase(tmp_path) is Phase.WAITING, "it never waited")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert _phase(tmp_path) is Phase.CANCELLED


def test_a_live_run_cannot_be_resumed(tmp_path: Path) -> None:
    from run_world import Scene

    scene = Scene(tmp_path, [1.0] * 12)
    scene.book.hold(scene.book.add(scene.order(by=10)))
    assert main(["run", "--resume"]) == 2


WORKS = """
import os, signal, sys, time
done = len(open(sys.argv[1]).read()) if os.path.exists(sys.argv[1]) else 0
asked = []
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
while done < 50:
    time.sleep(0.07)
    done += 1
    if asked or done == 50:
        open(sys.argv[1], "w").write("x" * done)
        raise SystemExit(75 if done < 50 else 0)
"""


@pytest.mark.slow
def test_it_stands_at_a_checkpoint_and_goes_on_from_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--deadline", "+46h", "--duration", "14h", "--checkpoint", "USR1", "--json"]
    words += replay(tmp_path, speed=14_400)
    kept = tmp_path / "kept"
    assert main(["run", *words, "--", sys.executable, "-S", "-c", WORKS, str(kept)]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["resumes"] >= 1
    assert kept.read_text(encoding="ascii") == "x" * 50
