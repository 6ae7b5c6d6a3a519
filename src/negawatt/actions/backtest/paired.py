"""How sure a saving is: the same days drawn again and again, for all policies at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from negawatt.actions.backtest.records import Column, Counts

SEED = 0
_ENDS = (2.5, 97.5)  # of 95 %


def intervals(
    days: Counts, now: Column, others: Sequence[Column], resamples: int = 2000
) -> list[tuple[float, float]]:
    """Ends of the 95 % interval of each saving, jobs of one day being drawn together.

    Jobs of one day meet the same weather, so that days are what may be drawn. Run now and the
    policy are drawn on the same days, because what is asked is their difference.

    Args:
        days: Day of each job. [jobs]
        now: Grams of each when run now. [gCO2e], [jobs]
        others: The same for each policy.
        resamples: How often; with a fixed seed.

    >>> days = np.array([0, 0, 1, 2])
    >>> now = np.array([10.0, 10.0, 20.0, 20.0])
    >>> low, high = intervals(days, now, [now / 2])[0]
    >>> round(low, 6), round(high, 6)
    (0.5, 0.5)
    """
    _, which = np.unique(days, return_inverse=True)
    count = int(which.max()) + 1
    sums = np.stack([np.bincount(which, grams, count) for grams in (now, *others)], axis=1)
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), resamples)
    totals = drawn @ sums
    base = totals[:, :1]
    savings = 1.0 - totals[:, 1:] / np.where(base > 0, base, np.nan)
    found = np.nanpercentile(savings, _ENDS, axis=0)
    return [(float(low), float(high)) for low, high in found.T]


def mean_by_day(
    days: Counts, now: Column, others: Mapping[str, Column]
) -> tuple[list[int], dict[str, tuple[float, ...]]]:
    """Saving of each policy day by day, for pictures; days without a job are left out.

    >>> mean_by_day(np.array([3, 3]), np.array([2.0, 2.0]), {"half": np.array([1.0, 1.0])})
    ([3], {'half': (0.5,)})
    """
    labels, which = np.unique(days, return_inverse=True)
    base = np.bincount(which, now)
    found = {
        name: tuple(
            np.where(
                base > 0, 1.0 - np.bincount(which, grams) / np.where(base > 0, base, 1), 0
            ).tolist()
        )
        for name, grams in others.items()
    }
    return labels.tolist(), found
