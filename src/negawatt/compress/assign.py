"""The exact discrete choice: one format per layer within an energy budget.

A multiple-choice knapsack, solved to optimality by HiGHS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from negawatt.core.aside import stdout_aside
from negawatt.core.errors import BudgetUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_GAP = 1e-6  # relative optimality gap that counts as exact here
_TIME_LIMIT_S = 20.0
_SCALE = 100.0  # of the energy row: with less, HiGHS repairs its solutions, and prints that it does


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """How large all choices together may be.

    Args:
        size: Of each option, [options]. [B]
        limit: On their sum. [B]
        alike: Pairs of groups with the same options that have to make the same choice.
    """

    size: Floats
    limit: float
    alike: tuple[tuple[slice, slice], ...] = ()

    def rows(self, options: int) -> list[LinearConstraint]:
        """The limit and the pairs as constraints on which options are taken."""
        found = [LinearConstraint(csr_array(self.size[None, :] / self.limit), -np.inf, 1.0)]
        for one, other in self.alike:
            width = one.stop - one.start
            at = np.arange(width)
            both = np.zeros((width, options))
            both[at, one.start + at], both[at, other.start + at] = 1.0, -1.0
            found.append(LinearConstraint(csr_array(both), 0, 0))
        return found


def assign(
    loss: Floats,
    energy: Floats,
    groups: Sequence[slice],
    budget: float,
    room: Room | None = None,
) -> NDArray[np.intp]:
    """Pick one option per group with the least total loss within `budget`.

    Args:
        loss: Cost in quality of each option, [options]; may be negative.
        energy: Cost in energy of each option, [options], in the unit of `budget`.
        groups: Runs of options that exclude each other, covering all of them.
        budget: Largest total energy allowed.
        room: What they may take beside it; as much as they like when None.

    Returns:
        The chosen option of each group, [groups].

    Raises:
        BudgetUnreachable: even the cheapest options exceed the budget, or the room.

    >>> groups = [slice(0, 2), slice(2, 4)]
    >>> loss, energy = np.array([0.0, 3.0, 0.0, 1.0]), np.array([10.0, 5.0, 10.0, 5.0])
    >>> assign(loss, energy, groups, budget=15.0).tolist()
    [0, 3]
    """
    cheapest = sum(float(energy[group].min()) for group in groups)
    if cheapest > budget * (1 + 1e-9):
        raise BudgetUnreachable(
            f"the cheapest formats need {cheapest:.4g}, more than the budget of {budget:.4g}",
            fix=f"allow at least {cheapest:.4g}, or offer cheaper formats",
        )
    # Scaled to order one: HiGHS works with absolute tolerances near 1e-7.
    loss_scale = float(np.abs(loss).max()) or 1.0
    with stdout_aside():  # HiGHS tells there of every solution that it repairs
        result = milp(
            c=loss / loss_scale,
            integrality=np.ones(len(loss)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(_one_of_each(groups, len(loss)), 1, 1),
                LinearConstraint(csr_array(energy[None, :] * (_SCALE / budget)), -np.inf, _SCALE),
                *(room.rows(len(loss)) if room else ()),
            ],
            options={"mip_rel_gap": _GAP, "time_limit": _TIME_LIMIT_S},
        )
    if result.x is None:
        raise BudgetUnreachable(
            f"no assignment was found: {result.message}",
            fix="allow a little more energy" + (" or size" if room else ""),
        )
    return np.array([group.start + int(np.argmax(result.x[group])) for group in groups])


def shadow_price(loss: Floats, energy: Floats, groups: Sequence[slice], budget: float) -> float:
    """What one more unit of energy would be worth in loss: λ of the relaxed problem.

    >>> loss, energy = np.array([0.0, 3.0]), np.array([10.0, 5.0])
    >>> round(shadow_price(loss, energy, [slice(0, 2)], budget=8.0), 6)
    0.6
    """
    loss_scale = float(np.abs(loss).max()) or 1.0
    with stdout_aside():
        result = linprog(
            c=loss / loss_scale,
            A_ub=csr_array(energy[None, :] / budget),
            b_ub=[1.0],
            A_eq=_one_of_each(groups, len(loss)),
            b_eq=np.ones(len(groups)),
            bounds=(0, 1),
        )
    if result.x is None:
        return 0.0
    return max(0.0, -float(result.ineqlin.marginals[0])) * loss_scale / budget


def _one_of_each(groups: Sequence[slice], options: int) -> csr_array:
    rows = np.concatenate([np.full(g.stop - g.start, i) for i, g in enumerate(groups)])
    return csr_array((np.ones(options), (rows, np.arange(options))), shape=(len(groups), options))
