"""What every runner must do. A new one is done when its rig passes here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from runner_rigs import (
    FakeKubernetesRig,
    FakeSlurmRig,
    ProcessRig,
    RayRig,
    RealSlurmRig,
    Rig,
    reaches,
)

from negawatt.core import registry
from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, RunState

RIGS: dict[str, Callable[[Path], Rig]] = {
    "process": ProcessRig,
    "slurm, a fake": FakeSlurmRig,
    "slurm": RealSlurmRig,
    "kubernetes, a fake": FakeKubernetesRig,
    "ray": RayRig,
}
SLOW = frozenset({"slurm", "ray"})  # the real thing


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RIGS]
)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[request.param](tmp_path)
    yield made
    made.close()


def test_it_says_who_it_is_and_what_it_can(rig: Rig) -> None:
    runner = rig.runner()
    assert runner.name in registry.names(registry.RUNNERS)
    assert set(runner.can) <= {"pause", "begin", "scale"}


@pytest.mark.parametrize(("status", "state"), [(0, RunState.DONE), (3, RunState.FAILED)])
def test_a_task_runs_to_its_end(rig: Rig, status: int, state: RunState) -> None:
    runner = rig.runner()
    handle = runner.submit(rig.task("work"))
    reaches(runner, handle, RunState.RUNNING)
    rig.end(handle, status)
    reaches(runner, handle, state)
    told = runner.standing(handle)
    assert told.state.ended
    assert told.exit_status in {status, None if status else 0}


def test_a_paused_task_does_not_end_before_it_goes_on(rig: Rig) -> None:
    runner = rig.runner()
    if "pause" not in runner.can:
        pytest.skip(f"{runner.name} cannot pause")
    handle = runner.submit(rig.task("work"))
    reaches(runner, handle, RunState.RUNNING)
    for _ in range(2):  # asking again changes nothing
        runner.act(handle, Act.PAUSE)
        reaches(runner, handle, RunState.PAUSED)
    for _ in range(2):
        runner.act(handle, Act.RESUME)
        reaches(runner, handle, RunState.RUNNING)
    rig.end(handle, 0)
    reaches(runner, handle, RunState.DONE)


@pytest.mark.parametrize("paused", [False, True])
def test_a_cancelled_task_is_cancelled_and_stays_so(rig: Rig, paused: bool) -> None:
    runner = rig.runner()
    handle = runner.submit(rig.task("work"))
    reaches(runner, handle, RunState.RUNNING)
    if paused and "pause" in runner.can:
        runner.act(handle, Act.PAUSE)
        reaches(runner, handle, RunState.PAUSED)
    for _ in range(2):
        runner.act(handle, Act.CANCEL)
        reaches(runner, handle, RunState.CANCELLED)


def test_what_has_ended_is_not_cancelled_afterwards(rig: Rig) -> None:
    runner = rig.runner()
    handle = runner.submit(rig.task("work"))
    reaches(runner, handle, RunState.RUNNING)
    rig.end(handle, 0)
    reaches(runner, handle, RunState.DONE)
    runner.act(handle, Act.CANCEL)
    runner.act(handle, Act.PAUSE)
    assert runner.standing(handle).state is RunState.DONE


def test_a_task_outlives_the_runner_that_was_asked(rig: Rig) -> None:
    handle = rig.runner().submit(rig.task("work"))
    another = rig.runner()
    reaches(another, handle, RunState.RUNNING)
    rig.end(handle, 0)
    reaches(another, handle, RunState.DONE)


def test_a_key_is_started_once(rig: Rig) -> None:
    task = rig.task("work")
    handles = {rig.runner().submit(task) for _ in range(3)}
    assert len(handles) == 1
    (handle,) = handles
    reaches(rig.runner(), handle, RunState.RUNNING)
    rig.end(handle, 0)
    reaches(rig.runner(), handle, RunState.DONE)
    assert rig.runner().submit(task) == handle
    assert rig.runner().standing(handle).state is RunState.DONE


def test_a_task_nobody_knows_is_lost(rig: Rig) -> None:
    runner = rig.runner()
    handle = runner.submit(rig.task("work"))
    unknown = handle.replace("work", "other") if "work" in handle else "4000000"
    assert runner.standing(unknown).state is RunState.LOST
    with pytest.raises(RunnerUnavailable):
        runner.act(unknown, Act.PAUSE)


def test_a_start_in_the_future_is_kept_or_refused(rig: Rig) -> None:
    runner = rig.runner()
    task = rig.task("work", begin=datetime.now(UTC) + timedelta(days=1))
    if "begin" not in runner.can:
        with pytest.raises(RunnerUnavailable):
            runner.submit(task)
        return
    handle = runner.submit(task)
    assert runner.standing(handle).state is RunState.WAITING
    runner.act(handle, Act.CANCEL)
    reaches(runner, handle, RunState.CANCELLED)


def test_a_task_is_scaled_and_zero_nodes_pause_it(rig: Rig) -> None:
    runner = rig.runner()
    if "scale" not in runner.can:
        pytest.skip(f"{runner.name} does not scale a task that runs")
    handle = runner.submit(rig.task("work", nodes=2))
    reaches(runner, handle, RunState.RUNNING)
    for nodes in (3, 1):
        runner.scale(handle, nodes)
        assert f"{nodes} node" in runner.standing(handle).detail
    runner.scale(handle, 0)
    reaches(runner, handle, RunState.PAUSED)
    runner.scale(handle, 2)
    reaches(runner, handle, RunState.RUNNING)
    rig.end(handle, 0)
    reaches(runner, handle, RunState.DONE)
