"""Intervals for means of dependent tokens and for shares of successes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import TextError

CONFIDENCE = 0.95
_RESAMPLES = 1000  # of the bootstrap
BLOCK = 64  # tokens; neighbours share a sentence, blocks this long hardly depend on each other


def block_mean(
    values: npt.NDArray[np.floating], *, block: int = BLOCK
) -> tuple[float, float, float]:
    """Mean over tokens of [rows, tokens] with its 95 % interval: (mean, low, high).

    Rows are cut into blocks of neighbouring tokens, the last of a row may be
    shorter. Student's t with blocks - 1 degrees of freedom gives the interval.

    >>> mean, low, high = block_mean(np.ones((2, 100)))
    >>> mean == low == high == 1.0
    True

    Raises:
        TextError: fewer than two blocks, from which no spread can be seen.
    """
    mean, variance, freedom = block_moments(values, block=block)
    margin = student(freedom) * math.sqrt(variance)
    return mean, mean - margin, mean + margin


def block_moments(
    values: npt.NDArray[np.floating], *, block: int = BLOCK
) -> tuple[float, float, int]:
    """Mean over tokens of [rows, tokens], the variance of that mean, and its degrees of freedom.

    The mean is a ratio of block sums to block sizes, so its variance is that of the blocks'
    residuals.

    >>> block_moments(np.array([[1.0, 3.0]]), block=1)
    (2.0, 1.0, 1)

    Raises:
        TextError: fewer than two blocks.
    """
    starts = np.arange(0, values.shape[1], block)
    sums = np.add.reduceat(values.astype(np.float64), starts, axis=1).ravel()
    sizes = np.tile(np.diff(np.append(starts, values.shape[1])), values.shape[0])
    if len(sums) < 2:
        raise TextError(
            f"{values.size} scored tokens are too few to tell how sure a figure is",
            fix=f"score more than {block} tokens",
        )
    mean = float(sums.sum() / sizes.sum())
    residuals = sums - mean * sizes
    variance = float((residuals**2).sum()) * len(sums) / (len(sums) - 1) / sizes.sum() ** 2
    return mean, float(variance), len(sums) - 1


def resampled_mean(values: npt.NDArray[np.float64], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean of independent values with its 95 % interval by resampling: (mean, low, high).

    >>> resampled_mean(np.ones(8))
    (1.0, 1.0, 1.0)
    """
    draw = np.random.default_rng(seed)
    picked = values[draw.integers(0, len(values), (_RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(picked, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    mean = float(values.mean())
    return mean, min(float(low), mean), max(float(high), mean)


def wilson(successes: int, trials: int) -> tuple[float, float, float]:
    """Share of successes with its 95 % interval by Wilson's score: (share, low, high).

    >>> [round(x, 4) for x in wilson(0, 10)]
    [0.0, 0.0, 0.2775]

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no share")
    share, z = successes / trials, 1.959963984540054  # the normal 97.5 % quantile
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    margin = (
        z
        / (1 + z * z / trials)
        * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    )
    return share, min(share, max(0.0, middle - margin)), max(share, min(1.0, middle + margin))


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
