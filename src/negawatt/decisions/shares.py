"""A saving told apart into what brought it about, so that the parts add up to it. Pure.

Several changes made together save less, or more, than each alone: half the joules at half the
intensity save three quarters, not twice a half. Shapley's value gives to each change what it adds
on average over all orders in which the changes could have been made. It depends on no order, and
the parts add up exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial

from negawatt.core.errors import UsageError

_MOST = 12  # 4 096 combinations


def shapley(parts: Sequence[str], value: Callable[[frozenset[str]], float]) -> dict[str, float]:
    """What each part adds to the value of all, averaged over every order.

    Args:
        parts: Their names.
        value: Of any set of them, of none as well; asked once for each.

    Raises:
        UsageError: there are too many, or one stands twice.

    >>> def saved(made: frozenset[str]) -> float:
    ...     left = 100.0 * (0.5 if "variant" in made else 1) * (0.8 if "time" in made else 1)
    ...     return 100.0 - left
    >>> shapley(["variant", "time"], saved)
    {'variant': 45.0, 'time': 15.0}
    """
    if len(set(parts)) != len(parts) or len(parts) > _MOST:
        raise UsageError(
            f"a value cannot be shared among {', '.join(parts)}",
            fix=f"name each part once, and {_MOST} at most",
        )
    count = len(parts)
    told = {
        frozenset(some): value(frozenset(some))
        for size in range(count + 1)
        for some in combinations(parts, size)
    }
    shares = {}
    for part in parts:
        rest = [other for other in parts if other != part]
        share = 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for some in combinations(rest, size):
                before = frozenset(some)
                share += weight * (told[before | {part}] - told[before])
        shares[part] = share
    return shares
