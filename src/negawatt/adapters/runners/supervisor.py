"""Stands over one command, so that its exit status outlives whoever asked for it.

This file is run by its path, with the standard library alone: it must start in a blink, and
whatever happens to negawatt's own process must not touch it. It keeps the command in a process
group of its own, writes who it is into `started.json`, and what became of it into `ended.json`.
If it is killed, the kernel kills the command too: what nobody stands over does not run.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a file whole, and onto the disk, or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def boot() -> str:
    """Which start of this machine it is; empty where nobody tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def born(pid: int) -> str:
    """When a process was started, as exactly as the system tells; empty when it runs no more.

    Linux counts in ticks since boot, which setting the clock does not move.
    """
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        state, *rest = text.rpartition(")")[2].split()
        return "" if state in {"Z", "X"} else rest[18]
    words = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _prctl(*arguments: int) -> None:
    """Ask the kernel; nothing where there is no Linux, which only loses what it would have given."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes

        ctypes.CDLL(None).prctl(*arguments, 0, 0, 0)


def main(folder: Path) -> None:
    """Run the command of `task.json` in the folder above, to its end."""
    task = json.loads((folder.parent / "task.json").read_text(encoding="utf-8"))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # theirs who are asked; the command gets its own
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    begun = time.monotonic()
    try:
        child = subprocess.Popen(  # running it is the point
            task["restart"] if int(folder.name) and task["restart"] else task["argv"],
            cwd=task["folder"],
            env={**os.environ, **task["environment"]},
            process_group=0,
            restore_signals=True,
            preexec_fn=_as_a_command,  # noqa: PLW1509  # there is one thread here
        )
    except OSError as error:
        status = 127 if isinstance(error, FileNotFoundError) else 126
        why = f"{error.filename or task['argv'][0]}: {error.strerror}"
        nothing = {"cpu_s": 0.0, "wall_s": 0.0, "at": time.time()}
        write(folder / "ended.json", {"status": status, "why": why, **nothing})
        return
    pids = {"pid": child.pid, "supervisor": os.getpid()}
    births = {"pid_born": born(child.pid), "supervisor_born": born(os.getpid())}
    write(folder / "started.json", {**pids, **births, "boot": boot()})
    status = child.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = {
        "status": 128 - status if status < 0 else status,
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - begun,
        "at": time.time(),
    }
    write(folder / "ended.json", record)


def _as_a_command() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
