"""Puts the other meters into an environment of their own.

All at once, so that they agree on what they share. Where that fails, one by one, and those that do
not install are written down with the reason: the bench goes on without them and says so.

    python bench/meters/install.py FOLDER [PIP_FLAG...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PEERS_FILE = Path(__file__).resolve().parent / "peers.txt"
FAILED = "failed.json"

#: Takes what to install; returns what went wrong, or nothing.
Install = Callable[[Sequence[str]], str]


def pinned(text: str) -> list[str]:
    """The requirements of a file, without its comments.

    >>> pinned("# these\\n\\na==1\\nb<2  # why\\n")
    ['a==1', 'b<2']
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def install_all(requirements: Sequence[str], install: Install) -> dict[str, str]:
    """Install all, or all that can be; returns the others with the reason."""
    if not install(requirements):
        return {}
    failures = {requirement: install([requirement]) for requirement in requirements}
    return {requirement: why for requirement, why in failures.items() if why}


def reason(stderr: str) -> str:
    """What pip says went wrong, in a line.

    >>> reason("note: long\\nERROR: No matching distribution found for a==1\\n\\n[notice] new pip")
    'No matching distribution found for a==1'
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    last = (errors or lines or ["it did not say why"])[-1]
    return last.partition(":")[2].strip() if errors else last


def main(folder: str, *flags: str) -> None:
    """Make the environment and fill it."""
    place = Path(folder)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    python = place / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *flags]

    def install(requirements: Sequence[str]) -> str:
        done = subprocess.run([*pip, *requirements], stderr=subprocess.PIPE, text=True, check=False)
        return "" if done.returncode == 0 else reason(done.stderr)

    failed = install_all(pinned(PEERS_FILE.read_text(encoding="utf-8")), install)
    (place / FAILED).write_text(f"{json.dumps(failed, indent=1)}\n", encoding="utf-8")
    for requirement, why in failed.items():
        sys.stderr.write(f"{requirement} is left out: {why}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
