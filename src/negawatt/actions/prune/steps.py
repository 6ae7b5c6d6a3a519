"""What is asked of the job, what each of its steps gave, and what that took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from negawatt.actions.quantise.job import Spent
from negawatt.compress.pruned import Cut, Healing, Pace, Taken, Trimmed
from negawatt.core.estimate import Estimate
from negawatt.models.source import ModelSource
from negawatt.tune.budget import Budget
from negawatt.tune.lesson import STATES


@dataclass(frozen=True, slots=True)
class Wish:
    """One `negawatt prune`, as the user asked for it."""

    model: str
    cut: Cut
    out: Path
    heal: Budget | None = None
    how: str = "weights"
    states: float = STATES
    text: str | None = None
    seed: int = 0
    task: Path | None = None  # labelled examples for an encoder


@dataclass(frozen=True, slots=True)
class Thinned:
    """What pruning made, and what it took."""

    taken: Taken
    spent: Spent


@dataclass(frozen=True, slots=True)
class Taught:
    """What healing made, and what it took."""

    source: ModelSource
    healing: Healing
    spent: Spent


@dataclass(frozen=True, slots=True)
class Shortened:
    """What trimming the vocabulary made, and what it took."""

    trimmed: Trimmed
    spent: Spent


@dataclass(frozen=True, slots=True)
class Paces:
    """Every phase raced."""

    paces: tuple[Pace, ...]


def pays_back(cpu_seconds: float, paces: tuple[Pace, ...]) -> tuple[float, str] | None:
    """Tokens until the CPU time spent is saved again, and by which phase; None when none saves."""
    for pace in paces:
        saved = pace.base.value - pace.pruned.value
        if pace.ratio.high < 1 and saved > 0:
            return cpu_seconds / saved, pace.phase
    return None


def total(parts: list[Estimate]) -> Estimate:
    """The sum of some figures, with its interval."""
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found
