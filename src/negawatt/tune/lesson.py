"""How to learn: plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.tune.budget import Budget

WEIGHTS, LORA = "weights", "lora"
STATES = 0.0  # what hidden states weigh beside answers when nobody says


@dataclass(frozen=True, slots=True)
class Lesson:
    """How to learn.

    Args:
        how: "weights" moves all weights of the blocks; "lora" small matrices beside them.
        budget: When to stop. Of energy, all joules of learning count, those at rest included.
        seed: Of the order of texts.
        states: Weight of hidden states beside answers in what is learned; 0 for answers alone.
    """

    how: str
    budget: Budget
    seed: int = 0
    states: float = STATES

    def __post_init__(self) -> None:
        if self.how not in {WEIGHTS, LORA}:
            raise UsageError(f"no way to heal is called {self.how!r}", fix="choose weights or lora")
        if not 0 <= self.states < math.inf:
            raise UsageError(
                f"{self.states:g} is no weight of hidden states",
                fix="give 0 to learn answers alone, or a positive number such as 1",
            )
