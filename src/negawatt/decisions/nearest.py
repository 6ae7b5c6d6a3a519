"""Which choice of rounded inputs to take: the quickest that stays near the original."""

from __future__ import annotations

import math
from collections.abc import Sequence

from negawatt.compress.mixed import Trial
from negawatt.core.errors import BudgetUnreachable

_TIMING = 0.01  # relative difference of times that paired timings do not tell apart


def chosen(trials: Sequence[Trial], max_distance: float) -> tuple[Trial, str]:
    """The cheapest trial that stays near enough, and why.

    Times that cannot be told apart count as equal; then the smaller distance decides.

    Raises:
        BudgetUnreachable: none is, not even that without a rounded input.
    """
    near = [one for one in trials if one.sure <= max_distance]
    if not near:
        least = min(trials, key=lambda one: one.sure)
        raise BudgetUnreachable(
            f"no choice of inputs stays within a distance of {max_distance:.3g}; "
            f"the nearest, {least.name}, may be {least.sure:.3g} away",
            fix=f"allow --max-distance {_above(least.sure):g}, or take weights of more bits",
        )
    cheapest = min(_time(one) for one in near)
    best = min(
        (one for one in near if _time(one) <= cheapest * (1 + _TIMING)),
        key=lambda one: (one.distance.value, one.name),
    )
    told = f"the quickest of {len(near)} tried that stay within {max_distance:.3g} (90 % sure)"
    cheaper = [one for one in trials if _time(one) < _time(best) and one not in near]
    if cheaper:
        other = max(cheaper, key=_time)
        told += (
            f"; {other.name} would take {_time(other) / _time(best):.3f} of its time "
            f"and may be {other.sure:.3g} away"
        )
    return best, told


def _time(one: Trial) -> float:
    """Over no rounded input, as timed in turns; by prices until then."""
    return one.expected if one.ratio is None else one.ratio.value


def _above(value: float) -> float:
    """The next number of two digits above.

    >>> _above(0.0012345), _above(0.31)
    (0.0013, 0.32)
    """
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round((math.floor(value / unit + 1e-9) + 1) * unit, 12)
