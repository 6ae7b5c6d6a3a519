"""What the search is given and what it finds; plain values, for which no engine is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from negawatt.compress.assign import Room, assign
from negawatt.core.records import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """Gate gradients of sampled texts, and the Fisher information they span.

    Args:
        options: The (unit, candidate) pair of each column.
        scores: float64, [samples, options], a sample being a short run of positions,
            divided by the root of its tokens, so that `scoresᵀ scores / samples` is F per token.
    """

    options: tuple[tuple[str, Format], ...]
    scores: NDArray[np.float64]

    @property
    def fisher(self) -> NDArray[np.float64]:
        """Fisher information of the gates, [options, options]. [nat/token]"""
        return self.scores.T @ self.scores / len(self.scores)

    @property
    def alone(self) -> NDArray[np.float64]:
        """Expected KL of each option if it were the only change. [nat/token]"""
        squares = np.square(self.scores).mean(axis=0)
        return np.asarray(0.5 * squares, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A discrete plan with what the search expected of it."""

    plan: Mapping[str, Format]
    budget: float  # J/token asked for
    energy: float  # of the layers, by the energy model [J/token]
    kl: float  # expected, by the expansion [nat/token]
    multiplier: float  # λ at the end [nat/J]
    prices: tuple[float, ...]  # expected KL of each option at the gates reached [nat/token]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What the search works on.

    Args:
        sensitivity: Options in order and their Fisher scores.
        energy: Of each option, by the energy model, [options]. [J/token]
        room: What plans may take beside energy; as much as they like when None.
    """

    sensitivity: Sensitivity
    energy: Floats
    room: Room | None = None

    @property
    def groups(self) -> list[slice]:
        """Options of one layer, as runs."""
        names = [name for name, _ in self.sensitivity.options]
        starts = [i for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
        return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(names)], strict=True)]

    def bounds(self) -> tuple[float, float]:
        """Least energy of any plan that has room, and the greatest of all. [J/token]

        Raises:
            BudgetUnreachable: no plan is small enough.
        """
        low = sum(float(self.energy[g].min()) for g in self.groups)
        high = sum(float(self.energy[g].max()) for g in self.groups)
        if self.room is not None:
            least = assign(self.energy, self.energy, self.groups, high, self.room)
            low = float(self.energy[least].sum())
        return low, high


def budgets(problem: Problem, shares: Sequence[float]) -> list[float]:
    """Energy budgets at some shares of the way from the cheapest plan to the dearest."""
    low, high = problem.bounds()
    return [low + share * (high - low) for share in shares]
