"""Slurm, through its own commands: sbatch, scontrol, squeue, scancel, and sacct where it is kept.

A job that waits is held and released. One that runs is suspended and resumed, which many clusters
leave to operators; with the option `pause=requeue` it is put back into the queue instead, held,
and begins again from its checkpoint when it is released.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from negawatt.core.errors import RunnerUnavailable
from negawatt.core.runners import Act, RunState, Standing, Task

_PATIENCE_S = 60.0
#: How Slurm calls its states, and what they are here; those that are missing are running.
_STATES: Mapping[str, RunState] = MappingProxyType(
    {
        "PENDING": RunState.WAITING,
        "CONFIGURING": RunState.WAITING,
        "REQUEUED": RunState.WAITING,
        "REQUEUE_HOLD": RunState.PAUSED,
        "SPECIAL_EXIT": RunState.PAUSED,
        "SUSPENDED": RunState.PAUSED,
        "STOPPED": RunState.PAUSED,
        "COMPLETED": RunState.DONE,
        "CANCELLED": RunState.CANCELLED,
        "FAILED": RunState.FAILED,
        "TIMEOUT": RunState.FAILED,
        "OUT_OF_MEMORY": RunState.FAILED,
        "NODE_FAIL": RunState.FAILED,
        "BOOT_FAIL": RunState.FAILED,
        "DEADLINE": RunState.FAILED,
        "PREEMPTED": RunState.FAILED,
    }
)
_REQUEUE = "/requeue"  # ends the comment of a job whose pause is a place in the queue
_HELD = re.compile(r"held", re.IGNORECASE)
_OURS = frozenset({"key", "pause", "checkpoint", "restart", "output"})


class SlurmRunner:
    """Hands tasks to Slurm.

    Options of a task become options of sbatch: `partition`, `account`, `time`, `gres`, ... Besides,
    `key` (a second task of the same key is the first one; kept as the job's comment), `output`,
    and `pause=requeue`.

    Args:
        commands: The folder that holds Slurm's commands; those of the PATH when empty.
    """

    name = "slurm"
    can = ("pause", "begin")

    def __init__(self, commands: str = "") -> None:
        self._commands = Path(commands) if commands else None

    def submit(self, task: Task) -> str:
        """Submit it, unless its key was submitted before."""
        key = task.options.get("key", "")
        if key and (known := self._known(key)):
            return known
        words = ["--parsable", f"--job-name={task.name}", f"--nodes={task.nodes}"]
        requeue = task.options.get("pause") == "requeue"
        words += [f"--comment={key}{_REQUEUE if requeue else ''}"]
        words += [f"--chdir={task.folder}"] if task.folder else []
        words += [f"--output={task.options['output']}"] if "output" in task.options else []
        if task.begin is not None:  # a span, because Slurm's times are in a zone it does not name
            ahead = (task.begin - datetime.now(UTC)).total_seconds()
            words.append(f"--begin=now+{max(0, round(ahead))}")
        words += ["--requeue"] if requeue else []
        words += [f"--{name}={value}" for name, value in task.options.items() if name not in _OURS]
        lines = [f"export {name}={shlex.quote(v)}" for name, v in task.environment.items()]
        script = "\n".join(["#!/bin/sh", *lines, f"exec {shlex.join(task.argv)}", ""])
        return self._ask("sbatch", *words, given=script).strip().partition(";")[0]

    def _known(self, key: str) -> str:
        """The job of that comment, among those that Slurm still holds or has kept."""
        told = self._ask("squeue", "--noheader", "--states=all", "--format=%i|%k")
        with suppress(RunnerUnavailable):  # no accounts here: squeue remembers for some minutes
            told += self._ask(
                "sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,Comment"
            )
        for line in told.splitlines():
            number, _, comment = line.strip().partition("|")
            if comment.strip().removesuffix(_REQUEUE) == key:
                return number
        return ""

    def standing(self, handle: str) -> Standing:
        """Ask the controller, and where it has forgotten the accounts."""
        found = self._shown(handle)
        if found is None:
            return self._kept(handle)
        state, reason = found["JobState"], found.get("Reason", "None")
        mapped = _STATES.get(state, RunState.RUNNING)
        if mapped is RunState.WAITING and _HELD.search(reason):
            mapped = RunState.PAUSED
        status = int(found["ExitCode"].partition(":")[0]) if mapped.ended else None
        return Standing(mapped, status, f"{state.lower()}, {reason}")

    def _shown(self, handle: str) -> dict[str, str] | None:
        try:
            told = self._ask("scontrol", "show", "job", "--oneliner", handle)
        except RunnerUnavailable as error:
            if "Invalid job id" in error.what:
                return None
            raise
        pairs = [word.partition("=") for word in told.split()]
        return {name: value for name, mark, value in pairs if mark}

    def _kept(self, handle: str) -> Standing:
        words = ["--noheader", "--parsable2", "--allocations", f"--jobs={handle}"]
        try:
            told = self._ask("sacct", *words, "--format=State,ExitCode").strip()
        except RunnerUnavailable:
            told = ""
        if not told:
            return Standing(RunState.LOST, detail=f"Slurm knows no job {handle}")
        state, _, status = told.splitlines()[-1].partition("|")
        word = state.split()[0]  # "CANCELLED by 1000"
        return Standing(
            _STATES.get(word, RunState.RUNNING), int(status.partition(":")[0] or 0), word.lower()
        )

    def act(self, handle: str, act: Act) -> None:
        """Hold or suspend, release or resume, cancel."""
        now = self.standing(handle)
        if now.state is RunState.LOST:
            raise RunnerUnavailable(f"Slurm knows no job {handle}", fix="submit it again")
        if now.state.ended:
            return
        if act is Act.CANCEL:
            self._ask("scancel", handle)
        elif act is Act.PAUSE:
            self._pause(handle, now.state)
        elif now.state is RunState.PAUSED:
            suspended = now.detail.startswith(("suspended", "stopped"))
            self._ask("scontrol", "resume" if suspended else "release", handle)

    def _pause(self, handle: str, state: RunState) -> None:
        if state is RunState.WAITING:
            self._ask("scontrol", "hold", handle)
        elif state is RunState.RUNNING:
            shown = self._shown(handle) or {}
            again = shown.get("Comment", "").endswith(_REQUEUE)
            self._ask("scontrol", "requeuehold" if again else "suspend", handle)

    def _ask(self, command: str, *words: str, given: str = "") -> str:
        program = str(self._commands / command) if self._commands else command
        try:
            done = subprocess.run(
                [program, *words],
                input=given,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_S,
            )
        except FileNotFoundError as error:
            raise RunnerUnavailable(
                f"there is no {command} here",
                fix="install Slurm's client, or log in to the cluster",
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunnerUnavailable(
                f"{command} does not answer: {error}", fix="see whether slurmctld runs (sinfo)"
            ) from error
        if done.returncode:
            told = " ".join(done.stderr.split())[:300]
            raise RunnerUnavailable(f"{command}: {told}", fix=_fix(told))
        return done.stdout


def _fix(told: str) -> str:
    if "permission" in told.lower() or "access" in told.lower():
        return "your cluster lets only operators suspend jobs: add --option pause=requeue"
    return "try the same by hand; `sinfo` tells whether the cluster is there"
