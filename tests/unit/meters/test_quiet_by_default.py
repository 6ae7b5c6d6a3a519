"""What measuring does to the machine by default: no process, no socket, no file written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WATCH = """
import json, sys, threading
seen = []
def hook(event, args):
    if event in {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"}:
        seen.append([event, str(args)[:200]])
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"}:
        seen.append([event, str(args)[:200]])
    if event == "open":
        path, mode, flags = args
        if flags & 3 and str(path) != "/dev/null":  # for writing
            seen.append([event, str(path)])
    if event in {"os.mkdir", "os.rename", "os.remove", "shutil.copyfile", "fcntl.flock", "fcntl.lockf"}:
        seen.append([event, str(args)[:200]])
sys.addaudithook(hook)
sys.dont_write_bytecode = True
import negawatt
with negawatt.measure("outer") as m:
    with negawatt.measure("inner"):
        sum(range(100_000))
@negawatt.measure("decorated")
def work(): return sum(range(1000))
work()
assert m.energy.value > 0
left = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
json.dump([seen, left], sys.stdout)
"""


def test_no_process_no_socket_no_lock_and_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", WATCH],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], []]
    assert list(tmp_path.iterdir()) == []
