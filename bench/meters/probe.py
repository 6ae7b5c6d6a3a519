"""One measurement of one tool, in the interpreter that runs this file and in no other.

    python probe.py TASK TOOL RESULT [SECONDS]

Writes what it found to the file RESULT as JSON. The network is out of reach from here, and told
apart from everything else a tool does: an attempt is written down and fails at once, as it does
on a machine without a network. So no tool waits for an answer, and the times are at their best.
"""

from __future__ import annotations

import errno
import os
import sys
import time

#: What a user writes to have what is needed to measure.
IMPORTS = {
    "negawatt": "from negawatt import measure",
    "codecarbon": "from codecarbon import EmissionsTracker",
    "carbontracker": "from carbontracker.tracker import CarbonTracker",
    "zeus": "from zeus.monitor import ZeusMonitor",
    "eco2ai": "from eco2ai import Tracker",
    "pyJoules": "from pyJoules.energy_meter import EnergyMeter",
    "pyRAPL": "import pyRAPL",
}

LOOPBACK = (None, "", "localhost", "127.0.0.1", "::1")
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
STARTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.exec", "os.spawn")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Notes what is asked of the operating system, and keeps the network out of reach."""

    def __init__(self, *, everything: bool) -> None:
        self.everything = everything
        self.network: list[str] = []
        self.helpers: list[str] = []
        self.files: list[str] = []

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        """Be told of one event, by the interpreter."""
        if event in NETWORK:
            host = _host(event, args)
            if host not in LOOPBACK:
                _once(self.network, str(host))
                raise OSError(errno.ENETUNREACH, "the network is kept out of reach here")
        elif not self.everything:
            return
        elif event in STARTS:
            _once(self.helpers, _command(event, args))
        elif event == "open" and isinstance(args[2], int) and args[2] & WRITES:
            path = str(args[0])
            if path != os.devnull and not path.isdigit() and "__pycache__" not in path:
                _once(self.files, path)


def _once(found: list[str], one: str) -> None:
    if one not in found:
        found.append(one)


def _host(event: str, args: tuple[object, ...]) -> object:
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        return address[0] if isinstance(address, tuple) else None  # a path: a socket of this host
    return args[0].decode() if isinstance(args[0], bytes) else args[0]


def _command(event: str, args: tuple[object, ...]) -> str:
    if event == "subprocess.Popen" and isinstance(args[1], (list, tuple)):
        return " ".join(str(word) for word in args[1])
    if event in ("subprocess.Popen", "os.system"):
        return str(args[1] if event == "subprocess.Popen" else args[0])
    return event


def resident_bytes() -> int:
    """Memory that this process has in use. [B]"""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123  # pathlib is heavy
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds() -> float:
    """CPU time of this process, its threads, and the children it waited for. [s]"""
    import resource

    ours, theirs = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return ours.ru_utime + ours.ru_stime + theirs.ru_utime + theirs.ru_stime


def cold_import(tool: str) -> dict[str, object]:
    """Time and memory of importing what is needed to measure."""
    statement = compile(IMPORTS[tool], tool, "exec")
    before, start = resident_bytes(), time.perf_counter()
    exec(statement, {})  # noqa: S102  # one of those above; nothing else is imported before it
    seconds = time.perf_counter() - start
    return {"import_s": seconds, "import_bytes": resident_bytes() - before}


def bare_import() -> dict[str, object]:
    """Time of `import negawatt`, which loads nothing else before it is asked for."""
    start = time.perf_counter()
    import negawatt  # noqa: F401

    return {"bare_import_s": time.perf_counter() - start}


def first_window(tool: str) -> dict[str, object]:
    """Time from nothing made to the figure of one window, the import being done."""
    from tools import TOOLS

    loaded = TOOLS[tool]()
    loaded.load()
    sys.addaudithook(Watch(everything=False))
    start = time.perf_counter()
    loaded.first()
    return {"first_s": time.perf_counter() - start}


def warm_windows(tool: str, seconds: float) -> dict[str, object]:
    """The middle one of many windows, one after the other."""
    from statistics import median

    from tools import TOOLS

    loaded = TOOLS[tool]()
    loaded.load()
    sys.addaudithook(Watch(everything=False))
    kinds = {"again_s": loaded.again}
    if hasattr(loaded, "plain"):
        kinds["plain_s"] = loaded.plain
    found: dict[str, object] = {}
    for name, make in kinds.items():
        run, times = make(), []
        for _ in range(3):
            run()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 5:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        found[name] = median(times)
    return found


def sampled(tool: str, seconds: float) -> dict[str, object]:
    """Share of one CPU that looking ten times a second takes while the program sleeps."""
    from tools import TOOLS

    loaded = TOOLS[tool]()
    loaded.load()
    sys.addaudithook(Watch(everything=False))
    with loaded.sampling(0.1):
        time.sleep(1.0)  # what starting took is not in it
        before, start = cpu_seconds(), time.perf_counter()
        time.sleep(seconds)
        used, wall = cpu_seconds() - before, time.perf_counter() - start
    return {"sampling_share": used / wall}


def reported(tool: str, seconds: float, *, busy: bool) -> dict[str, object]:
    """What the tool says about a window, and what it did to say it."""
    import threading

    from tools import TOOLS

    watch = Watch(everything=True)
    sys.addaudithook(watch)
    loaded = TOOLS[tool]()
    loaded.load()
    with loaded.window() as report:
        before, start = cpu_seconds(), time.perf_counter()
        end = start + seconds
        if not busy:
            time.sleep(seconds)
        while time.perf_counter() < end:
            pass
        used, wall = cpu_seconds() - before, time.perf_counter() - start
        threads = threading.active_count() - 1
    return {
        "report": report,
        "cpu_s": used,
        "wall_s": wall,
        "threads": threads,
        "files": watch.files,
        "helpers": watch.helpers,
        "network": watch.network,
    }


def main(task: str, tool: str, result: str, seconds: str = "0") -> None:
    """Do one task and write what was found, or why there is nothing."""
    tasks = {
        "import": lambda: cold_import(tool),
        "bare": bare_import,
        "first": lambda: first_window(tool),
        "again": lambda: warm_windows(tool, float(seconds)),
        "sample": lambda: sampled(tool, float(seconds)),
        "idle": lambda: reported(tool, float(seconds), busy=False),
        "busy": lambda: reported(tool, float(seconds), busy=True),
    }
    try:
        found = tasks[task]()
    except Exception as error:  # noqa: BLE001  # whatever a tool raises is its answer here
        said = str(error) if type(error).__name__ == "NotOfferedError" else _told(error)
        found = {"none": said}
    import json

    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123  # pathlib is heavy
        json.dump(found, file)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what is left running in a thread is not waited for


def _told(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


if __name__ == "__main__":
    main(*sys.argv[1:])
