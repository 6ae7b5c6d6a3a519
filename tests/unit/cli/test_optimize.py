"""The main verb: what it is told, what it shows, how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from outcome_sample import sample_outcome

from negawatt import wiring
from negawatt.cli import main
from negawatt.cli import optimize as verb
from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.core.outcome import Outcome

OUTCOME = sample_outcome(blocks=2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the job was asked for; it answers with a made-up outcome."""
    found: dict[str, Any] = {}

    def optimize(model: str, **options: Any) -> Outcome:
        found.update(options, model=model)
        options["progress"]("memory: at most 300 MB", 0.0)
        for share in (0.1, 0.5, 1.0):
            options["progress"]("search", share)
        options["progress"]("export", 1.0)
        return OUTCOME

    monkeypatch.setattr(wiring, "optimize", optimize)
    return found


def optimize(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        verb.command, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False
    )


def test_defaults_are_one_percent_and_the_settings(asked: dict[str, Any]) -> None:
    optimize("some/model")
    assert asked["model"] == "some/model"
    assert asked["max_loss"] == pytest.approx(0.01)
    assert asked["out"] is None
    assert asked["text"] is None
    assert set(asked["flags"].values()) == {None}


def test_every_option_reaches_the_job(asked: dict[str, Any], tmp_path: Path) -> None:
    optimize(
        "m", "--max-loss", "2.5%", "--workload", "512:64:8", "--out", tmp_path / "o",
        "--text", "mine.txt", "--threads", "2", "--seed", "7", "--device", "cpu",
        "--runtime", "openvino", "--cache", "auto",
    )  # fmt: skip
    assert asked["max_loss"] == pytest.approx(0.025)
    assert asked["out"] == tmp_path / "o"
    assert asked["text"] == "mine.txt"
    assert asked["flags"] == {
        "run.workload": "512:64:8",
        "run.runtime": "openvino",
        "run.threads": "2",
        "run.cache": "auto",
        "run.seed": "7",
    }


def test_people_get_the_front_on_standard_output_and_talk_beside_it(
    asked: dict[str, Any],
) -> None:
    result = optimize("org/model-name")
    assert OUTCOME.decision.choice in result.stdout
    assert "report.html" in result.stderr
    assert "negawatt-out/model-name" in result.stderr
    assert "search" in result.stderr
    assert "search" not in result.stdout.splitlines()[0]


def test_machines_get_one_object(asked: dict[str, Any]) -> None:
    result = optimize("m", "--json")
    assert decode(Outcome, json.loads(result.stdout)).decision == OUTCOME.decision
    assert len(result.stdout.splitlines()) == 1


def test_lines_tell_every_stage_once_when_stages_are_short(asked: dict[str, Any]) -> None:
    lines = [line for line in optimize("m").stderr.splitlines() if line.startswith("[")]
    assert sum("search" in line for line in lines) == 1
    assert sum("export" in line for line in lines) == 1
    assert sum("memory" in line for line in lines) == 1


def test_lines_tell_the_time_left_once_there_is_a_pace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 10.0, 70.0, 130.0])
    monkeypatch.setattr(verb.time, "monotonic", lambda: next(now))
    with verb.progress_shown({"first": 0.5, "second": 0.5}) as tell:
        tell("first", 0.0)
        tell("first", 0.5)
        tell("second", 0.0)
    lines = capsys.readouterr().err.splitlines()
    assert "left" not in lines[0]
    assert lines[1].endswith("first 50%, about 3 min left")
    assert lines[2].endswith("second 0%, about 2 min left")


@pytest.mark.parametrize(
    "text", ["banana", "0", "0%", "-1%", "100%", "250%", "nan", "inf", "", "1%%"]
)
def test_a_loss_that_is_no_share_is_refused_before_anything_is_done(
    asked: dict[str, Any], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["optimize", "m", f"--max-loss={text}"]) == UsageError.exit_status
    assert "fix: write it as 1%" in capsys.readouterr().err
    assert asked == {}


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), (" 0.5 %", 0.005), ("0.02", 0.02), ("99%", 0.99)]
)
def test_losses_are_shares_or_percentages(asked: dict[str, Any], text: str, share: float) -> None:
    optimize("m", "--max-loss", text)
    assert asked["max_loss"] == pytest.approx(share)


@pytest.mark.parametrize("option", [("--seed", "-1"), ("--threads", "0"), ("--workload", "chatty")])
def test_settings_that_cannot_be_taken_are_refused(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = main(["optimize", str(tmp_path), f"{option[0]}={option[1]}"])
    assert status == UsageError.exit_status
    assert option[1] in capsys.readouterr().err


def test_what_is_no_model_has_a_status_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    status = main(["optimize", str(tmp_path / "empty"), "--out", str(tmp_path / "o"), "--json"])
    assert status == 3
    told = capsys.readouterr()
    assert json.loads(told.out)["fix"]
    assert "empty" in told.err
    assert not (tmp_path / "o" / "report.html").exists()


def test_an_interrupted_job_says_that_it_can_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(model: str, **_: Any) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(wiring, "optimize", interrupted)
    assert main(["optimize", "m"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["..", "/", "."])
def test_a_model_without_a_name_needs_an_out_folder(name: str) -> None:
    with pytest.raises(UsageError, match="gives no name for a folder"):
        wiring.default_out(name)


# -------------------------------------------------------------- with the real engine


@pytest.mark.slow  # measures every format of the real engine
def test_the_whole_command_on_a_small_model(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from job_sample import EFFORT

    from negawatt import reports
    from negawatt.actions.optimize import order
    from negawatt.core import registry
    from negawatt.core.protocols import RunOptions
    from negawatt.energy import costs
    from negawatt.ledger import open_ledger, overlap

    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEGAWATT_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setattr(order, "Effort", lambda: EFFORT)
    monkeypatch.setattr(costs, "_MOST_COPIES", 2)  # what is cold in memory is not the question
    text = shared / "data" / "text" / "tinystories-sample" / "train.txt"
    command = [
        str(shared / "models" / "stories260K"), "--max-loss", "30%", "--text", str(text),
        "--out", str(tmp_path / "out"), "--workload", "32:32:1", "--json",
    ]  # fmt: skip

    first = json.loads(optimize(*command).stdout)
    again = json.loads(optimize(*command).stdout)

    found = decode(Outcome, first)
    assert [c.name for c in found.checks if "equals" in c.name and not c.passed] == []
    assert all(step["resumed"] for step in again["steps"])
    assert again["decision"] == first["decision"]
    assert reports.read(tmp_path / "out" / "report.json").decision == found.decision
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").startswith("<!")
    runtime = registry.load(registry.RUNTIMES, "openvino")()
    with runtime.open(tmp_path / "out" / "openvino", RunOptions()) as session:
        assert len(list(session.stream([1, 403, 407], max_new=5))) == 5
    with open_ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.verify()
        entries = list(ledger.entries("optimize"))
    for entry, printed in zip(entries, (first, again), strict=True):
        assert entry.body["energy"]["value"] == printed["job_energy"]["value"]
        assert entry.body["wall_seconds"]["value"] > 0
        assert entry.body["cpu_seconds"]["value"] > 0
        when = overlap.period(entry)
        assert when is not None
        assert when[1] <= entry.time
