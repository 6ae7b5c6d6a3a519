"""How two figures differ, with the uncertainty of the difference and not of its two ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, stdev

from negawatt.core.estimate import Estimate, weakest
from negawatt.reports.terms import Factor, Terms

_FACTORS = 8  # factors in one comparison whose every combination is looked at
_SURE = 0.95  # two-sided, for what repeats say


@dataclass(frozen=True, slots=True)
class Difference:
    """After minus before, and after over before.

    Args:
        change: In the unit of the figure; exactly 0 without interval where all is shared.
        ratio: None where the figure before may be zero. [1]
        shared: Uncertain factors that both carry, so that their error cancels in the ratio.
        added: Uncertain parts that only one of them carries; their errors add.
    """

    change: Estimate
    ratio: Estimate | None
    shared: tuple[str, ...]
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Spread:
    """Half-widths of the means of repeats, as shares of each mean: of before, and of after.

    What runs differ in is how much work they did, so it grows and shrinks with the factors that
    turn work into joules or grams.
    """

    before: float = 0.0
    after: float = 0.0

    def change(self, before: float, after: float) -> float:
        """Half-width of the difference where the two sides are so much."""
        return math.hypot(self.before * before, self.after * after)

    @property
    def ratio(self) -> float:
        """Half-width of the ratio, as a share of it."""
        return math.hypot(self.before, self.after)


def difference(
    before: Terms,
    after: Terms,
    *,
    same: bool = False,
    repeats: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> Difference:
    """Compare two figures of one unit.

    The ends are the least and the most that any combination of the factors' and the own
    parts' ends gives, a shared factor taking one end on both sides at once. Own parts are
    independent and add end by end, which is safe. Repeats widen the result by the
    two-sided 95 % interval of the difference of two means (Welch).

    Args:
        before: What was.
        after: What is.
        same: Both are the very same entries, so that every error is shared.
        repeats: Single values on both sides, when there are several.
    """
    if same:
        return _nothing(before, after)
    corners = list(_corners(before, after))
    spread = _spread(*repeats)
    one, other = before.whole, after.whole
    reached = [*corners, (one.value, other.value)]
    low = max(
        other.low - one.high - spread.change(one.high, other.low),
        min(a - b - spread.change(b, a) for b, a in reached),
    )
    high = min(
        other.high - one.low + spread.change(one.low, other.high),
        max(a - b + spread.change(b, a) for b, a in reached),
    )
    value = other.value - one.value
    change = _estimate(before, after, value, (min(low, value), max(high, value)))
    return Difference(change, _ratio(before, after, corners, spread), *_named(before, after))


def _nothing(before: Terms, after: Terms) -> Difference:
    shared = tuple(factor.name for factor in _uncertain(after))
    own = (after.own_source,) if after.own_source and after.own[0] != after.own[2] else ()
    ratio = _estimate(before, after, 1.0, (1.0, 1.0), "1") if before.whole.value else None
    return Difference(_estimate(before, after, 0.0, (0.0, 0.0)), ratio, (*shared, *own), ())


def _corners(before: Terms, after: Terms) -> Iterator[tuple[float, float]]:
    """Before and after for every combination of ends.

    Both are linear in every factor, and their ratio is linear over linear: neither the
    difference nor the ratio has its least or most anywhere but at such a corner.
    """
    factors = list(dict.fromkeys([*_factors(before), *_factors(after)]))
    if len(factors) > _FACTORS:
        yield before.whole.low, after.whole.high
        yield before.whole.high, after.whole.low
        return
    own = tuple(product((before.own[0], before.own[2]), (after.own[0], after.own[2])))
    for ends in product(*((factor.low, factor.high) for factor in factors)):
        taken = dict(zip(factors, ends, strict=True))
        for mine, theirs in own:
            yield _at(before, taken, mine), _at(after, taken, theirs)


def _factors(terms: Terms) -> tuple[Factor, ...]:
    return (*terms.amounts, *([terms.scale] if terms.scale else []))


def _at(terms: Terms, taken: Mapping[Factor, float], own: float) -> float:
    scale = taken[terms.scale] if terms.scale else 1.0
    return scale * math.fsum([own, *(taken[f] * much for f, much in terms.amounts.items())])


def _ratio(
    before: Terms, after: Terms, corners: Sequence[tuple[float, float]], spread: _Spread
) -> Estimate | None:
    """After over before; None where a corner of before is not above zero."""
    if min(before.whole.low, *(b for b, _ in corners)) <= 0 or after.whole.low < 0:
        return None
    value = after.whole.value / before.whole.value
    low = max(min(a / b for b, a in corners), after.whole.low / before.whole.high)
    high = min(max(a / b for b, a in corners), after.whole.high / before.whole.low)
    low, high = min(low, value), max(high, value)
    margin = spread.ratio * value
    return _estimate(before, after, value, (max(0.0, low - margin), high + margin), "1")


def _spread(before: Sequence[float], after: Sequence[float]) -> _Spread:
    """What repeats say about two means: Welch's interval, none without two runs a side."""
    if min(len(before), len(after)) < 2:
        return _Spread()
    errors = [stdev(side) ** 2 / len(side) for side in (before, after)]
    means = [fmean(before), fmean(after)]
    if not any(errors):
        return _Spread()
    from scipy.stats import t

    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(side) - 1) for error, side in zip(errors, (before, after), strict=True)
    )
    reach = float(t.ppf((1 + _SURE) / 2, freedom))
    return _Spread(
        *(reach * math.sqrt(e) / abs(m) if m else 0.0 for e, m in zip(errors, means, strict=True))
    )


def _named(before: Terms, after: Terms) -> tuple[tuple[str, ...], tuple[str, ...]]:
    mine, theirs = _uncertain(before), _uncertain(after)
    shared = [factor.name for factor in mine if factor in theirs]
    alone = [f"{f.name}, only in one of them" for f in (*mine, *theirs) if f.name not in shared]
    own = [side.own_source for side in (before, after) if side.own[0] != side.own[2]]
    return tuple(shared), tuple(dict.fromkeys([*alone, *own]))


def _uncertain(terms: Terms) -> list[Factor]:
    return [factor for factor in _factors(terms) if not factor.is_exact]


def _estimate(
    before: Terms, after: Terms, value: float, ends: tuple[float, float], unit: str = ""
) -> Estimate:
    one, other = before.whole, after.whole
    return Estimate(
        value=value,
        low=ends[0],
        high=ends[1],
        unit=unit or one.unit,
        kind=weakest((one.kind, other.kind)),
        source=_both(one.source, other.source),
        boundary=_both(one.boundary, other.boundary),
    )


def _both(before: str, after: str) -> str:
    return after if before == after else f"before: {before}; after: {after}"
