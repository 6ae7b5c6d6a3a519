"""This machine: a command in a process group of its own, stopped and continued by signals.

    <folder>/<key>/task.json       what was asked
    <folder>/<key>/0/started.json  which process that became
    <folder>/<key>/0/ended.json    and its exit status
    <folder>/<key>/1/...           the same after it was restarted from a checkpoint

A task's key is its folder, and making `0` in it is starting it: nobody can do that twice. The
handle is that folder, so it holds after this process has died; a process is known by its number
together with when it was started and since which start of the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from negawatt.adapters.runners import processes
from negawatt.adapters.runners.supervisor import boot, born, write
from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, RunState, Standing, Task

_PATIENCE_S = 20.0  # until a process is there
_TICK_S = 0.004
_STOPS_S = 1.0
_CHECKPOINT_S = 60.0
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
#: Exit statuses that say "checkpointed, start me again", once that was asked for: 75 is EX_TEMPFAIL.
_KEPT = frozenset({0, 75})


class ProcessRunner:
    """Runs commands on this machine.

    Options of a task: `key` (a second task of the same key is the first one), `output` (a file
    that takes what it prints; our own streams when not given), `checkpoint` (a signal such as
    `USR1`, or a command with `{pid}` in it: asked for a pause, the task writes what it needs and
    exits with 0 or 75 within `checkpoint_s` seconds), `restart` (the command that goes on from
    there, the same one when not given).

    Args:
        folder: Keeps what is known of tasks; made on first use.
    """

    name = "process"
    can = ("pause",)

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._children: set[int] = set()

    def submit(self, task: Task) -> str:
        """Start it, unless its key was started before."""
        if sys.platform == "win32":
            raise RunnerUnavailable(
                "processes cannot be paused on Windows", fix="run it on Linux or macOS, or in WSL"
            )
        if task.begin is not None or task.nodes != 1:
            raise RunnerUnavailable(
                f"{task.name}: this machine starts a task at once, on one node",
                fix="let `negawatt run` wait for you, or choose a runner with a queue",
            )
        place = self._folder / task.options.get("key", uuid4().hex)
        record = {
            "argv": list(task.argv),
            "folder": str(task.folder or Path.cwd()),
            "environment": {
                **task.environment,
                "NEGAWATT_CHECKPOINTED": str(place / "checkpointed"),
            },
            "restart": shlex.split(task.options.get("restart", "")),
            "options": dict(task.options),
        }
        try:
            place.mkdir(parents=True, exist_ok=True)
            if not (place / "0").exists():
                write(place / "task.json", record)
            self._start(place, 0)
        except OSError as error:
            raise RunnerUnavailable(
                f"{task.name} cannot be started: {error.strerror or error}",
                fix=f"check the disk and the rights of {self._folder}",
            ) from error
        return str(place)

    def _start(self, place: Path, number: int) -> None:
        """Start a command unless somebody has: the folder of its number can be made only once."""
        turn = place / str(number)
        with contextlib.suppress(FileExistsError):
            turn.mkdir()
            self._spawn(place, turn)
        until = time.monotonic() + _PATIENCE_S
        while not (turn / "started.json").exists() and not (turn / "ended.json").exists():
            if time.monotonic() > until:
                return  # whoever made the folder died before the process was there: it is lost
            time.sleep(_TICK_S)

    def _spawn(self, place: Path, turn: Path) -> None:
        options = _read(place / "task.json")["options"]
        output = options.get("output")
        with contextlib.ExitStack() as stack:
            streams: dict[str, Any] = {}
            if output:
                file = stack.enter_context(Path(output).open("ab"))
                streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
            elif sys.__stdin__ is None or os.isatty(0):  # a group in the background may not read it
                streams = {"stdin": subprocess.DEVNULL}
            supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(turn)],
                start_new_session=True,
                **streams,
            )
        self._children.add(supervisor.pid)
        supervisor.returncode = 0  # it outlives us; while we are here, `_reap` sees to it

    def _reap(self) -> None:
        for pid in tuple(self._children):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            self._children.discard(pid)

    def standing(self, handle: str) -> Standing:
        """Read off the files, and whether the process is still the one that was started."""
        self._reap()
        place = Path(handle)
        turn = _turn(place)
        if turn is None:
            return Standing(RunState.LOST, detail=f"nothing is known of {place.name}")
        pid = _alive(turn)
        if pid is not None:
            if processes.stopped(pid):
                return Standing(RunState.PAUSED, detail=f"process {pid} is stopped")
            return Standing(RunState.RUNNING, detail=f"process {pid}")
        standing_over = _alive(turn, "supervisor")  # asked first: it writes before it goes
        ended = _read(turn / "ended.json")
        if ended:
            return self._ended(place, turn, ended)
        if standing_over is not None:
            return Standing(RunState.RUNNING, detail="it is ending")
        return Standing(RunState.LOST, detail="its process is gone and left no exit status")

    def _ended(self, place: Path, turn: Path, ended: Mapping[str, Any]) -> Standing:
        status = int(ended["status"])
        if (place / "cancelled").exists():
            return Standing(RunState.CANCELLED, status)
        asked = (turn / "asked").exists() and status in _KEPT
        if asked or (place / "checkpointed").exists():
            return Standing(RunState.PAUSED, detail="it exited after its checkpoint")
        state = RunState.DONE if status == 0 else RunState.FAILED
        return Standing(state, status, str(ended.get("why", "")))

    def act(self, handle: str, act: Act) -> None:
        """Stop, continue, or end it; a checkpoint is asked for where the task has one.

        What has not ended when it is cancelled a second time is killed.
        """
        place, standing = Path(handle), self.standing(handle)
        turn = _turn(place)
        if turn is None or standing.state is RunState.LOST:
            raise RunnerUnavailable(
                f"{place.name} cannot be asked to {act}: {standing.detail}", fix="start it again"
            )
        if act is Act.CANCEL:
            self._cancel(place, turn, standing)
        elif act is Act.PAUSE and standing.state is RunState.RUNNING:
            self._pause(place, turn)
        elif act is Act.RESUME and standing.state is RunState.PAUSED:
            pid = _alive(turn)
            if pid is not None:
                processes.tell(pid, signal.SIGCONT)
                return
            (place / "checkpointed").unlink(missing_ok=True)
            self._start(place, int(turn.name) + 1)

    def _cancel(self, place: Path, turn: Path, standing: Standing) -> None:
        if standing.state.ended:
            return
        again = (place / "cancelled").exists()
        (place / "cancelled").touch()
        pid = _alive(turn)
        if pid is not None:
            processes.wake_to(pid, signal.SIGKILL if again else signal.SIGTERM)

    def _pause(self, place: Path, turn: Path) -> None:
        pid = _alive(turn)
        options = _read(place / "task.json")["options"]
        how = options.get("checkpoint", "")
        if pid is None:
            return
        if not how:
            self._stop(turn, pid)
            return
        (turn / "asked").touch()
        number = getattr(signal, f"SIG{how.upper().removeprefix('SIG')}", None)
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        else:
            self._hook(how, pid, place)
        until = time.monotonic() + float(options.get("checkpoint_s", _CHECKPOINT_S))
        while time.monotonic() < until:
            if (turn / "ended.json").exists() or _alive(turn, "supervisor") is None:
                return
            time.sleep(_TICK_S)
        self._stop(turn, pid)  # it did not answer: it keeps its memory instead

    def _stop(self, turn: Path, pid: int) -> None:
        processes.tell(pid, signal.SIGSTOP)
        until = time.monotonic() + _STOPS_S  # what waits for a disk stops when it is back
        while time.monotonic() < until and _alive(turn) and not processes.stopped(pid):
            time.sleep(_TICK_S)

    def _hook(self, how: str, pid: int, place: Path) -> None:
        words = [word.replace("{pid}", str(pid)) for word in shlex.split(how)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=place)
        except OSError as error:
            raise RunnerUnavailable(
                f"the checkpoint of {place.name} cannot be asked for: {error}",
                fix="give a signal (USR1) or a program that can be run",
            ) from error
        if done.returncode:
            raise RunnerUnavailable(
                f"`{how}` failed with {done.returncode}: {done.stderr.strip()[:200]}",
                fix="try it by hand while the job runs",
            )

    def signal(self, handle: str, number: int) -> None:
        """Pass a signal on to what runs; one that is stopped is woken for it."""
        turn = _turn(Path(handle))
        pid = _alive(turn) if turn else None
        if pid is not None:
            processes.wake_to(pid, number)

    def cpu_s(self, handle: str) -> float:
        """CPU time so far, of all starts and everything they started. [s]"""
        total = 0.0
        for turn in _turns(Path(handle)):
            ended = _read(turn / "ended.json")
            if ended:
                total += float(ended["cpu_s"])
            elif _alive(turn) is not None:
                total += processes.cpu_below(_read(turn / "started.json")["supervisor"])
        return total

    def ended_at(self, handle: str) -> datetime | None:
        """When its last start ended."""
        turn = _turn(Path(handle))
        at = _read(turn / "ended.json").get("at") if turn else None
        return None if at is None else datetime.fromtimestamp(float(at), UTC)


def _alive(turn: Path, who: str = "pid") -> int | None:
    """The number of its process, if that is still the same one."""
    started = _read(turn / "started.json")
    if not started or started["boot"] != boot():
        return None
    pid = int(started[who])
    since = born(pid)
    return pid if since and since == started[f"{who}_born"] else None


def _turns(place: Path) -> list[Path]:
    found = [path for path in place.glob("*") if path.name.isdigit()] if place.is_dir() else []
    return sorted(found, key=lambda path: int(path.name))


def _turn(place: Path) -> Path | None:
    turns = _turns(place)
    return turns[-1] if turns else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
