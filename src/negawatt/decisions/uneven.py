"""Does a slice of the text lose more than the others do, or does it only look so?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from negawatt.models.interval import student


@dataclass(frozen=True, slots=True)
class Moments:
    """The mean loss of a slice, and how sure it is.

    Args:
        mean: Over its tokens or texts, in any unit.
        variance: Of that mean, in its square.
        freedom: Degrees of freedom of the variance.
    """

    mean: float
    variance: float
    freedom: int


@dataclass(frozen=True, slots=True)
class Excess:
    """By how much a slice loses more than the mean over slices.

    Args:
        value: Its mean less the mean of all slices' means.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Chance of such an excess where there is none, corrected after Holm (1979).
    """

    value: float
    low: float
    high: float
    p: float


def uneven(slices: Sequence[Moments]) -> tuple[Excess, ...]:
    """Compare every slice with the mean over slices, each of which counts alike.

    Slices are of different texts, so their means are independent and the variance of a difference
    is the sum of weighted variances, with Welch and Satterthwaite's degrees of freedom. The test
    is one-sided: to lose less than the others is no harm. As many slices are tried, p-values are
    corrected, so that one of many does not stand out by luck.

    >>> same, other = Moments(0.10, 1e-6, 60), Moments(0.20, 1e-6, 60)
    >>> [round(one.value, 3) for one in uneven([same, same, other])]
    [-0.033, -0.033, 0.067]
    >>> uneven([same, same, other])[2].p < 1e-6 < uneven([same, same])[0].p
    True

    Raises:
        ValueError: fewer than two slices.
    """
    if len(slices) < 2:
        raise ValueError("one slice alone has none to be compared with")
    raw = [_excess(slices, i) for i in range(len(slices))]
    corrected = holm([one.p for one in raw])
    return tuple(
        Excess(one.value, one.low, one.high, p) for one, p in zip(raw, corrected, strict=True)
    )


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """p-values of several tests, corrected so that the chance of any false alarm stays.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    found, least = [0.0] * len(chances), 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, (len(chances) - place) * chances[i]))
        found[i] = least
    return tuple(found)


def _excess(slices: Sequence[Moments], i: int) -> Excess:
    from scipy.special import stdtr

    count = len(slices)
    weights = [1 - 1 / count if j == i else -1 / count for j in range(count)]
    value = sum(w * one.mean for w, one in zip(weights, slices, strict=True))
    parts = [w * w * one.variance for w, one in zip(weights, slices, strict=True)]
    variance = sum(parts)
    if variance <= 0.0:
        return Excess(value, value, value, 1.0 if value <= 0.0 else 0.0)
    spread = sum(part**2 / one.freedom for part, one in zip(parts, slices, strict=True))
    freedom = variance**2 / spread
    error = math.sqrt(variance)
    margin = student(freedom) * error
    return Excess(value, value - margin, value + margin, float(stdtr(freedom, -value / error)))
