"""Puts every tool that negawatt is set beside into an environment of its own.

    python bench/compress/install.py FOLDER [PIP_FLAG...]

An environment that is there and was made from the same pins is left as it is. One that does not
install is removed and written down with the reason: the bench goes on without that tool and says
so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PINS = Path(__file__).resolve().parent / "peers.toml"
FAILED = "failed.json"
STAMP = "pins.json"

#: The pins of one environment: what comes first by itself, and what comes then.
Pins = Mapping[str, Sequence[str]]
#: Takes an interpreter and what to install; returns what went wrong, or nothing.
Install = Callable[[Path, Sequence[str]], str]


def read_pins() -> dict[str, Pins]:
    """Environments by name, with their pins."""
    found: dict[str, Pins] = tomllib.loads(PINS.read_text(encoding="utf-8"))["environments"]
    return found


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of an environment, there or not."""
    return folder / name / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def is_current(folder: Path, name: str, pins: Pins) -> bool:
    """Whether an environment was made, to its end, from these pins."""
    try:
        return bool(json.loads((folder / name / STAMP).read_text(encoding="utf-8")) == dict(pins))
    except (OSError, ValueError):
        return False


def reason(stderr: str) -> str:
    """What pip says went wrong, in a line.

    >>> reason("note: long\\nERROR: No matching distribution found for a==1\\n\\n[notice] new pip")
    'No matching distribution found for a==1'
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    last = (errors or lines or ["it did not say why"])[-1]
    return last.partition(":")[2].strip() if errors else last


def make(folder: Path, name: str, pins: Pins, install: Install) -> str:
    """Make one environment; returns why there is none, or nothing."""
    place = folder / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    for step in ("first", "then"):
        if failed := install(python_of(folder, name), pins.get(step, ())):
            shutil.rmtree(place)
            return failed
    (place / STAMP).write_text(json.dumps(dict(pins)), encoding="utf-8")
    return ""


def make_all(folder: Path, wanted: Mapping[str, Pins], install: Install) -> dict[str, str]:
    """Make those that are not current; returns the failed ones with the reason."""
    failed = {}
    for name, pins in wanted.items():
        if is_current(folder, name, pins):
            continue
        sys.stderr.write(f"{name}: {' '.join(pins.get('then', ()))}\n")
        if why := make(folder, name, pins, install):
            failed[name] = why
            sys.stderr.write(f"{name} is left out: {why}\n")
    return failed


def main(target: str, *flags: str) -> None:
    """Fill the folder, and write down what is missing."""
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)

    def install(python: Path, requirements: Sequence[str]) -> str:
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        asked = [*pip, *flags, *requirements]
        done = subprocess.run(asked, stderr=subprocess.PIPE, text=True, check=False)
        return "" if done.returncode == 0 else reason(done.stderr)

    failed = make_all(folder, read_pins(), install)
    (folder / FAILED).write_text(f"{json.dumps(failed, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
