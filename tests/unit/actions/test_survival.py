"""Killed, or out of disk, the job leaves nothing that looks whole, and goes on afterwards."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import job_sample
import numpy as np
import pytest
from job_sample import PacedRuntime, some_order, some_tools

from negawatt.actions.optimize.folder import claimed, need_space
from negawatt.actions.optimize.run import optimize
from negawatt.compress.export_huggingface import reload_check
from negawatt.core.errors import OutputError


def untouched(out: Path) -> bool:
    """Nothing in the folder looks like a result."""
    return not out.exists() or {p.name for p in out.iterdir()} <= {"work"}


def answer(outcome: Any) -> tuple[str, Any]:
    plan = next(p.variant.plan for p in outcome.points if p.variant.name == outcome.decision.choice)
    return outcome.decision.choice, {name: fmt.name for name, fmt in plan.items()}


# --------------------------------------------------------------------------- kill -9


def start(story: Any, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, job_sample.__file__, str(story.model), str(story.text), str(out)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(job_sample.__file__).parent)},
    )


@pytest.mark.slow  # four processes, each with its own PyTorch
def test_killed_twice_at_random_it_ends_as_if_undisturbed(
    finished: Any, story: Any, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(1000)
    moments = random.Random(seed)  # noqa: S311  # moments, not secrets
    out = tmp_path / "out"
    for _ in range(2):
        job = start(story, out)
        assert job.stderr is not None
        for _ in range(moments.randrange(5, 80)):  # lines of progress; a whole job tells about 90
            if not job.stderr.readline():
                break
        job.send_signal(signal.SIGKILL)
        job.communicate(timeout=60)
        assert job.returncode in {-signal.SIGKILL, 0}, seed

    kept = len(list((out / "work" / "steps").glob("*.json")))
    last = start(story, out)
    told, log = last.communicate(timeout=120)
    assert last.returncode == 0, f"seed {seed}: {log[-2000:]}"
    choice, plan, resumed = json.loads(told)
    assert (choice, plan) == answer(finished.outcome), seed
    assert sum(resumed) == kept, seed
    tokens = np.arange(3, 35)[None]
    for kind in ("huggingface",):  # what it left computes what an undisturbed run leaves
        np.testing.assert_allclose(
            reload_check(out / kind, tokens), reload_check(finished.out / kind, tokens), atol=1e-4
        )


# ------------------------------------------------------------------------- disk full


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """What a full disk does to a file that grows: writing fails part of the way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def fails(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("numpy.save", "bank-*/scores"),
        ("negawatt.models.source.write_bfloat16", ""),
        ("negawatt.actions.optimize.folder.Path.write_text", ""),
    ],
)
def test_a_disk_that_fills_up_is_an_error_with_a_way_out(
    story: Any,
    finished: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    what: str,
) -> None:
    out = tmp_path / "out"
    if what:  # everything before it is done already
        shutil.copytree(finished.out / "work", out / "work", copy_function=shutil.copy2)
        for file in (out / "work" / "steps").glob("sensitivity.json"):
            file.unlink()
        for file in (out / "work").glob(f"{what}*"):
            file.unlink()
    monkeypatch.setattr(where, fails)
    with pytest.raises(OutputError) as caught:
        optimize(some_order(story.model, story.text, out), some_tools(finished.cache))
    assert "space" in str(caught.value)
    assert untouched(out)


@pytest.mark.parametrize("kilobytes", [50, 120])
def test_a_file_that_cannot_grow_is_an_error_and_the_next_run_goes_on(
    story: Any, finished: Any, tmp_path: Path, kilobytes: int
) -> None:
    order = some_order(story.model, story.text, tmp_path / "out")
    cache = shutil.copytree(finished.cache, tmp_path / "cache")
    if kilobytes > 100:  # the model itself is there; what is made of it does not fit
        shutil.copytree(finished.out / "work" / "model", order.out / "work" / "model")
    with no_file_above(kilobytes * 1000), pytest.raises(OutputError) as caught:
        optimize(order, some_tools(cache))
    assert caught.value.fix
    assert untouched(order.out)
    for file in order.out.rglob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))  # whole


