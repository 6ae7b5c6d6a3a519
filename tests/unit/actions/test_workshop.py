"""Work done in another process comes back whole, fails as it would here, and leaves nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import workshop_sample as work

from negawatt.actions.optimize.order import Tools
from negawatt.actions.optimize.workshop import Apart, Here, Workshop
from negawatt.core.errors import RuntimeUnavailable, TextError

SAMPLES = str(Path(work.__file__).parent)


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    """One worker for the tests that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", SAMPLES)
        shop = Apart()
        yield shop
        shop.close()


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return work.light_tools(tmp_path)


@pytest.mark.parametrize("kind", ["here", "apart"])
def test_a_task_gives_its_value_and_tells_of_its_progress(
    kind: str, apart: Apart, tools: Tools
) -> None:
    told: list[tuple[str, float]] = []
    tools = replace(tools, progress=lambda stage, share: told.append((stage, share)))
    shop: Workshop = Here() if kind == "here" else apart
    assert shop.call(work.double, tools, 21) == 42
    assert told == [("search", 0.5)]


@pytest.mark.parametrize("kind", ["here", "apart"])
def test_what_a_task_raises_is_raised_here(kind: str, apart: Apart, tools: Tools) -> None:
    shop: Workshop = Here() if kind == "here" else apart
    with pytest.raises(TextError) as text:
        shop.call(work.fail, tools, "text")
    assert (text.value.what, text.value.fix) == ("too short", "give more")
    with pytest.raises(OSError, match="somewhere") as disk:
        shop.call(work.fail, tools, "disk")
    assert disk.value.errno == errno.ENOSPC
    with pytest.raises((ZeroDivisionError, RuntimeError), match="seven by nought"):
        shop.call(work.fail, tools, "bug")
    assert shop.call(work.double, tools, 1) == 2  # and goes on working


def test_a_bug_in_a_worker_shows_where_it_was(apart: Apart, tools: Tools) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
        apart.call(work.fail, tools, "bug")
    assert "workshop_sample.py" in str(caught.value)


def test_what_libraries_print_is_no_answer(apart: Apart, tools: Tools) -> None:
    assert apart.call(work.say, tools) == "answer"


def test_the_work_is_done_elsewhere_by_one_worker_at_a_time(apart: Apart, tools: Tools) -> None:
    first = apart.call(work.pid, tools)
    assert first == apart.call(work.pid, tools)
    apart.change()
    second = apart.call(work.pid, tools)
    assert len({first, second, os.getpid()}) == 3
    assert not psutil.pid_exists(first)
    assert work.CALLS.count(77) == 0
    apart.call(work.double, tools, 77)
    assert work.CALLS.count(77) == 0  # not in this process


def test_memory_is_told_apart_from_the_libraries(apart: Apart, tools: Tools) -> None:
    apart.change()
    apart.call(work.pid, tools)
    before = apart.held
    assert before.libraries > 20e6  # the interpreter and an array library at the least
    apart.call(work.hold, tools, 300_000_000)
    after = apart.held
    assert after.libraries == before.libraries
    assert 290e6 <= after.added <= 400e6  # pages it already had are used again
    assert after.total >= after.libraries + after.added


def test_a_killed_worker_is_an_error_that_says_what_to_do(apart: Apart, tools: Tools) -> None:
    with pytest.raises(RuntimeUnavailable, match="-9") as caught:
        apart.call(work.fail, tools, "kill")
    assert "run the same command again" in caught.value.fix
    assert apart.call(work.double, tools, 2) == 4


def test_a_worker_dies_with_its_job(tmp_path: Path) -> None:
    sign = tmp_path / "pid"
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import workshop_sample as work\n"
        "from negawatt.actions.optimize.workshop import Apart\n"
        "tools = work.light_tools(Path(sys.argv[1]).parent)\n"
        "Apart().call(work.wait, tools, sys.argv[1])\n"
    )
    script = tmp_path / "script.py"  # without a main guard: a worker must not run it again
    script.write_text(program, encoding="utf-8")
    job = subprocess.Popen(
        [sys.executable, str(script), str(sign)], env=os.environ | {"PYTHONPATH": SAMPLES}
    )
    until = time.monotonic() + 60
    while not sign.exists() or not sign.read_text(encoding="utf-8"):
        assert job.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    worker = psutil.Process(int(sign.read_text(encoding="utf-8")))
    job.send_signal(signal.SIGKILL)
    job.wait()
    worker.wait(timeout=10)
