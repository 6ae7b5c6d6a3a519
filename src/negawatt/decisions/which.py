"""Which variant to serve: the cheapest one inside the quality budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from negawatt.core.errors import BudgetUnreachable
from negawatt.core.records import Decision

_TIMING = 0.02  # relative difference of energies that paired timings do not tell apart


@dataclass(frozen=True, slots=True)
class Contender:
    """What the choice needs to know of a variant."""

    name: str
    loss: float  # relative perplexity increase it stays below, 90 % sure [1]
    energy: float  # measured [J/token], or anything proportional to it
    size: float  # [B]
    expected: float = 0.0  # energy by the model, to part what timings cannot [J/token]
    latency: float = 0.0  # wall time of a written token [s]


def pareto(contenders: Sequence[Contender]) -> tuple[str, ...]:
    """Names of those that no other beats on both loss and energy, cheapest first.

    >>> a, b, c = (Contender(n, l, e, 1) for n, l, e in [("a", 0, 3), ("b", 1, 2), ("c", 1, 4)])
    >>> pareto([a, b, c])
    ('b', 'a')
    """
    front: list[Contender] = []
    for one in sorted(contenders, key=lambda c: (c.energy, c.loss, c.size)):
        if not front or one.loss < front[-1].loss:
            front.append(one)
    return tuple(one.name for one in front)


def choose(
    contenders: Sequence[Contender],
    *,
    max_loss: float,
    max_size: float | None = None,
    max_latency: float | None = None,
) -> Decision:
    """The contender with the least energy among those that lose at most `max_loss`.

    Measured energies closer than timings can tell apart count as equal; among
    such the model's expectation decides, which does not change from run to run.

    Those larger than `max_size` [B] or slower than `max_latency` [s] are passed over.

    Raises:
        BudgetUnreachable: none does; the message names the nearest.

    >>> choose([Contender("a", 0.0, 3, 1), Contender("b", 0.02, 2, 1)], max_loss=0.01).choice
    'a'
    """
    fitting = _within(contenders, max_size, max_latency)
    good = [one for one in fitting if one.loss <= max_loss]
    if not good:
        nearest = min(fitting, key=lambda one: one.loss)
        raise BudgetUnreachable(
            f"no variant is sure to stay within a loss of {max_loss:.2%}; "
            f"the nearest, {nearest.name}, may lose {nearest.loss:.2%}",
            fix=_way_out(nearest.loss),
        )
    least = min(one.energy for one in good)
    near = [one for one in good if one.energy <= least * (1 + _TIMING)]
    best = min(near, key=lambda one: (one.expected, one.energy, one.size, one.name))
    ranked = sorted(contenders, key=lambda one: one.energy)
    cheaper = [
        one for one in ranked if one in fitting and one.energy < best.energy and one.loss > max_loss
    ]
    because = f"least energy of {len(good)} measured variants that lose at most {max_loss:.2%} (90 % sure)"
    if max_size is not None:
        because += f" and take at most {max_size / 1e6:.4g} MB"
    if max_latency is not None:
        because += f" and write a token within {max_latency * 1e3:.4g} ms"
    if cheaper:
        nearest = cheaper[-1]
        because += (
            f"; the next cheaper, {nearest.name}, would take {nearest.energy / best.energy:.2f} "
            f"times the energy but may lose {nearest.loss:.2%}"
        )
    return Decision(
        choice=best.name,
        because=because,
        alternatives=tuple(one.name for one in ranked if one.name != best.name),
        facts={"loss": best.loss, "energy": best.energy, "max_loss": max_loss},
    )


def _within(
    contenders: Sequence[Contender], max_size: float | None, max_latency: float | None
) -> list[Contender]:
    """Those small and quick enough; raise `BudgetUnreachable` when there are none."""
    small = [one for one in contenders if max_size is None or one.size <= max_size]
    if not small:
        least = min(one.size for one in contenders)
        raise BudgetUnreachable(
            f"the smallest variant takes {least / 1e6:.4g} MB",
            fix=f"allow --max-size {1.001 * least / 1e6:.4g}MB",
        )
    quick = [one for one in small if max_latency is None or one.latency <= max_latency]
    if not quick:
        best = min(small, key=lambda one: one.latency)
        raise BudgetUnreachable(
            f"the quickest variant, {best.name}, takes {best.latency * 1e3:.4g} ms for a written token",
            fix=f"allow --max-latency {best.latency * 1.1e3:.3g}ms, or try more --threads",
        )
    return quick


def _way_out(loss: float) -> str:
    """The next budget that would do, where there is one."""
    enough = math.ceil(loss * 1000 + 1e-6) / 10  # the next tenth of a percent
    if enough >= 100:
        return "keep the model as it is: every compressed form of it loses too much"
    return f"allow --max-loss {enough:.1f}%, or keep the model as it is"
