"""Where the heavy work is done: here, or in a process of its own that gives everything back.

A process that has once held a model never gives all of it back. Work on large
models is therefore done by workers, one at a time: each loads its engines, says
how much memory they take before any model, does its tasks, and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from negawatt.actions.optimize import memory
from negawatt.actions.optimize.order import Tools
from negawatt.core import errors
from negawatt.core.errors import NegawattError, RuntimeUnavailable
from negawatt.core.protocols import RunOptions, Runtime
from negawatt.core.records import Format
from negawatt.models import load, scoring

T = TypeVar("T")

_PROGRAM = "from negawatt.actions.optimize.workshop import serve; serve()"
_PR_SET_PDEATHSIG = 1  # of prctl.h
_NARROW = 8  # bits
_TAIL = 4_000  # characters kept of what a worker complained about


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of the job's processes. [B]"""

    libraries: int  # in the worker that needed most of them, before it touched a model
    added: int  # by the model, in the worker where that was most
    total: int  # of the job's own process and the largest worker together


class Workshop(Protocol):
    """Does tasks: functions of a module that take the tools first."""

    def call(self, task: Callable[..., T], tools: Tools, *args: Any) -> T:
        """Do `task(tools, *args)`; what it raises on purpose is raised here."""

    def change(self, *engines: Runtime, model: Path | None = None) -> None:
        """Have the next tasks done where these engines are loaded, and nothing else is.

        Args:
            engines: To load before the memory of a model is counted.
            model: Folder of the model whose architecture's own code is to be loaded too.
        """

    def close(self) -> None:
        """Let everything go."""

    @property
    def held(self) -> Held:
        """What has been held so far."""


class Here:
    """In this process: what small models and tests need."""

    def __init__(self) -> None:
        self._floor = 0

    def change(self, *engines: Runtime, model: Path | None = None) -> None:
        """Load the engines; the first call with a model sets the floor."""
        warm(engines, model)
        if model is not None and not self._floor:
            self._floor = settle()

    def call(self, task: Callable[..., T], tools: Tools, *args: Any) -> T:
        """Do it."""
        try:
            return task(tools, *args)
        finally:
            memory.release()

    def close(self) -> None:
        """Nothing to let go."""

    @property
    def held(self) -> Held:
        """Of this process."""
        peak = memory.peak()
        return Held(self._floor, max(0, peak - self._floor), peak)


class Apart:
    """In one child process at a time, which dies with this one."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None
        self._load: tuple[tuple[Runtime, ...], Path | None] = ((), None)
        self._floor = 0  # of the present worker
        self._held = Held(0, 0, 0)

    def change(self, *engines: Runtime, model: Path | None = None) -> None:
        """End the present worker; the next task starts one with these engines."""
        self.close()
        self._load = (engines, model)

    def call(self, task: Callable[..., T], tools: Tools, *args: Any) -> T:
        """Send a task to the worker and wait, passing its progress on.

        Raises:
            RuntimeUnavailable: the worker was killed.
        """
        if self._worker is None:
            self._start(tools)
        value: T = self._ask((task, tools, args), tools)
        return value

    def close(self) -> None:
        """Tell the worker that there is no more work, and wait until it is gone."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it is gone already
                    pipe.close()
        worker.wait()

    @property
    def held(self) -> Held:
        """Largest figures of all workers so far."""
        return self._held

    def _start(self, tools: Tools) -> None:
        # Not multiprocessing, whose child would run the user's own script again.
        self._worker = subprocess.Popen(  # noqa: S603  # a fixed program, no shell
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore")},
        )
        self._floor = 0
        self._floor = self._ask((warm_up, tools, self._load), tools)
        self._note(self._floor)

    def _ask(self, work: tuple[Any, ...], tools: Tools) -> Any:
        worker = self._worker
        if worker is None or worker.stdin is None or worker.stdout is None:
            raise RuntimeUnavailable("no worker is there", fix="report this as a bug")
        try:
            pickle.dump(work, worker.stdin)
            worker.stdin.flush()
            while True:
                kind, *rest = pickle.load(worker.stdout)  # noqa: S301  # from our own child
                if kind == "progress":
                    tools.progress(*rest)
                    continue
                self._note(rest.pop())
                if kind == "done":
                    return rest[0]
                raise _raised(rest[0])  # noqa: TRY301  # a broken pipe may come at any line here
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise self._killed() from error
        except BaseException:
            self._stop()
            raise

    def _note(self, peak: int) -> None:
        """Remember what a worker has held at most."""
        known, own = self._held, memory.resident()
        self._held = Held(
            libraries=max(known.libraries, self._floor),
            added=max(known.added, peak - self._floor if self._floor else 0),
            total=max(known.total, own + peak),
        )

    def _stop(self) -> None:
        if self._worker is not None and self._worker.poll() is None:
            self._worker.kill()
        self.close()

    def _killed(self) -> RuntimeUnavailable:
        worker = self._worker
        self.close()
        code = worker.returncode if worker is not None else None
        return RuntimeUnavailable(
            f"a worker of the job ended unasked (status {code})",
            fix="if the machine was short of memory, free some; run the same command again, "
            "and it goes on from the last finished step",
        )


