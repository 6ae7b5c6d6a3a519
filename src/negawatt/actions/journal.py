"""Finished steps on disk, so that a stopped job goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from negawatt.core.codec import decode, encode
from negawatt.core.errors import OutputError
from negawatt.core.outcome import Step

T = TypeVar("T")


class Journal:
    """Results of steps, each written whole or not at all.

    A result counts only under the key it was written with: the digest of all
    that decided it. Another model, text or seed never reuses it.

    Args:
        folder: Made on first use.
        key: What decides every step's result.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self.key = key
        self.steps: list[Step] = []

    def step(self, name: str, kind: type[T], compute: Callable[[], T]) -> T:
        """The kept result of a step, or that of running it now.

        Args:
            name: Unique in the job; also the file's name.
            kind: Record type of the result, for reading it back.
            compute: Does the work; what it raises is not kept.

        Raises:
            OutputError: the result cannot be written.
        """
        path = self._folder / f"{name}.json"
        kept = _read(path, self.key)
        if kept is not None:
            with suppress(TypeError, ValueError):  # of another shape: not a result of this step
                found = decode(kind, kept["value"])
                self.steps.append(Step(name=name, seconds=float(kept["seconds"]), resumed=True))
                return found
        start = time.perf_counter()
        value = compute()
        seconds = time.perf_counter() - start
        self._write(path, {"key": self.key, "seconds": seconds, "value": encode(value)})
        self.steps.append(Step(name=name, seconds=seconds))
        return value

    def has(self, name: str) -> bool:
        """True when the step is finished under this job's key."""
        return _read(self._folder / f"{name}.json", self.key) is not None

    def _write(self, path: Path, entry: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(entry), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror}",
                fix="free some disk space or choose another --out folder, then run again",
            ) from error


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """The whole entry of a finished step, None when there is none under this key."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(entry, dict) and {"key", "seconds", "value"} <= entry.keys()
    return entry if whole and entry["key"] == key else None
