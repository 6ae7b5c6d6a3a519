"""What measuring costs, and what is reported: negawatt beside other meters, in one run.

Each measurement is a fresh interpreter (`probe.py`), one at a time, and the tools take turns. The
results go to `bench/results/meters.json`, the table to the terminal and to the documentation.

    python bench/meters/run.py [PYTHON_OF_PEERS]
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import page
from figures import OURS, ROWS, gather, verdict
from install import FAILED
from probe import IMPORTS

HERE = Path(__file__).resolve().parent

#: Task, how many runs of it, and how many seconds each takes at least.
PLAN = (("import", 15, 0.0), ("bare", 15, 0.0), ("first", 7, 0.0), ("again", 5, 1.0))
SAMPLING = ("sample", 3, 8.0)
REPORT_S = 6.0
LIMIT_S = 120  # a tool that takes longer is stopped, and has no figure

VERSIONS = """
import json
from importlib.metadata import distributions
print(json.dumps({one.name: one.version for one in distributions()}))
"""


class Bench:
    """Runs probes, each tool in its interpreter and with a home folder of its own.

    Args:
        pythons: The interpreter of each tool.
        scratch: An empty folder.
    """

    def __init__(self, pythons: Mapping[str, str], scratch: Path) -> None:
        self.pythons = pythons
        self.scratch = scratch

    def probe(self, task: str, tool: str, seconds: float) -> dict[str, Any]:
        """One measurement, or `{"none": why}`."""
        home = self.scratch / "homes" / tool
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            here, answer = Path(name) / "work", Path(name) / "answer.json"
            here.mkdir()
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "LANG": os.environ.get("LANG", "C.UTF-8"),
            }
            command = [self.pythons[tool], str(HERE / "probe.py"), task, tool, str(answer)]
            try:
                done = subprocess.run(
                    [*command, str(seconds)],
                    cwd=here,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=LIMIT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return {"none": f"not done within {LIMIT_S} s"}
            if not answer.is_file():
                said = done.stderr.strip().rpartition("\n")[2] or "nothing"
                return {"none": f"it ended its process with status {done.returncode}: {said}"}
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            for key in ("files", "helpers"):
                if key in found:
                    found[key] = [self._told(one, here, home) for one in found[key]]
            if "files" in found:
                found["files"] = [path for path in found["files"] if path != "answer.json"]
                left = [str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()]
                found["files"] = list(dict.fromkeys([*found["files"], *sorted(left)]))
            return found

    def _told(self, text: str, here: Path, home: Path) -> str:
        """Without the folders of this run."""
        named = ((f"{here}/", ""), (f"{here.parent}/", ""), (str(home), "~"))
        for folder, short in (*named, (tempfile.gettempdir(), "TMP")):
            text = text.replace(folder, short)
        # nor where it is installed
        text = re.sub(r"\S*/(?:site-packages|bin)/", "", text)
        return text.removeprefix("./")

    def rounds(self, task: str, runs: int, seconds: float) -> dict[str, list[dict[str, Any]]]:
        """Every tool `runs` times, in turns that begin with another tool each time."""
        tools = list(self.pythons)
        if task == "bare":
            tools = [OURS]
        answers: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
        for tool in tools:
            self.probe(task, tool, min(seconds, 0.2))  # fills the caches, and is thrown away
        for turn in range(runs):
            for place in range(len(tools)):
                tool = tools[(turn + place) % len(tools)]
                answers[tool].append(self.probe(task, tool, seconds))
        return answers


def measure_all(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of every row, and what every tool reports."""
    rows: dict[str, dict[str, Any]] = {}
    keys = {
        "import": ("import_s", "import_bytes"),
        "bare": ("bare_import_s",),
        "first": ("first_s",),
        "again": ("again_s", "plain_s"),
        "sample": ("sampling_share",),
    }
    for task, runs, seconds in (*PLAN, SAMPLING):
        say(f"{task}: {runs} runs a tool")
        answers = bench.rounds(task, runs, seconds)
        for key in keys[task]:
            rows[key] = {tool: gather(found, key) for tool, found in answers.items()}
    reports: dict[str, Any] = {}
    for tool in bench.pythons:
        say(f"reports of {tool}")
        reports[tool] = {state: bench.probe(state, tool, REPORT_S) for state in ("idle", "busy")}
    return rows, reports


def environment(python: str) -> dict[str, str]:
    """The packages that an interpreter has, with their versions."""
    done = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return dict(sorted(found.items(), key=lambda one: one[0].lower()))


def version_in(packages: Mapping[str, str], name: str) -> str | None:
    """The version of a package, however its name is spelt.

    >>> version_in({"py_Joules": "1"}, "pyjoules"), version_in({"PyJoules": "2"}, "pyjoules")
    (None, '2')
    """
    spelt = {one.lower().replace("_", "-"): version for one, version in packages.items()}
    return spelt.get(name.lower().replace("_", "-"))


def left_out(folder: Path) -> dict[str, str]:
    """Those that did not install, by name, with the reason that `install.py` wrote down."""
    try:
        failed: dict[str, str] = json.loads((folder / FAILED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {re.split(r"[=<>~! ]", pin, maxsplit=1)[0]: why for pin, why in failed.items()}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    from negawatt.meters import inventory
    from negawatt.meters.machine import here

    found = here()
    return {
        "cpu": found.cpu.name,
        "threads": found.threads_present,
        "memory_gb": round(found.memory_present / 1e9, 1),
        "virtual": found.virtual,
        "system": found.system,
        "python": platform.python_version(),
        "counters": [meter.name for meter in inventory.here().meters],
    }


def say(text: str) -> None:
    """Tell a person who waits."""
    sys.stderr.write(f"{text}\n")


def main(peers_python: str = ".venv-peers/bin/python") -> int:
    """Measure, keep, show; 1 when a target is missed."""
    peers_python = str(Path(peers_python).absolute())
    our_packages, peer_packages = environment(sys.executable), environment(peers_python)
    peers = {name: version_in(peer_packages, name) for name in IMPORTS if name != OURS}
    here = {name: version for name, version in peers.items() if version is not None}
    told = left_out(Path(peers_python).parents[1])
    absent = {
        name: told.get(name, "it is not in the environment") for name in peers if name not in here
    }
    with tempfile.TemporaryDirectory() as scratch:
        pythons = {OURS: sys.executable, **dict.fromkeys(here, peers_python)}
        rows, reports = measure_all(Bench(pythons, Path(scratch)))
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {OURS: version_in(our_packages, OURS), **here},
        "environment_of_peers": peer_packages,
        "not_installed": absent,
        "rows": rows,
        "report_seconds": REPORT_S,
        "reports": reports,
    }
    page.RESULTS.parent.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    page.RESULTS.write_text(f"{text}\n", encoding="utf-8")
    page.main()
    missed = [row.title for row in ROWS if verdict(row, rows[row.key][OURS]) != "met"]
    say(f"missed: {', '.join(missed)}" if missed else "every target is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
