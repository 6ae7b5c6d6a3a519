"""Intervals from a forecaster's own past errors, each at the hour of day that it is about.

What was said at the same time of day on each of the last days is held against what came. The
errors of one step ahead, with those of the hour before and after it, give its interval: split
conformal prediction, with the scores taken from the recent past because grids change.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
Column = NDArray[np.float64]

COVERED = 0.8  # of what comes lies within
LOOK_BACK = 60  # days whose errors are asked
FEWEST = 9  # errors below which the tenth part of them says nothing


def band(values: Column, errors: Table, per_day: int) -> tuple[Column, Column] | None:
    """Lower and upper ends around values; None where no error is known yet.

    Args:
        values: What is said, [ahead].
        errors: What came less what had been said, [days, ahead]; NaN where it has not come yet.
        per_day: Steps in a day.

    >>> errors = np.tile(np.arange(-5.0, 6.0)[:, None], (1, 2))
    >>> low, high = band(np.array([100.0, 50.0]), errors, 24)
    >>> low.tolist(), high.tolist()
    ([95.0, 45.0], [105.0, 55.0])
    """
    if not np.isfinite(errors).any():
        return None
    beside = max(1, per_day // 24)
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for step in range(len(values)):
        near = errors[:, max(0, step - beside) : step + beside + 1]
        known = near[np.isfinite(near)]
        if len(known) >= FEWEST:
            low[step], high[step] = ends(known)
        elif step >= per_day and np.isfinite(low[step - per_day]):
            low[step], high[step] = low[step - per_day], high[step - per_day]
        else:
            low[step], high[step] = ends(errors[np.isfinite(errors)])
    return values + np.minimum(low, 0.0), values + np.maximum(high, 0.0)


def ends(errors: Column) -> tuple[float, float]:
    """The errors that leave a tenth of those to come on either side, as far as so few can tell.

    >>> ends(np.arange(-9.0, 10.0))
    (-8.0, 8.0)
    """
    ordered = np.sort(errors)
    count = len(ordered)
    above = min(count, math.ceil((count + 1) * (1 + COVERED) / 2))
    return float(ordered[count - above]), float(ordered[above - 1])
