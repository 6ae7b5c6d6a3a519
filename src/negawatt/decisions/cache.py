"""Which key-value cache: another than the engine's own only where that is measured to be worth it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from negawatt.core.caches import Cache
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.records import Decision

_EVEN = 0.02  # of a token's CPU time: less than this is no difference [1]


@dataclass(frozen=True, slots=True)
class CacheCost:
    """What writing a token takes behind so many others."""

    context: int  # tokens in the cache
    cpu: Estimate  # [s/token]
    beside_own: Estimate  # paired with the engine's own cache [1]


@dataclass(frozen=True, slots=True)
class CacheReading:
    """One width of the cache, as it was measured.

    Args:
        cache: Its bits.
        own: Whether it is the engine's own choice.
        loss: Relative perplexity increase beside 16 bits, when writing. [1]
        kl: Divergence from 16 bits, when writing. [nat/token]
        token_bytes: What a token takes in it. [B]
        costs: By context, shortest first.
    """

    cache: Cache
    own: bool
    loss: Estimate
    kl: Estimate
    token_bytes: float
    costs: tuple[CacheCost, ...]

    def cost(self, context: int) -> CacheCost:
        """At the measured context nearest to one."""
        return min(self.costs, key=lambda one: abs(one.context - context))


def choose_cache(readings: Sequence[CacheReading], *, max_loss: float, context: int) -> Decision:
    """The engine's own cache, unless another one is surely cheaper or surely loses less.

    A cheaper one has to keep its loss below `max_loss` at the upper end of the interval, and one
    that loses less must take no more than 2 % more time.

    Args:
        readings: Of one engine, its own among them.
        max_loss: What the cache may add to the perplexity beside 16 bits. [1]
        context: Tokens a written one has behind it, usually.

    Raises:
        UsageError: the engine's own was not measured.
    """
    own = next((one for one in readings if one.own), None)
    if own is None:
        raise UsageError(
            "the engine's own cache was not measured", fix="measure it beside the others"
        )
    others = [one for one in readings if not one.own]
    ratio = {one.cache: one.cost(context).beside_own for one in readings}
    cheaper = [
        one for one in others if ratio[one.cache].high < 1 - _EVEN and one.loss.high <= max_loss
    ]
    truer = [
        one
        for one in others
        if ratio[one.cache].value <= 1 + _EVEN and one.loss.high < own.loss.low
    ]
    if cheaper:
        best = min(cheaper, key=lambda one: ratio[one.cache].value)
        because = f"{_time(best, context)} of the engine's own, and loses {_loss(best)}"
    elif truer:
        best = min(truer, key=lambda one: (one.loss.value, ratio[one.cache].value))
        because = (
            f"loses {_loss(best)} where the engine's own loses {_loss(own)}, for "
            f"{_time(best, context)}"
        )
    else:
        best = own
        because = "the engine's own; no other is surely cheaper within the loss, or surely truer"
    rest = [one for one in readings if one is not best]
    told = "".join(f"; {one.cache} bits: {_time(one, context)}, {_loss(one)}" for one in rest)
    return Decision(
        choice=best.cache,
        because=because + told,
        alternatives=tuple(one.cache for one in rest),
        facts={
            one.cache: {"time": ratio[one.cache].value, "loss": one.loss.value} for one in readings
        },
    )


def _time(one: CacheReading, context: int) -> str:
    found = one.cost(context)
    ratio = found.beside_own
    return (
        f"{ratio.value:.3f} times ({ratio.low:.3f} to {ratio.high:.3f}) the CPU time behind "
        f"{found.context} tokens"
    )


def _loss(one: CacheReading) -> str:
    return f"{one.loss.value:+.2%} ({one.loss.low:+.2%} to {one.loss.high:+.2%}) of perplexity"
