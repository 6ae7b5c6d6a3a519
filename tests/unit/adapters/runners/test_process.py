from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_rigs import ProcessRig, reaches, until

from negawatt.adapters.runners import processes
from negawatt.adapters.runners.process import ProcessRunner
from negawatt.adapters.runners.supervisor import born
from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, RunState, Task

CHECKPOINTS = """
import os, signal, sys, time
mark = sys.argv[1]
if os.path.exists(mark):
    open(mark + ".again", "w").write("went on")
    raise SystemExit(int(sys.argv[2]))
def kept(*_):
    open(mark, "w").write("kept")
    raise SystemExit(75)
signal.signal(signal.SIGUSR1, kept)
open(mark + ".ready", "w").close()
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProcessRig]:
    made = ProcessRig(tmp_path)
    yield made
    made.close()


def checkpointing(rig: ProcessRig, how: str, **options: str) -> Task:
    argv = (sys.executable, "-S", "-c", CHECKPOINTS, str(rig.folder / "mark"), "4")
    return Task("work", argv, options={"key": "work", "checkpoint": how, **options})


@pytest.mark.parametrize("how", ["USR1", "sigusr1", "kill -USR1 {pid}"])
def test_a_checkpoint_is_asked_for_and_gone_on_from(rig: ProcessRig, how: str) -> None:
    runner = rig.runner()
    handle = runner.submit(checkpointing(rig, how))
    until((rig.folder / "mark.ready").exists, "it never began")
    runner.act(handle, Act.PAUSE)
    assert runner.standing(handle).state is RunState.PAUSED
    assert (rig.folder / "mark").read_text(encoding="ascii") == "kept"
    runner.act(handle, Act.RESUME)
    reaches(runner, handle, RunState.FAILED)
    assert runner.standing(handle).exit_status == 4
    assert (rig.folder / "mark.again").exists()


def test_another_command_may_go_on(rig: ProcessRig) -> None:
    runner = rig.runner()
    handle = runner.submit(checkpointing(rig, "USR1", restart="sh -c 'exit 9'"))
    until((rig.folder / "mark.ready").exists, "it never began")
    runner.act(handle, Act.PAUSE)
    runner.act(handle, Act.RESUME)
    reaches(runner, handle, RunState.FAILED)
    assert runner.standing(handle).exit_status == 9


def test_what_does_not_answer_is_stopped_instead(rig: ProcessRig) -> None:
    runner = rig.runner()
    options = {"checkpoint": "WINCH", "checkpoint_s": "0.05"}
    handle = runner.submit(rig.task("work", options=options))
    reaches(runner, handle, RunState.RUNNING)
    runner.act(handle, Act.PAUSE)
    assert "stopped" in runner.standing(handle).detail
    runner.act(handle, Act.RESUME)
    reaches(runner, handle, RunState.RUNNING)


def test_a_checkpoint_command_that_fails_is_told(rig: ProcessRig) -> None:
    runner = rig.runner()
    handle = runner.submit(rig.task("work", options={"checkpoint": "false"}))
    reaches(runner, handle, RunState.RUNNING)
    with pytest.raises(RunnerUnavailable, match="failed with 1"):
        runner.act(handle, Act.PAUSE)


def test_what_a_command_started_stops_with_it(rig: ProcessRig) -> None:
    runner, note = rig.runner(), rig.folder / "child"
    script = f"sleep 60 & echo $! > {note}; wait"
    handle = runner.submit(Task("work", ("sh", "-c", script), options={"key": "work"}))
    until(lambda: note.exists() and bool(note.read_text(encoding="ascii")), "no child")
    child = int(note.read_text(encoding="ascii"))
    runner.act(handle, Act.PAUSE)
    until(lambda: processes.stopped(child), "the child runs on")
    runner.act(handle, Act.CANCEL)
    until(lambda: not born(child), "the child is left behind")


def test_a_number_that_came_again_is_not_taken_for_the_task(rig: ProcessRig) -> None:
    runner = rig.runner()
    handle = runner.submit(rig.task("work"))
    place = Path(handle) / "0" / "started.json"
    text = place.read_text(encoding="utf-8")
    told = f'{{"pid": {os.getpid()}, "supervisor": {os.getpid()}, "pid_born": "1", '
    rest = '"supervisor_born": "1", "boot": "another"}'
    place.write_text(told + rest, encoding="utf-8")
    assert runner.standing(handle).state is RunState.LOST
    with pytest.raises(RunnerUnavailable):
        runner.act(handle, Act.PAUSE)  # and we are not stopped
    place.write_text(text, encoding="utf-8")


def test_without_its_supervisor_a_command_does_not_run_on(rig: ProcessRig) -> None:
    import json

    runner = rig.runner()
    handle = runner.submit(rig.task("work"))
    pids = json.loads((Path(handle) / "0" / "started.json").read_text(encoding="utf-8"))
    os.kill(pids["supervisor"], signal.SIGKILL)
    reaches(runner, handle, RunState.LOST)
    until(lambda: not born(pids["pid"]), "the command outlived its supervisor")


def test_cpu_time_of_a_command_is_known_while_it_runs_and_afterwards(rig: ProcessRig) -> None:
    runner = rig.runner()
    code = "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass"
    handle = runner.submit(
        Task("work", (sys.executable, "-S", "-c", code), options={"key": "work"})
    )
    assert runner.ended_at(handle) is None or runner.standing(handle).state.ended
    reaches(runner, handle, RunState.DONE)
    assert 0.05 <= runner.cpu_s(handle) < 2
    assert runner.ended_at(handle) is not None


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunnerUnavailable, match="cannot be started"):
        ProcessRunner(tmp_path / "file").submit(Task("work", ("true",)))
