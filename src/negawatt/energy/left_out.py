"""How far predictions are off on models that the fit has not seen: each left out in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negawatt.energy.fitting import Windows, fit
from negawatt.energy.roofline import Constants

Floats = NDArray[np.float64]

_LEAST = 3  # models below which leaving one out says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Factors above and below a prediction between which the truth lies.

    Args:
        share: How often it is to lie there, over models. [1]
        joules: Of an energy, 1 or more. [1]
        seconds: Of a time, 1 or more. [1]
    """

    share: float
    joules: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Errors:
    """Logarithms of predicted over measured, each window's model being left out. [windows]"""

    joules: Floats
    seconds: Floats
    groups: tuple[str, ...]

    def where(self, chosen: NDArray[np.bool_]) -> Errors:
        """Those of some windows."""
        groups = tuple(self.groups[i] for i in np.flatnonzero(chosen))
        return Errors(self.joules[chosen], self.seconds[chosen], groups)

    def band(self, share: float) -> Band | None:
        """The conformal band: as wide as the errors on left-out models were; None for few."""
        if len(set(self.groups)) < _LEAST:
            return None
        joules, seconds = (
            math.exp(width(errors, self.groups, share)) for errors in (self.joules, self.seconds)
        )
        return Band(share=share, joules=joules, seconds=seconds)


def left_out(windows: Windows, start: Constants) -> Errors:
    """Predict every window before running it, with a fit to the other models alone.

    Args:
        windows: Of several models.
        start: What the datasheet leads one to expect.
    """
    groups = np.array(windows.groups)
    joules, seconds = np.empty(len(windows)), np.empty(len(windows))
    for group in sorted(set(windows.groups)):
        here = groups == group
        unseen = windows.where(here)
        told = fit(windows.where(~here), start)
        lasted = told.seconds(unseen.load, unseen.kinds)
        seconds[here] = np.log(lasted / unseen.seconds)
        joules[here] = np.log(told.joules(unseen.load, unseen.kinds) / unseen.joules)
    return Errors(joules, seconds, windows.groups)


def width(errors: Floats, groups: Sequence[str], share: float) -> float:
    """Half the width of the band for models to come. [1]

    As wide as the share of errors, every model counting once, and wider by Student's factor, because
    a few models tell little of others.

    >>> round(width(np.array([0.1, -0.3, 0.2, 0.0]), ("a", "a", "b", "c"), 0.5), 3)
    0.121
    """
    from scipy.stats import norm, t

    names = np.array(groups)
    sizes = np.abs(errors)
    count = {name: int((names == name).sum()) for name in set(groups)}
    weight = np.array([1 / count[name] for name in groups])
    order = np.argsort(sizes)
    reached = np.cumsum(weight[order]) / weight.sum()
    place = min(int(np.searchsorted(reached, share - 1e-12)), len(sizes) - 1)
    one_sided = (1 + share) / 2
    few = float(t.ppf(one_sided, max(1, len(count) - 1)) / norm.ppf(one_sided))
    return few * float(sizes[order[place]])


def covered(errors: Floats, groups: Sequence[str], share: float) -> tuple[float, float]:
    """Share of errors inside bands made from the other models alone, and the middle band's factor.

    Returns:
        Share [1] and factor, 1 or more [1].
    """
    names = np.array(groups)
    inside: list[bool] = []
    widths = []
    for group in sorted(set(groups)):
        here = names == group
        widths.append(width(errors[~here], names[~here].tolist(), share))
        inside.extend(np.abs(errors[here]) <= widths[-1])
    return float(np.mean(inside)), math.exp(float(np.median(widths)))
