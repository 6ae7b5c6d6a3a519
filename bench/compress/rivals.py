"""Runs the tools of others, each in its own environment, on the model that ours starts from."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from install import FAILED, PINS, is_current, python_of, read_pins

SCRIPTS = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".venv-compress"
LIMIT_S = 3_600  # a tool that takes longer is stopped, and has no row
_TAIL = 300  # characters of a complaint that are kept


@dataclass(frozen=True, slots=True)
class Rival:
    """One way to ask one tool."""

    who: str
    name: str
    environment: str
    script: str
    options: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Its name among files."""
        return f"{self.who} {self.name}".replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool has made.

    Args:
        plan: Name of the format of every layer of the blocks.
        values: Where what its codes stand for is; None when it has only planned.
        spent: Seconds, CPU seconds and peak memory.
    """

    plan: dict[str, str]
    values: Path | None
    spent: dict[str, float]


def all_rivals() -> list[Rival]:
    """As `peers.toml` has them."""
    found = tomllib.loads(PINS.read_text(encoding="utf-8"))["rows"]
    return [
        Rival(who, name, row["environment"], row["script"], tuple(options))
        for who, row in found.items()
        for name, options in row["asked"].items()
    ]


def absent(environments: Path = ENVIRONMENTS) -> dict[str, str]:
    """Environments that are not there, each with the reason."""
    try:
        failed = json.loads((environments / FAILED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        failed = {}
    return {
        name: failed.get(name, "it is not installed: python bench/compress/install.py")
        for name, pins in read_pins().items()
        if not is_current(environments, name, pins)
    }


def ask(rival: Rival, source: Path, calibration: Path, folder: Path, key: str) -> Answer | str:
    """What a tool makes of the model, kept in `folder`; or why it makes nothing.

    Args:
        rival: Whom, and for what.
        source: The prepared model.
        calibration: Windows of text, a .npy file.
        folder: For what is kept.
        key: Of model and text; an answer to another one is not used.
    """
    values, kept = folder / f"{rival.slug}.safetensors", folder / f"{rival.slug}.json"
    asked = [rival.script, *rival.options, key]
    told = _read(kept)
    if told.get("asked") != asked:
        command: list[str | Path] = [python_of(ENVIRONMENTS, rival.environment)]
        command += [SCRIPTS / rival.script, source, calibration, values, *rival.options]
        values.unlink(missing_ok=True)
        found = _run(command)
        if isinstance(found, str):
            return found
        told = {"asked": asked, **found}
        kept.write_text(json.dumps(told, indent=1), encoding="utf-8")
    spent = {what: told[what] for what in ("seconds", "cpu_seconds", "peak_bytes")}
    return Answer(told["plan"], values if values.exists() else None, spent)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _run(command: Sequence[str | Path]) -> dict[str, Any] | str:
    """The last line that a script prints, read as JSON; or what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not done within {LIMIT_S} s"
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        try:
            found: dict[str, Any] = json.loads(lines[-1])
        except ValueError:
            return f"its last line is no answer: {lines[-1][:_TAIL]}"
        return found
    said = done.stderr.strip().splitlines() or ["nothing"]
    return f"it ended with status {done.returncode}: {said[-1][:_TAIL]}"


def chosen(only: Sequence[str], left_out: Sequence[str]) -> Iterator[Rival]:
    """Those asked for, by tool or by tool and way; all when none is named."""
    for rival in all_rivals():
        names = {rival.who, f"{rival.who} {rival.name}"}
        if not names & set(left_out) and (not only or names & set(only)):
            yield rival