def _raised(told: Any) -> BaseException:
    if isinstance(told, OSError):  # the folder's keeper knows what it means
        return told
    name, what, fix = told
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, NegawattError):
        raised: NegawattError = kind(what, fix=fix)
        return raised
    return RuntimeError(f"{name} in a worker of the job: {what}\n{fix}")


# ------------------------------------------------------------------- in the worker


def warm_up(tools: Tools, engines: Sequence[Runtime], model: Path | None) -> int:
    """Load engines; returns the memory held by then. [B]"""
    del tools
    memory.frugal()
    warm(engines, model)
    return settle()


def warm(engines: Sequence[Runtime], model: Path | None) -> None:
    """Load what is needed whatever the weights, so that their size can be told from its own."""
    if engines:
        importlib.import_module("negawatt.actions.optimize.finish")  # and all stages with it
        scoring.ready()
    if model is not None and any(runtime.formats == (Format(16),) for runtime in engines):
        from negawatt.compress import export_huggingface

        load.ready(model)
        export_huggingface.ready()
    for runtime in engines:
        narrow = [fmt for fmt in runtime.formats if fmt.bits == _NARROW]
        for fmt in (Format(16), *narrow[:1]):  # brings in the engine's own code, page by page
            runtime.kernel(64, 64, fmt, copies=1, options=RunOptions()).run(1)


def settle() -> int:
    """Start counting memory from here; returns what is held. [B]"""
    memory.release()
    gc.freeze()  # what libraries brought stays; later collections need not look at it
    memory.forget_peak()
    return memory.resident()


def serve() -> None:
    """Do tasks from standard input until it ends."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    # What libraries print is no answer, and nothing for the user's eyes either.
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    questions = sys.stdin.buffer

    def tell(stage: str, share: float) -> None:
        _send(answers, ("progress", stage, share))

    while True:
        try:
            task, tools, args = pickle.load(questions)  # noqa: S301  # from our own parent
        except EOFError:
            return
        _send(answers, _done(task, replace(tools, progress=tell), args))


def _done(task: Callable[..., Any], tools: Tools, args: Sequence[Any]) -> tuple[Any, ...]:
    try:
        value = task(tools, *args)
    except KeyboardInterrupt:
        sys.exit(130)  # the parent was interrupted too, and tells the user
    except NegawattError as error:
        return ("failed", (type(error).__name__, error.what, error.fix), memory.peak())
    except OSError as error:
        return ("failed", error, memory.peak())
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent must hear of it
        trace = traceback.format_exc()[-_TAIL:]
        return ("failed", (type(error).__name__, str(error), trace), memory.peak())
    memory.release()
    return ("done", value, memory.peak())


def _send(answers: BinaryIO, message: tuple[Any, ...]) -> None:
    pickle.dump(message, answers)
    answers.flush()


def _die_with_parent() -> None:
    """A job that is killed takes its worker along."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it died before we asked
            sys.exit(1)
