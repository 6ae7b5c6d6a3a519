"""What a variant loses on every slice of a text, paired with its base."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from negawatt.core.estimate import Estimate
from negawatt.models.agreement import estimate
from negawatt.models.interval import BLOCK, block_moments, student, wilson
from negawatt.models.likeness import Answers, answers, distances, likeness
from negawatt.models.probes import Slice
from negawatt.models.quality import Exam, Reference, marks, reference

if TYPE_CHECKING:
    from negawatt.core.protocols import Session
    from negawatt.models.encoder import Ending

_KL_TOKENS = 1024  # of a slice, whose whole distribution is kept
_SOURCE = "paired with the base, 95 % Student t over blocks of text"
_MOST = 700.0  # nat; the exponential of more is no float


@dataclass(frozen=True, slots=True)
class Scored:
    """What was lost on one slice; see `negawatt.models.agreement.SliceLoss`.

    Args:
        loss: Relative change of perplexity, or the distance of an encoder's answers. [1]
        kl: Mean divergence of a decoder. [nat/token]
        same: Share of the same answers. [1]
        tokens: Scored.
        moments: Mean, variance of the mean and its degrees of freedom, of the loss that slices are
            compared by. [nat/token, or of `loss`]
        kl_moments: The same of the divergence.
    """

    loss: Estimate
    kl: Estimate | None
    same: Estimate
    tokens: int
    moments: tuple[float, float, int]
    kl_moments: tuple[float, float, int] | None = None


def keep_base(
    session: Session,
    slices: Sequence[Slice],
    work: Path,
    key: str,
    progress: Callable[[float], None],
) -> list[Reference]:
    """Let a decoder read every slice, and keep on disk what it says."""
    return [
        reference(
            session,
            Exam(one.windows, one.told),
            work / f"slice-{i}",
            _KL_TOKENS,
            key=key,
            progress=_named(progress, i, len(slices)),
        )
        for i, one in enumerate(slices)
    ]


def score_decoder(
    session: Session, base: Sequence[Reference], progress: Callable[[float], None]
) -> tuple[Scored, ...]:
    """What a variant loses on every slice, token by token against the base."""
    found = []
    for i, one in enumerate(base):
        said = marks(session, one, progress=_named(progress, i, len(base)))
        change = said.nll.astype(np.float64) - one.nll
        moments, apart = block_moments(change), block_moments(said.kl)
        agreed = wilson(int((said.tops == one.tops).sum()), said.tops.size)
        found.append(
            Scored(
                loss=estimate(
                    *(math.expm1(min(x, _MOST)) for x in _ends(*moments)), source=_SOURCE
                ),
                kl=estimate(
                    *(max(0.0, x) for x in _ends(*apart)), unit="nat/token", source=_SOURCE
                ),
                same=estimate(*agreed, source="95 % Wilson"),
                tokens=said.nll.size,
                moments=moments,
                kl_moments=apart,
            )
        )
    return tuple(found)


def answer(
    session: Session,
    slices: Sequence[Slice],
    tokenizer: Any,
    about: tuple[Ending, str],
    progress: Callable[[float], None],
) -> list[Answers]:
    """What an encoder says of every slice."""
    return [
        answers(
            session,
            one.windows,
            (),
            tokenizer,
            about,
            partial(_part, progress, i, len(slices)),
        )
        for i, one in enumerate(slices)
    ]


def score_encoder(
    base: Sequence[Answers], variant: Sequence[Answers], slices: Sequence[Slice], kind: Ending
) -> tuple[Scored, ...]:
    """How far an encoder's answers have moved on every slice."""
    found = []
    for one, other, part in zip(base, variant, slices, strict=True):
        moved = distances(one, other, kind)
        told = likeness(one, other, (), (kind, "", part.windows.size, part.told))
        block = BLOCK if kind == "tokens" else 1
        moments = block_moments(moved[None], block=block)
        found.append(
            Scored(
                loss=estimate(*_ends(*moments), source=_SOURCE),
                kl=None,
                same=told.same,
                tokens=part.windows.size,
                moments=moments,
            )
        )
    return tuple(found)


def _part(progress: Callable[[float], None], i: int, count: int, share: float) -> None:
    """The share of all slices that is done, when `share` of one is."""
    progress((i + share) / count)


def _named(progress: Callable[[float], None], i: int, count: int) -> Callable[[str, float], None]:
    return lambda _, share: _part(progress, i, count, share)


def _ends(mean: float, variance: float, freedom: int) -> tuple[float, float, float]:
    margin = student(freedom) * math.sqrt(variance)
    return mean, mean - margin, mean + margin
