"""Engines run the same model in turns; the one that takes least is taken, with reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from job_sample import PacedRuntime, PacedSession, some_order, some_tools
from rich.console import Console

from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import Comparison, compare
from negawatt.actions.optimize.order import Tools
from negawatt.actions.optimize.run import optimize
from negawatt.core.errors import RuntimeUnavailable, UnsupportedArchitecture
from negawatt.core.protocols import RunOptions, Session
from negawatt.core.records import Workload
from negawatt.reports.engines import show


class Priced(PacedSession):
    """Reads and writes at so many times the usual price."""

    def __init__(self, inner: Session, clock: Any, times: tuple[float, float]) -> None:
        super().__init__(inner, clock, [])
        self._times = times

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        before = self._clock.cpu_s
        found = super().forward(tokens, keep=keep)
        self._clock.cpu_s += (self._times[tokens.shape[1] == 1] - 1) * (self._clock.cpu_s - before)
        return found


class Engine(PacedRuntime):
    def __init__(self, clock: Any, name: str, times: tuple[float, float]) -> None:
        super().__init__(clock, name)
        self.times, self.opened = times, 0

    def open(self, artifact: Path, options: RunOptions) -> Session:
        self.opened += 1
        return Priced(super().open(artifact, options), self.clock, self.times)


class Refusing(Engine):
    def convert(self, model: Path, out: Path) -> None:
        raise UnsupportedArchitecture("it knows no such family", fix="use another engine")


class Lying(Engine):
    def open(self, artifact: Path, options: RunOptions) -> Session:
        return Blurred(super().open(artifact, options), self.clock, [])


class Blurred(PacedSession):
    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        return 1.5 * super().forward(tokens, keep=keep)


def tools_with(cache: Path, *engines: Any) -> Tools:
    tools = some_tools(cache)
    made = tuple(kind(tools.clock, name, times) for kind, name, times in engines)
    return replace(tools, runtime=made[0], engines=made)


READER, WRITER = (Engine, "reader", (0.5, 2.0)), (Engine, "writer", (2.0, 0.5))


def compared(story: Any, tools: Tools, out: Path, workload: Workload) -> Comparison:
    order = some_order(story.model, story.text, out, workload=workload)
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    return compare(order, tools, work, stages.prepared(tools, order, work))


def test_the_workload_decides(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", READER, WRITER)
    found = compared(story, tools, tmp_path / "chat", Workload(4, 32))
    assert found.chosen(tools.engines).name == "writer"
    assert "reader int8-row-sym, 1 thread takes less from" in found.decision.because
    assert {(run.runtime, run.format) for run in found.runs} == {
        (name, fmt) for name in ("reader", "writer") for fmt in ("int8-row-sym", "int4-g32-sym")
    }
    # four bits hurt more than eight, and neither is exact
    losses = {run.format: run.kl for run in found.runs if run.runtime == "writer"}
    assert 0 < losses["int8-row-sym"] < losses["int4-g32-sym"]
    other = compared(story, tools, tmp_path / "read", Workload(48, 2))
    assert other.chosen(tools.engines).name == "reader"


def test_who_cannot_run_the_model_is_named_with_the_reason(story: Any, tmp_path: Path) -> None:
    tools = tools_with(
        tmp_path / "cache",
        (Refusing, "refusing", (0.1, 0.1)),
        (Lying, "lying", (0.1, 0.1)),
        WRITER,
    )
    found = compared(story, tools, tmp_path / "out", Workload(8, 8))
    assert set(found.refused) == {"refusing", "lying"}
    assert found.refused["refusing"] == "it knows no such family"
    assert "KL" in found.refused["lying"]
    assert {run.runtime for run in found.runs} == {"writer"}


def test_when_nobody_can_it_is_said_so(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", (Refusing, "refusing", (1.0, 1.0)))
    with pytest.raises(RuntimeUnavailable, match="knows no such family"):
        compared(story, tools, tmp_path / "out", Workload(8, 8))


def test_finished_races_are_not_run_again(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", READER, WRITER)
    first = compared(story, tools, tmp_path / "out", Workload(8, 8))
    opened = [engine.opened for engine in tools.engines]  # type: ignore[attr-defined]
    again = compared(story, tools, tmp_path / "out", Workload(8, 8))
    assert [engine.opened for engine in tools.engines] == opened  # type: ignore[attr-defined]
    assert again == first


def test_optimize_serves_with_the_engine_that_takes_least(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", READER, WRITER)
    order = some_order(story.model, story.text, tmp_path / "out", workload=Workload(4, 32))
    found = optimize(order, tools)
    assert "writer" in found.artifacts
    assert any(note.startswith("Engine: writer int8-row-sym") for note in found.facts.notes)
    told = next(note for note in found.facts.notes if note.startswith("Other engines"))
    assert "reader" in told
    assert "J/token" in told
    assert "takes less from" in told  # which prompts would turn it
    assert "--runtime" not in told  # the writer stays the cheapest
    assert all(p.variant.cost.runtime == "writer 1.0" for p in found.points if p.role == "searched")  # type: ignore[union-attr]


def test_the_table_shows_every_run_and_where_the_choice_turns(
    story: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = tools_with(tmp_path / "cache", READER, WRITER)
    workload = Workload(4, 32)
    found = compared(story, tools, tmp_path / "out", workload)
    show(
        found.runs, {"other": "is not for this model"}, found.decision, workload, Console(width=120)
    )
    told = capsys.readouterr().out
    assert told.count("int4-g32-sym") >= 4  # in the table and on the front
    assert "other was left out: is not for this model" in told
    assert "from 0 to" in told
    assert "upwards: reader int8-row-sym, 1 thread" in told


@pytest.mark.usefixtures("finished")
def test_the_command_compares_what_is_installed(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.cli.engines import command

    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    words = [str(story.model), "--workload", "4:4:1", "--runtime", "openvino", "--threads", "1"]
    result = CliRunner().invoke(command, [*words, "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert {run["runtime"] for run in found["runs"]} == {"openvino"}
    assert found["decision"]["choice"].startswith("openvino int8")
