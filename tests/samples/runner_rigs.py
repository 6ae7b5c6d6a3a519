"""Runners, each with a way to make what it runs end: at a moment the test chooses."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from negawatt.core import registry
from negawatt.core.runners import RunState, Task

PATIENCE_S = 20.0


class Rig(Protocol):
    """A runner beside what stands behind it."""

    def runner(self) -> Any:
        """A new one, which knows nothing but the place."""

    def task(self, name: str, **options: Any) -> Task:
        """Something that runs until `end` ends it."""

    def end(self, handle: str, status: int) -> None:
        """Let a task that runs end by itself."""

    def close(self) -> None:
        """Leave nothing behind."""


def until(ready: Callable[[], bool], what: str = "") -> None:
    """Wait for something, not for long."""
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.002)


def reaches(runner: Any, handle: str, state: RunState) -> None:
    until(lambda: runner.standing(handle).state is state, f"{runner.standing(handle)}, not {state}")


#: Waits for a file, and exits with the number in it.
WAITER = """
i=0
while [ $i -lt 2000 ]; do
  if [ -s "$1" ]; then exit $(cat "$1"); fi
  sleep 0.01
  i=$((i+1))
done
exit 99
"""


class ProcessRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[str] = []

    def runner(self) -> Any:
        return registry.build(registry.RUNNERS, "process", self.folder / "tasks")

    def task(self, name: str, **options: Any) -> Task:
        argv = ("sh", "-c", WAITER, "waiter", str(self.folder / f"{name}.end"))
        return Task(name, argv, options={"key": name, **options.pop("options", {})}, **options)

    def end(self, handle: str, status: int) -> None:
        partial = self.folder / "partial"
        partial.write_text(str(status), encoding="ascii")
        partial.replace(self.folder / f"{Path(handle).name}.end")

    def close(self) -> None:
        for place in (self.folder / "tasks").glob("*"):
            runner = self.runner()
            if not runner.standing(str(place)).state.ended:
                for _ in range(2):
                    runner.act(str(place), "cancel")


PYTHON = sys.executable
