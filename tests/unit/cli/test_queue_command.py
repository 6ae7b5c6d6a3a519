"""`negawatt queue`: many jobs in replayed hours, one worker or two, and what they saved."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from replayed import replay

from negawatt.actions.run.book import Book
from negawatt.cli import main


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGAWATT_QUEUE", str(tmp_path / "queue.db"))
    monkeypatch.setenv("NEGAWATT_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.chdir(tmp_path)


def add(tmp_path: Path, *command: str, **options: str) -> None:
    given = {"deadline": "+8h", "duration": "1h", "power": "100W", **options}
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    place = [word for word in replay(tmp_path) if word not in {"--speed", "20000"}]
    assert main(["queue", "add", *words, *place, "--", *command]) == 0


def said(capfd: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    capfd.readouterr()
    assert main(["queue", *words, "--json"]) == status
    return json.loads(capfd.readouterr().out)


def test_jobs_run_in_their_hours_and_the_report_adds_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, "sh", "-c", "echo one", name="one")
    add(tmp_path, "sh", "-c", "echo two; exit 4", name="two")
    told = said(capfd, "work", "--slots", "2", "--speed", "20000", status=1)
    assert [one["phase"] for one in told["orders"]] == ["done", "failed"]
    assert all(one["deadline_kept"] for one in told["orders"])
    assert all(
        10 <= datetime.fromisoformat(one["stretches"][0][0]).hour <= 13 for one in told["orders"]
    )
    report = said(capfd, "report")
    sums = report["sums"]
    assert report["counted"] == 2
    assert sums["time"] - sums["restarts"] - sums["waiting"] == pytest.approx(sums["grams"])
    assert report["share"] == pytest.approx(sums["grams"] / sums["now"])
    assert report["deadlines_missed"] == []
    shown = said(capfd, "show", "1")
    assert Path(shown["output"]).read_text(encoding="utf-8") == "one\n"
    assert [event["what"] for event in shown["events"]][-1] == "ended"


def test_one_slot_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        add(tmp_path, sys.executable, "-S", "-c", "import time; time.sleep(0.1)")
    told = said(capfd, "work", "--slots", "1", "--speed", "20000")
    times = sorted(tuple(part) for one in told["orders"] for part in one["stretches"])
    assert len(times) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(times))


def test_the_list_is_for_people_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "list"]) == 0
    assert "nothing is in the queue" in capfd.readouterr().out
    add(tmp_path, "true")
    assert main(["queue", "list"]) == 0
    told = capfd.readouterr().out
    assert "waiting" in told
    assert "2020-06-01 16:00" in told
    assert main(["queue", "report"]) == 0
    assert "it never ran" in capfd.readouterr().out
    assert main(["queue", "show", "1"]) == 0
    assert "added" in capfd.readouterr().out


def test_a_job_is_cancelled(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, "touch", "here")
    assert said(capfd, "cancel", "1")["orders"][0]["phase"] == "cancelled"
    assert said(capfd, "work", "--speed", "20000")["orders"] == []
    assert not (tmp_path / "here").exists()


def test_there_is_no_such_job(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["show", "9"], ["cancel", "9"]):
        assert main(["queue", *words]) == 2
        assert "no order 9" in capfd.readouterr().err


def test_a_clock_is_not_set_under_a_job_that_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, "true")
    with Book(tmp_path / "queue.db") as book:
        from negawatt.actions.run.steer import Limits

        assert book.claim(1, Limits()) is not None
    assert main(["queue", "work", "--speed", "20000"]) == 2
    assert "has begun" in capfd.readouterr().err


@pytest.mark.slow
def test_two_workers_start_each_job_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        add(tmp_path, "sh", "-c", f"echo {number} >> {tmp_path / 'started'}")
    words = [sys.executable, "-m", "negawatt", "queue", "work", "--slots", "2"]
    with Book(tmp_path / "queue.db") as book:
        from negawatt.actions.run.pace import Pace, wall
        from negawatt.wiring.queue import QUEUE

        first = book.entries(QUEUE)[0].order.release
        book.pace(QUEUE, Pace(3600.0, wall(), first))
    workers = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for worker in workers:
        _, told = worker.communicate(timeout=60)
        assert worker.returncode == 0, told
    lines = (tmp_path / "started").read_text(encoding="ascii").split()
    assert sorted(lines) == [str(number) for number in range(6)]
    assert {one["phase"] for one in said(capfd, "list")["orders"]} == {"done"}