class Full(PacedRuntime):
    """Writes every variant but the last: then the disk is full."""

    def __init__(self, inner: Any, when: Callable[[Path], bool]) -> None:
        super().__init__(inner)
        self.when = when

    def compress(self, converted: Path, weights: Any, out: Path, *, joint: Any = ()) -> None:
        if self.when(out):
            raise OutputError("the disk is full", fix="free some space")
        super().compress(converted, weights, out, joint=joint)


def test_an_export_that_fails_keeps_the_artifact_that_was_there(
    story: Any, finished: Any, tmp_path: Path
) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out", copy_function=shutil.copy2)
    before = {p.name: p.read_bytes() for p in (out / "paced").iterdir()}
    tools = some_tools(shutil.copytree(finished.cache, tmp_path / "cache"))
    tools = replace(tools, runtime=Full(tools.clock, lambda place: place.parent == out))
    with pytest.raises(OutputError):
        optimize(some_order(story.model, story.text, out), tools)
    assert {p.name: p.read_bytes() for p in (out / "paced").iterdir()} == before


def test_an_artifact_is_never_without_its_tokenizer(
    story: Any, finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished.out / "work", out / "work", copy_function=shutil.copy2)
    cache = shutil.copytree(finished.cache, tmp_path / "cache")

    class Bare(PacedRuntime):
        """Leaves out what a Hugging Face folder has beside the weights, as other engines do."""

        def compress(self, converted: Path, weights: Any, out: Path, *, joint: Any = ()) -> None:
            super().compress(converted, weights, out, joint=joint)
            for file in out.glob("tokenizer*"):
                file.unlink()

    tools = some_tools(cache)
    tools = replace(tools, runtime=Bare(tools.clock))  # type: ignore[arg-type]
    monkeypatch.setattr(shutil, "copy2", fails)
    with pytest.raises(OutputError):
        optimize(some_order(story.model, story.text, out), tools)
    assert not (out / "paced").exists()


def test_too_little_room_is_said_before_any_work(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    stages: list[str] = []
    with pytest.raises(OutputError, match="free"):
        optimize(
            some_order(story.model, story.text, tmp_path / "out"),
            some_tools(tmp_path / "cache", lambda stage, share: stages.append(stage)),
        )
    assert set(stages) <= {"prepare"}
    assert untouched(tmp_path / "out")


def test_room_is_counted_in_bytes(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    need_space(tmp_path, free // 2)
    with pytest.raises(OutputError, match="needs about"):
        need_space(tmp_path, 2 * free)


# ------------------------------------------------------------------------- the folder


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    program = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from negawatt.actions.optimize.folder import claimed\n"
        "with claimed(Path(sys.argv[1])):\n"
        "    print(os.getpid(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    pid = holder.stdout.readline().strip()
    with (
        pytest.raises(OutputError, match=rf"in use .*process {pid}") as caught,
        claimed(tmp_path / "out"),
    ):
        pass
    assert "--out" in caught.value.fix
    holder.kill()
    holder.communicate(timeout=30)
    with claimed(tmp_path / "out") as work:
        assert work == tmp_path / "out" / "work"


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        claimed(tmp_path / "file" / "deep" / "out"),
    ):
        pass


def test_an_error_about_another_place_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    with pytest.raises(FileExistsError), claimed(tmp_path / "out"):
        elsewhere.mkdir()


def test_an_error_inside_gives_the_folder_back(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="mine"), claimed(tmp_path / "out"):
            raise ValueError("mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_one_may_not_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"), claimed(tmp_path / "out"):
        pass


def test_a_disk_that_can_only_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(OutputError, match="Read-only"), claimed(tmp_path / "out"):
        pass
