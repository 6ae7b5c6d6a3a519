"""How alike two models decide: plain values, and the statistics between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from negawatt.core.estimate import Estimate, Kind
from negawatt.models.attribution import METHODS, Attributed, Method, Values
from negawatt.models.interval import resampled_mean, wilson
from negawatt.models.probes import Probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TOP = 5  # tokens that matter most
_SOURCE = "95 % bootstrap over decisions"


@dataclass(frozen=True, slots=True)
class Likewise:
    """How alike two sets of attributions are.

    Args:
        rank: Spearman's correlation over the tokens of a text, mean over texts. [1]
        top: Share of the five largest attributions that are on the same tokens, likewise. [1]
    """

    rank: Estimate
    top: Estimate


@dataclass(frozen=True, slots=True)
class Agreement:
    """One way of attributing, and how alike base and variant come out by it.

    Args:
        method: Which.
        variant: Base and variant.
        yardstick: The base in float32 and in bfloat16: what rounding in computing alone does.
        elsewhere: The base on one text and on another: what the place of a token alone explains.
        shuffled: The base and its own values in random order: what chance gives.
        lost: Rank correlation of the variant less that of the yardstick, paired. [1]
        slices: Rank correlation of base and variant in every slice of text. [1]
        gap: Share of the output's change that the attributions do not add up to, median over
            texts and the worse of the two models; 0 for a way that does not add up. [1]
    """

    method: Method
    variant: Likewise
    yardstick: Likewise
    elsewhere: Likewise
    shuffled: Likewise
    lost: Estimate
    slices: Mapping[str, Estimate]
    gap: float


@dataclass(frozen=True, slots=True)
class Example:
    """One decision to look at.

    Args:
        slice: Where the text is from.
        tokens: What was read, as text.
        choice: What the base chose, as text; empty where nothing is chosen.
        own: What the variant would choose.
        base: Integrated gradients of the base. [nat or 1]
        variant: Of the variant. [nat or 1]
        rank: Spearman's correlation of the two. [1]
    """

    slice: str
    tokens: tuple[str, ...]
    choice: str
    own: str
    base: Values
    variant: Values
    rank: float


@dataclass(frozen=True, slots=True)
class SliceLoss:
    """What the variant loses on one slice of text.

    Args:
        name: Of the slice.
        told: What it consists of.
        tokens: Scored.
        loss: Relative change of perplexity, paired; for an encoder how far what it says has moved,
            1 - cosine or nats. [1]
        kl: From the base to the variant; None for vectors. [nat/token]
        same: Share of tokens (of texts) with the same first choice (nearest other text). [1]
        excess: By how much the mean loss of a token here is above the mean over slices, with its
            95 % interval. [nat/token, or of `loss` for an encoder]
        p: That so large an excess comes by chance, corrected after Holm for the number of slices;
            None when there is one slice. [1]
        kl_p: The same for an excess of the divergence, which moves where the loss does not show
            it: on text that the base itself does not follow. [1]
    """

    name: str
    told: str
    tokens: int
    loss: Estimate
    kl: Estimate | None
    same: Estimate
    excess: Estimate | None = None
    p: float | None = None
    kl_p: float | None = None


@dataclass(frozen=True, slots=True)
class Agreed:
    """Whether a variant decides as its base does, and whom its losses hit."""

    base: str
    variant: str
    architecture: str
    measure: str  # what `loss` of a slice is
    same_choice: Estimate | None  # share of the decisions looked at; None where nothing is chosen
    agreements: tuple[Agreement, ...]
    slices: tuple[SliceLoss, ...]
    examples: tuple[Example, ...]
    decisions: int
    context: int  # tokens read for each decision
    seconds: float  # by the wall [s]
    notes: tuple[str, ...]


def agreements(
    probes: Sequence[Probe], base: Attributed, narrow: Attributed, variant: Attributed, seed: int
) -> tuple[Agreement, ...]:
    """Set the attributions of three models beside each other.

    Args:
        probes: The decisions.
        base: Of the base, in float32.
        narrow: Of the base, computed in bfloat16.
        variant: Of the variant, in float32.
        seed: Of the shuffles.
    """
    draw = np.random.default_rng(seed)
    found = []
    for method in METHODS:
        first = base.by(method)
        shuffled = tuple(tuple(draw.permutation(one).tolist()) for one in first)
        elsewhere = (*first[1:], first[0])
        ranks = _ranks(first, variant.by(method))
        yardstick = _ranks(first, narrow.by(method))
        gaps = [float(np.median(one.gaps)) for one in (base, variant)]
        found.append(
            Agreement(
                method=method,
                variant=_likewise(first, variant.by(method)),
                yardstick=_likewise(first, narrow.by(method)),
                elsewhere=_likewise(first, elsewhere),
                shuffled=_likewise(first, shuffled),
                lost=_mean(ranks - yardstick),
                slices={
                    name: _mean(ranks[[i for i, one in enumerate(probes) if one.slice == name]])
                    for name in dict.fromkeys(one.slice for one in probes)
                },
                gap=max(gaps) if method == "gradients" else 0.0,
            )
        )
    return tuple(found)


def same_choice(base: Attributed, variant: Attributed) -> Estimate:
    """Share of decisions that come out alike."""
    same = sum(one == other for one, other in zip(base.choices, variant.choices, strict=True))
    return estimate(*wilson(same, len(base.choices)), source="95 % Wilson")


def rank(one: Values, other: Values) -> float:
    """Spearman's correlation; 0 where one of them tells no token from another.

    >>> rank((0.1, 0.2, 0.9), (1.0, 3.0, 7.0)), rank((1.0, 1.0), (0.0, 1.0))
    (1.0, 0.0)
    """
    from scipy.stats import rankdata

    first, second = (rankdata(values) for values in (one, other))
    spread = float(first.std() * second.std())
    if spread == 0.0:
        return 0.0
    shared = float(((first - first.mean()) * (second - second.mean())).mean())
    return round(shared / spread, 12)


def overlap(one: Values, other: Values, count: int = _TOP) -> float:
    """Share of the `count` tokens of largest size in one that are so in the other.

    >>> overlap((5.0, -4.0, 0.1, 0.0), (3.0, 0.0, -2.0, 0.1), count=2)
    0.5
    """
    count = min(count, len(one))
    first, second = (set(np.argsort(-np.abs(values))[:count]) for values in (one, other))
    return len(first & second) / count


def _likewise(one: Sequence[Values], other: Sequence[Values]) -> Likewise:
    tops = np.array([overlap(*pair) for pair in _paired(one, other)])
    return Likewise(_mean(_ranks(one, other)), _mean(tops))


def _ranks(one: Sequence[Values], other: Sequence[Values]) -> Floats:
    return np.array([rank(*pair) for pair in _paired(one, other)])


def _paired(one: Sequence[Values], other: Sequence[Values]) -> list[tuple[Values, Values]]:
    """Attributions of the same places; other texts may be shorter."""
    pairs = zip(one, other, strict=True)
    return [(a[: min(len(a), len(b))], b[: min(len(a), len(b))]) for a, b in pairs]


def _mean(values: Floats) -> Estimate:
    return estimate(*resampled_mean(values), source=_SOURCE)


def estimate(value: float, low: float, high: float, *, unit: str = "1", source: str) -> Estimate:
    """A measured figure of a model."""
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit=unit,
        kind=Kind.MEASURED,
        source=source,
        boundary="model",
    )
