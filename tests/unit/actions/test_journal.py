"""Finished steps are found again, and nothing else ever passes for one."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.actions.journal import Journal
from negawatt.core.errors import OutputError
from negawatt.core.records import Format


@dataclass(frozen=True)
class Result:
    """What a step might find."""

    plan: Mapping[str, Format]
    losses: tuple[float, ...]
    note: str | None = None


RESULT = Result({"a": Format(4, 64, symmetric=False), "b": Format(16)}, (0.125, -1e-9, 3.0))


class Work:
    """A step that counts how often it was done."""

    def __init__(self, result: Result = RESULT) -> None:
        self.result, self.times = result, 0

    def __call__(self) -> Result:
        self.times += 1
        return self.result


def test_a_finished_step_is_not_done_again(tmp_path: Path) -> None:
    work = Work()
    first = Journal(tmp_path / "steps", "key")
    assert first.step("one", Result, work) == RESULT
    second = Journal(tmp_path / "steps", "key")
    assert second.step("one", Result, work) == RESULT
    assert work.times == 1
    assert [step.resumed for step in (*first.steps, *second.steps)] == [False, True]
    assert second.steps[0].seconds == first.steps[0].seconds


def test_another_key_has_steps_of_its_own(tmp_path: Path) -> None:
    work = Work()
    Journal(tmp_path, "model A").step("one", Result, work)
    other = Journal(tmp_path, "model B")
    assert not other.has("one")
    other.step("one", Result, work)
    assert work.times == 2
    assert other.steps[0].resumed is False


def test_steps_are_told_apart(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "key")
    for name in ("trial-1", "trial-int4-g32-sym", "candidates int8-row-sym int4-g32-sym"):
        journal.step(name, str, lambda name=name: name)
    again = Journal(tmp_path, "key")
    for name in ("trial-1", "trial-int4-g32-sym", "candidates int8-row-sym int4-g32-sym"):
        assert again.has(name)
        assert again.step(name, str, lambda: "made again") == name


def test_a_step_that_fails_is_not_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "key")

    def fail() -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.step("one", Result, fail)
    assert not journal.has("one")
    assert journal.steps == []
    assert journal.step("one", Result, Work()) == RESULT


@given(st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_anywhere_is_made_again(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    folder = tmp_path_factory.getbasetemp() / "cut"
    work = Work()
    path = folder / "one.json"
    path.unlink(missing_ok=True)
    Journal(folder, "key").step("one", Result, work)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])

    journal = Journal(folder, "key")
    assert not journal.has("one")
    assert journal.step("one", Result, work) == RESULT
    assert work.times == 2
    assert path.read_bytes()[-1:] == b"}"


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"7", b'"key"', b"\xff\xfe", b'{"key": "key"}', b'{"key": "key", "seconds": 1, "value": {}}',
     b'{"key": "key", "seconds": 1, "value": 5}'],
)  # fmt: skip
def test_what_is_no_result_is_made_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "one.json").write_bytes(content)
    work = Work()
    assert Journal(tmp_path, "key").step("one", Result, work) == RESULT
    assert work.times == 1
    assert Journal(tmp_path, "key").step("one", Result, work) == RESULT
    assert work.times == 1


def test_a_disk_that_is_full_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    journal = Journal(tmp_path, "key")
    try:
        with pytest.raises(OutputError, match="free some disk space"):
            journal.step("one", str, lambda: "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not journal.has("one")
    assert not (tmp_path / "one.json").exists()


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "steps").write_text("a file")
    with pytest.raises(OutputError, match="--out"):
        Journal(tmp_path / "steps", "key").step("one", str, lambda: "x")


@pytest.mark.parametrize("moment", ["write_text", "replace"])
def test_a_kill_while_writing_leaves_no_step(tmp_path: Path, moment: str) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from negawatt.actions.journal import Journal\n"
        "def die(self, *args, **kwargs):\n"
        "    with open(self, 'a') as file:\n"  # half of it may have been written
        '        file.write(\'{"key": "key", "seconds": 1.0, "val\')\n'
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(Path, sys.argv[2], die)\n"
        "Journal(Path(sys.argv[1]), 'key').step('one', str, lambda: 'x')\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), moment], check=False, timeout=60
    )
    assert child.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir())  # it was in the middle of something
    journal = Journal(tmp_path, "key")
    assert not journal.has("one")
    assert journal.step("one", str, lambda: "y") == "y"
    assert json.loads((tmp_path / "one.json").read_text())["value"] == "y"


def test_a_kill_during_work_leaves_the_steps_before_it(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from negawatt.actions.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), 'key')\n"
        "journal.step('one', int, lambda: 1)\n"
        "journal.step('two', int, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60, env=os.environ
    )
    assert child.returncode == -signal.SIGKILL
    journal = Journal(tmp_path, "key")
    assert journal.step("one", int, lambda: 5) == 1
    assert journal.step("two", int, lambda: 2) == 2
