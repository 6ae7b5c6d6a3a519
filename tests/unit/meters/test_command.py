from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from negawatt.meters import Instruments
from negawatt.meters.command import CommandNotExecutable, CommandNotFound, run

PYTHON = (sys.executable, "-S", "-c")
BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_the_command_s_time_is_counted_and_ours_is_not() -> None:
    finished = run([*PYTHON, BURN.format(0.1)], instruments=Instruments())
    assert 0.1 <= finished.span.cpu_s < 1.0
    assert finished.span.wall_s >= 0.1
    assert finished.status == 0
    assert finished.left_running == 0


def test_forked_children_are_followed() -> None:
    forks = f"import subprocess, sys\nfor _ in '12': subprocess.run([sys.executable, '-S', '-c', {BURN.format(0.06)!r}])"
    assert run([*PYTHON, forks], instruments=Instruments()).span.cpu_s >= 0.12


def test_the_exit_status_is_passed_on() -> None:
    finished = run([*PYTHON, "raise SystemExit(7)"], name="seven", instruments=Instruments())
    assert finished.status == 7
    assert finished.span.name == "seven"


@posix
def test_a_command_ended_by_a_signal_has_the_status_shells_give() -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert run([*PYTHON, kill], instruments=Instruments()).status == 128 + signal.SIGTERM


_SIGNALLED = """
import os, signal, sys, threading
from pathlib import Path
from negawatt.meters.command import run
from negawatt.meters.instruments import Instruments

ready = Path(sys.argv[1])
wait = (
    "import signal, sys\\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))\\n"
    f"open({str(ready)!r}, 'w').close()\\n"
    "while True: signal.pause()\\n"
)

def when_ready():
    ready.open().close()
    os.kill(os.getpid(), signal.SIGTERM)

before = signal.getsignal(signal.SIGTERM)
threading.Thread(target=when_ready).start()
finished = run([sys.executable, "-c", wait], instruments=Instruments())
sys.exit(finished.status if signal.getsignal(signal.SIGTERM) == before else 1)
"""


@posix
def test_a_signal_to_us_reaches_the_command(tmp_path: Path) -> None:
    # In a process of its own, as a user would have it: threads that inference engines leave
    # in the test process may take the signal, and do not survive it.
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    ended = subprocess.run([sys.executable, "-c", _SIGNALLED, str(ready)], check=False, timeout=30)
    assert ended.returncode == 42


@posix
def test_what_we_were_started_to_ignore_the_command_ignores_too() -> None:
    ask = "import signal; raise SystemExit(signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run([*PYTHON, ask], instruments=Instruments()).status == 0
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started with
        assert run([*PYTHON, ask], instruments=Instruments()).status == 1
    finally:
        signal.signal(signal.SIGHUP, before)


@linux
def test_orphans_that_have_ended_are_counted(tmp_path: Path) -> None:
    # The command starts a worker that starts a grandchild and leaves; the grandchild burns time
    # and ends before the command does. Nobody but us can wait for it.
    done = tmp_path / "done"
    os.mkfifo(done)
    grandchild = BURN.format(0.1) + f"open({str(done)!r}, 'w').close()"
    worker = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {grandchild!r}])"
    )
    command = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {worker!r}])\n"
        f"open({str(done)!r}).read()\n"
    )
    finished = run([*PYTHON, command], instruments=Instruments())
    assert finished.span.cpu_s + 0.02 * finished.left_running >= 0.1


@linux
def test_what_the_command_leaves_running_is_counted_so_far_and_told(tmp_path: Path) -> None:
    burnt, stop = tmp_path / "burnt", tmp_path / "stop"
    os.mkfifo(burnt)
    os.mkfifo(stop)
    left = BURN.format(0.1) + f"open({str(burnt)!r}, 'w').close()\nopen({str(stop)!r}).read()\n"
    command = (
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-S', '-c', {left!r}])\n"
        f"open({str(burnt)!r}).read()\n"
    )
    finished = run([*PYTHON, command], instruments=Instruments())
    stop.open("w").close()
    assert finished.left_running == 1
    assert finished.span.cpu_s >= 0.1


def test_other_children_of_ours_are_left_alone() -> None:
    with subprocess.Popen([*PYTHON, "input()"], stdin=subprocess.PIPE) as other:
        finished = run([*PYTHON, "pass"], instruments=Instruments())
        assert finished.left_running == 0
        assert other.stdin is not None
        other.stdin.write(b"\n")
        other.stdin.close()
        assert other.wait() == 0


def test_a_command_that_does_not_exist_is_127() -> None:
    with pytest.raises(CommandNotFound, match="no command 'surely-not-there'") as raised:
        run(["surely-not-there"], instruments=Instruments())
    assert raised.value.exit_status == 127


@posix
def test_a_file_that_is_no_program_is_126(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with pytest.raises(CommandNotExecutable) as raised:
        run([str(path)], instruments=Instruments())
    assert raised.value.exit_status == 126
    assert "chmod +x" in raised.value.fix


def test_it_runs_outside_the_main_thread_too() -> None:
    seen: list[int] = []
    thread = threading.Thread(
        target=lambda: seen.append(run([*PYTHON, "pass"], instruments=Instruments()).status)
    )
    thread.start()
    thread.join()
    assert seen == [0]
