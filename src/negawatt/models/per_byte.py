"""How well a model writes a text when it cuts it into other tokens than its base.

Perplexity counts per token, and says nothing across tokenizers: with shorter tokens each one is
easier to guess. So both models read the same characters, each in tokens of its own, and what
they are surprised by is set over the bytes of the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from negawatt.core.errors import TextError
from negawatt.core.estimate import Estimate, Kind
from negawatt.models.scoring import grade, scan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from negawatt.core.protocols import Session

_RESAMPLES = 1000  # of the bootstrap
_MOST = 700.0  # nat; the exponential of more is no float


@dataclass(frozen=True, slots=True)
class PerByte:
    """What a model loses on a text, whatever its tokens."""

    base: float  # [bit/byte]
    value: float  # [bit/byte]
    change: Estimate  # value / base - 1, paired by text [1]
    loss: Estimate  # the same as perplexity for each token of the base, over its own - 1 [1]
    longer: float  # tokens for the text, over those of the base, - 1 [1]
    tokens: int  # of the base
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Surprise:
    """What one model made of some texts."""

    nats: NDArray[np.float64]  # [texts]
    tokens: NDArray[np.int64]  # [texts], those that were to be guessed
    bytes: NDArray[np.int64]  # [texts], in those


def texts_of(tokenizer: Any, windows: NDArray[np.int64]) -> list[str]:
    """Windows as texts, without letters that were cut apart at their ends."""
    texts = tokenizer.batch_decode(windows.tolist(), skip_special_tokens=True)
    return [str(one).strip("\ufffd") for one in texts]


def openings(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Where the second token of each text begins: what stands before is given. [characters]"""
    return [int(_cut(tokenizer, one)[1][0, 1]) for one in texts]


def surprise(
    session: Session,
    tokenizer: Any,
    texts: Sequence[str],
    given: Sequence[int],
    progress: Callable[[float], None] = lambda share: None,
) -> Surprise:
    """Let a model read texts in its own tokens.

    Args:
        session: Opened; it is reset, not closed.
        tokenizer: Of the model.
        texts: To be read.
        given: Characters of each that need not be guessed, from `openings` of the base.
        progress: Told the share done.

    Raises:
        NumericsGateFailed: the session returned something that is no number.
        TextError: a text has nothing to guess.
    """
    nats, tokens, sizes = [], [], []
    for number, (text, start) in enumerate(zip(texts, given, strict=True)):
        ids, places = _cut(tokenizer, text)
        if len(ids) < 2:
            raise TextError("a text of one token is too short to score", fix="give a longer --text")
        nll = np.concatenate(
            [
                grade(part, ids[at + 1 : at + 1 + len(part)])[0]
                for _, at, part in scan(session, ids[None], None)
            ]
        )
        guessed = places[1:, 0] >= start
        nats.append(float(nll[guessed].astype(np.float64).sum()))
        tokens.append(int(guessed.sum()))
        sizes.append(len(text[start:].encode()))
        progress((number + 1) / len(texts))
    return Surprise(np.array(nats), np.array(tokens), np.array(sizes))


def _cut(tokenizer: Any, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens [tokens] of a text and the characters each stands for, [tokens, 2]."""
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return np.array(told["input_ids"], np.int64), np.array(told["offset_mapping"], np.int64)


def per_byte(base: Surprise, variant: Surprise, text: str) -> PerByte:
    """Set what a variant made of texts beside what its base made of them.

    >>> one = Surprise(np.array([8.0, 12.0]), np.array([4, 6]), np.array([20, 30]))
    >>> two = Surprise(np.array([8.8, 13.2]), np.array([8, 12]), np.array([20, 30]))
    >>> found = per_byte(one, two, "a text")
    >>> round(found.change.value, 3), round(found.loss.value, 3), found.longer
    (0.1, 0.221, 1.0)
    """
    draw = np.random.default_rng(0)
    picked = draw.integers(0, len(base.nats), (_RESAMPLES, len(base.nats)))

    def figures(at: NDArray[np.int64] | slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first, second = base.nats[at].sum(-1), variant.nats[at].sum(-1)
        lost = (second - first) / base.tokens[at].sum(-1)
        return second / first - 1, np.expm1(np.minimum(lost, _MOST))

    spread, values = figures(picked), figures(slice(None))
    change, loss = (
        _estimate(float(value), *np.quantile(one, [0.025, 0.975]))
        for value, one in zip(values, spread, strict=True)
    )
    longer = float(variant.tokens.sum() / base.tokens.sum() - 1)
    return PerByte(_bits(base), _bits(variant), change, loss, longer, int(base.tokens.sum()), text)


def _bits(one: Surprise) -> float:
    return float(one.nats.sum() / one.bytes.sum() / math.log(2))


def _estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        unit="1",
        kind=Kind.MEASURED,
        source="95 % bootstrap over texts, paired",
        boundary="model",
    )
