"""How far to believe what a few samples say of interactions between layers.

The Fisher information of hundreds of gates, estimated from some hundred
scores, holds tens of thousands of products of two layers. Nearly all of them
are noise, and a search that takes them at their word finds the plan whose
noise cancels best. So each is shrunk towards nought by one factor, that of
least expected error (Schäfer and Strimmer, 2005, on correlations).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def shrunk_fisher(scores: Floats, groups: Sequence[slice]) -> Floats:
    """Fisher information with interactions between groups as large as samples can vouch for.

    Args:
        scores: Gate gradients, [samples, options].
        groups: Options of one layer, as runs; what they share is kept as it is.

    Returns:
        [options, options], in the unit of squared scores.

    >>> noise = np.random.default_rng(0).normal(size=(50, 8))
    >>> apart = [slice(i, i + 1) for i in range(8)]
    >>> kept = shrunk_fisher(noise, apart)[0, 1] / (noise.T @ noise / 50)[0, 1]
    >>> bool(0 <= kept < 0.2)
    True
    """
    samples = len(scores)
    fisher = scores.T @ scores / samples
    between = np.ones(fisher.shape, dtype=bool)
    for group in groups:
        between[group, group] = False
    size = np.sqrt(np.diag(fisher))
    unit = scores / np.where(size > 0, size, 1.0)
    correlation = (unit.T @ unit / samples)[between]
    spread = (np.square(unit).T @ np.square(unit) / samples)[between] - np.square(correlation)
    power = float(np.square(correlation).sum())
    noise = float(spread.sum()) / max(samples - 1, 1)
    fisher[between] *= max(0.0, 1.0 - noise / power) if power > 0 else 0.0
    return fisher
