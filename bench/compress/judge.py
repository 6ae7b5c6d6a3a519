"""Judges variants: quality and tasks once for each file, CPU time in passes over all of them.

What has been found is kept by the digest of the file, CPU time by the types of its tensors, which
are all that a dense model's time depends on; so a stopped bench goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cost
import tasks
from variants import Variant
from verdict import payback
from work import Work

from negawatt.adapters.runtimes.llamacpp_gguf import opened
from negawatt.core.codec import encode
from negawatt.models.load import load_tokenizer
from negawatt.models.quality import score

Row = dict[str, Any]

_TIMES = (
    "cpu-on-large-pages"  # folder of times; those in `cpu` and `cpu-copied` are of mapped files
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is looked at."""

    passes: int = 2  # of timing, each over all variants
    rounds: int = 4  # of reading and of writing in a pass
    patience_s: float = 60.0  # that a pass waits for other processes to be quiet
    with_tasks: bool = True
    threads: int | None = None  # to score with; all when None


@dataclass(slots=True)
class Judge:
    """Scores and times variants of one model.

    Args:
        work: The model's part of the bench.
        folder: For what is kept.
        effort: How much is looked at.
    """

    work: Work
    folder: Path
    effort: Effort
    _items: list[tasks.Task] = field(default_factory=list)
    _base: dict[str, list[int]] = field(default_factory=dict)

    def prepare(self, base: Path) -> None:
        """Let the 16-bit model do the tasks, which others are paired with."""
        corpus, tools = self.work.job.texts.corpus, self.work.job.tools
        if self.effort.with_tasks and tools.data is not None:
            tokenizer = load_tokenizer(self.work.job.source.folder)
            self._items = tasks.tasks(tools.data, tokenizer, corpus.opening)
            self._base = self._outcomes(base)

    def quality(self, variant: Variant) -> Row:
        """What a variant loses, and how it does the tasks."""
        kept = self._kept("quality", _digest(variant.judged))
        if not kept.exists():
            with cost.opened(variant.judged, self._threads) as session:
                found = {"quality": encode(score(session, self.work.test))}
                if session.look is not None:  # as other programs would run the file
                    session.look = None
                    found["elsewhere"] = encode(score(session, self.work.test))
                _write(kept, found)
        found = _read(kept)
        if self._items and variant.tasked:
            own = self._outcomes(variant.judged)
            found["tasks"] = {name: tasks.paired(own[name], self._base[name]) for name in own}
        return found

    @property
    def _threads(self) -> int:
        return self.effort.threads or self.work.job.tools.cores

    def _outcomes(self, path: Path) -> dict[str, list[int]]:
        kept = self._kept("tasks", _digest(path))
        if not kept.exists():
            with cost.opened(path, self._threads) as session:
                _write(kept, {one.name: tasks.outcomes(session, one) for one in self._items})
        found: dict[str, list[int]] = _read(kept)
        return found

    def time(self, variants: Sequence[Variant], yardstick: Path) -> dict[str, Row]:
        """CPU time of every variant over the yardstick's, by the variant's key."""
        layouts = {one.key: _layout(one.path) for one in variants}
        paths = {layouts[one.key]: one for one in reversed(variants)}
        order, workload = list(paths), self.work.job.order.workload
        how = (str(self.effort.rounds), str(self.effort.patience_s))
        for number in range(self.effort.passes):
            # Each pass begins with another one, so that none is always first.
            start = number * len(order) // self.effort.passes
            for layout in order[start:] + order[:start]:
                kept = self._kept(_TIMES, f"{layout}-{number}")
                if not kept.exists():
                    _say(f"pass {number + 1}: {paths[layout].key}")
                    path, vocabulary = paths[layout].path, self.work.vocabulary
                    _write(kept, cost.one_pass(path, yardstick, workload, vocabulary, how))
        found = {}
        for key, layout in layouts.items():
            passes = [_read(self._kept(_TIMES, f"{layout}-{n}")) for n in range(self.effort.passes)]
            found[key] = cost.summary(passes, workload) | {"timed_as": paths[layout].key}
        return found

    def row(self, variant: Variant) -> Row:
        """A variant with its quality, not yet timed."""
        joules = self.work.job.tools.joules_per_cpu_s
        row: Row = {"who": variant.who, "name": variant.name}
        row["bytes"] = variant.path.stat().st_size + variant.more_bytes
        row |= {"spent": dict(variant.spent), "told": dict(variant.told)}
        if "cpu_seconds" in variant.spent:
            row["compress_j"] = encode(joules.scaled(variant.spent["cpu_seconds"], unit="J"))
        return row | self.quality(variant)

    def _kept(self, what: str, key: str) -> Path:
        place = self.folder / what / f"{key}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def with_payback(rows: Sequence[Row]) -> None:
    """Add after how many tokens compressing has paid back, against 8 and against 16 bits."""
    wide = next((row for row in rows if row["name"] == "16 bit"), None)
    for row in rows:
        spent = row["spent"].get("cpu_seconds")
        if spent is None or "cpu" not in row:
            continue
        own, base = row["cpu"]["workload"]["value"], row["cpu"]["yardstick_s_per_token"]
        row["payback_tokens"] = {"Q8_0": payback(spent, own, 1.0, base)}
        if wide is not None and "cpu" in wide:
            other = wide["cpu"]["workload"]["value"]
            row["payback_tokens"]["16 bit"] = payback(spent, own, other, base)


def _layout(path: Path) -> str:
    """A digest of names, types and sizes of the tensors."""
    told = sorted((one.name, one.kind.name, one.shape) for one in opened(path))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _read(path: Path) -> Row:
    found: Row = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, value: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value), encoding="utf-8")
    partial.replace(path)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
