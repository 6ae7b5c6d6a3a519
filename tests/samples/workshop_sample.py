"""Tasks for a workshop, in a module that a worker can import."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from job_sample import some_tools

from negawatt.actions.optimize.order import Tools
from negawatt.core.clock import SystemClock
from negawatt.core.errors import TextError


class Engine:
    """One that has nothing to load."""

    name, version, formats = "none", "1.0", ()


CALLS: list[int] = []  # in the process that does the tasks


def light_tools(cache: Path) -> Tools:
    """Tools that a worker has in its hands at once."""
    engine: Any = Engine()
    return replace(some_tools(cache), runtime=engine, reference=engine, clock=SystemClock())


def double(tools: Tools, value: int) -> int:
    tools.progress("search", 0.5)
    CALLS.append(value)
    return 2 * value


def pid(tools: Tools) -> int:
    del tools
    return os.getpid()


def hold(tools: Tools, size: int) -> int:
    del tools
    return len(b"x" * size)


def fail(tools: Tools, how: str) -> None:
    del tools
    if how == "text":
        raise TextError("too short", fix="give more")
    if how == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
    if how == "bug":
        raise ZeroDivisionError("seven by nought")
    os.kill(os.getpid(), signal.SIGKILL)


def say(tools: Tools) -> str:
    del tools
    print("chatter that is no answer", flush=True)  # noqa: T201
    return "answer"


def wait(tools: Tools, sign: str) -> None:
    del tools
    Path(sign).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(60)
