"""How to learn: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.tune.budget import Budget

WEIGHTS, LORA = "weights", "lora"


@dataclass(frozen=True, slots=True)
class Lesson:
    """How to learn.

    Args:
        how: "weights" moves all weights of the blocks; "lora" small matrices beside them.
        budget: When to stop.
        joules_per_cpu_s: What a CPU-second costs, for a budget of energy. [J/s]
        seed: Of the order of texts.
    """

    how: str
    budget: Budget
    joules_per_cpu_s: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.how not in {WEIGHTS, LORA}:
            raise UsageError(f"no way to heal is called {self.how!r}", fix="choose weights or lora")
