"""Which of many points nothing else beats in everything."""

from __future__ import annotations

from typing import Any

import numpy as np


def front_of(objectives: Any) -> Any:
    """Places of the points that no other point dominates, least first objective first.

    A point dominates another when it is nowhere worse and somewhere better. Equal points stay all.

    Args:
        objectives: Less is better. [n, objectives]

    >>> front_of(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 4.0], [3.0, 1.0]])).tolist()
    [0, 1, 3]
    """
    rest = np.lexsort(np.transpose(objectives)[::-1])
    kept = []
    while len(rest):
        # The least one in the order of columns is beaten by none that is left.
        first, rest = rest[0], rest[1:]
        kept.append(first)
        left, best = objectives[rest], objectives[first]
        rest = rest[(left < best).any(axis=1) | (left == best).all(axis=1)]
    return np.array(kept, dtype=np.intp)


def knee_of(objectives: Any) -> int:
    """The best compromise: the least product of all objectives, so that units are of no matter.

    Of joules, area and seconds this is the energy-delay-area product.

    >>> knee_of(np.array([[1.0, 8.0], [2.0, 2.0], [8.0, 1.0]]))
    1
    """
    return int(np.argmin(np.log(objectives).sum(axis=-1)))
