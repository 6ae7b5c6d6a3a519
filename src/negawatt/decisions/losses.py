"""How much a variant loses, from two witnesses: its loss, and its divergence from the base.

The loss on a few thousand tokens is unbiased and noisy: whether the next token
of this text became likelier is partly luck. The divergence compares whole
distributions and is ten times quieter, but tells the loss only through a
factor that differs from plan to plan. For text that the base itself would
write the factor is 1 (the loss in log-perplexity *is* the divergence); on real
text it is less, and it is read off the other variants of the same job. Both
witnesses are weighed by their precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from negawatt.core.estimate import Estimate, Kind

# A plan's loss strays from what its divergence lets expect by this times the square root of the
# divergence: a change of the logits of size d moves the loss on text that is not the base's own
# by about d, and the divergence by d squared. 86 readings of 6 jobs: 0.015 without the 16-bit
# variants, 0.024 with them (explanation/log.md). [nat**0.5]
_STRAY = 0.02
_Z95 = 1.96
#: Standard errors above an estimate that nine in ten of the true values stay below.
SURE = 1.2816


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one variant on the text for choosing."""

    name: str
    loss: Estimate  # relative perplexity increase [1]
    divergence: float  # mean KL to the base [nat/token]


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a variant is taken to lose."""

    loss: Estimate  # with its 95 % interval [1]
    sure: float  # what it stays below, nine times in ten [1]


def weigh(readings: Sequence[Reading]) -> Mapping[str, Weighed]:
    """Loss of every variant, by name, in the light of the others.

    Where no factor can be read off the others (too few, or they lose
    nothing), the loss stands alone. Readings equal in both numbers are one
    variant run twice and do not testify for each other.

    >>> def read(name, loss, divergence):
    ...     text = "a text"
    ...     ends = {"low": loss - 0.006, "high": loss + 0.006}
    ...     told = Estimate(value=loss, **ends, unit="1", kind=Kind.MEASURED, source=text)
    ...     return Reading(name, told, divergence)
    >>> found = weigh(
    ...     [read("int4", 0.056, 0.077), read("mixed", 0.03, 0.045), read("lucky", 0.002, 0.022)]
    ... )
    >>> [round(100 * x, 2) for x in (found["lucky"].loss.value, found["lucky"].sure)]
    [0.81, 1.1]
    """
    return {one.name: _weighed(one, _others(one, readings)) for one in readings}


def _others(one: Reading, readings: Sequence[Reading]) -> list[Reading]:
    mine = one.loss.value, one.divergence
    return [
        other
        for other in readings
        if other.divergence > 0 and (other.loss.value, other.divergence) != mine
    ]


def _weighed(one: Reading, others: Sequence[Reading]) -> Weighed:
    value, error = _log(one.loss)
    factor = _factor(others)
    kind = one.loss.kind
    source = one.loss.source
    if factor is not None and error > 0 and one.divergence > 0:
        per_nat, its_error = factor
        implied = per_nat * one.divergence
        implied_error = math.hypot(its_error * one.divergence, _stray(one.divergence))
        trust = error**-2, implied_error**-2
        value = (trust[0] * value + trust[1] * implied) / sum(trust)
        error = sum(trust) ** -0.5
        kind = Kind.MODELLED
        source = f"{source}, weighed with its divergence"
    low, middle, high, sure = (math.expm1(value + z * error) for z in (-_Z95, 0.0, _Z95, SURE))
    loss = Estimate(
        value=middle,
        low=low,
        high=high,
        unit="1",
        kind=kind,
        source=source,
        boundary=one.loss.boundary,
    )
    return Weighed(loss, sure)


def _factor(readings: Sequence[Reading]) -> tuple[float, float] | None:
    """Log-perplexity lost per nat of divergence, and its standard error; None if unknown. [1]"""
    if len(readings) < 2:
        return None
    told = against = 0.0
    for one in readings:
        value, error = _log(one.loss)
        trust = 1.0 / (error**2 + _stray(one.divergence) ** 2)
        told += trust * value * one.divergence
        against += trust * one.divergence**2
    return (told / against, against**-0.5) if told > 0 else None


def _stray(divergence: float) -> float:
    """Standard deviation of a plan's loss about what its divergence implies. [nat/token]"""
    return _STRAY * math.sqrt(divergence)


def _log(loss: Estimate) -> tuple[float, float]:
    """A loss as a difference of log-perplexities, with its standard error. [nat/token]"""
    low, high = (math.log1p(max(end, -0.99)) for end in (loss.low, loss.high))
    return math.log1p(max(loss.value, -0.99)), (high - low) / 2 / _Z95
