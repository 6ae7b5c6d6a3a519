"""Plans drawn blindly, within a budget. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def drawn(
    cost: NDArray[np.float64], groups: Sequence[slice], budget: float, seed: int
) -> list[int]:
    """One option of every group at random: dearest ones, made cheaper until they are in budget.

    Args:
        cost: Of each option.
        groups: Runs of options that exclude each other.
        budget: On the sum of what is taken, in the unit of `cost`.
        seed: Of the drawing.

    Raises:
        ValueError: the cheapest options cost more than the budget.
    """
    random = np.random.default_rng(seed)
    taken = [g.start + int(cost[g].argmax()) for g in groups]
    for at in random.permutation(len(groups)):
        over = float(cost[taken].sum()) - budget
        if over <= 0:
            return taken
        group = groups[at]
        cheaper = [i for i in range(group.start, group.stop) if cost[i] < cost[taken[at]]]
        if cheaper:
            taken[at] = int(random.choice(cheaper))
    for at, group in enumerate(groups):
        if float(cost[taken].sum()) <= budget:
            break
        taken[at] = group.start + int(cost[group].argmin())
    if float(cost[taken].sum()) > budget:
        raise ValueError("no plan is that cheap")
    return taken
