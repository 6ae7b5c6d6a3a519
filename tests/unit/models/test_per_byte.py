"""Loss over the bytes of a text: the same text, whatever tokens it is cut into."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from negawatt.core.errors import TextError
from negawatt.models.per_byte import openings, per_byte, surprise

TEXTS = ["abcdefgh", "grün und gut", "abcdabcd"]


class Chunks:
    """A tokenizer that cuts a text every few letters."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, text: str, **_: Any) -> dict[str, list[Any]]:
        starts = range(0, len(text), self.size)
        places = [(at, min(at + self.size, len(text))) for at in starts]
        return {"input_ids": [ord(text[at]) % 7 for at in starts], "offset_mapping": places}


class Guess:
    """A session that finds every one of seven tokens as likely."""

    def reset(self) -> None:
        pass

    def forward(self, tokens: np.ndarray) -> np.ndarray:
        return np.zeros((*tokens.shape, 7), np.float32)


def test_both_are_asked_for_the_same_letters() -> None:
    coarse, fine = Chunks(4), Chunks(2)
    given = openings(coarse, TEXTS)
    assert given == [4, 4, 4]
    base, other = (
        surprise(Guess(), cutter, TEXTS, given)  # type: ignore[arg-type]
        for cutter in (coarse, fine)
    )
    assert base.bytes.tolist() == other.bytes.tolist() == [4, 8, 4]
    assert base.tokens.tolist() == [1, 2, 1]
    assert other.tokens.tolist() == [2, 4, 2]  # not the one that base was given
    assert other.nats == pytest.approx(other.tokens * math.log(7))
    found = per_byte(base, other, "three texts")
    assert found.base == pytest.approx(4 * math.log2(7) / 16)
    assert found.value == pytest.approx(2 * found.base)
    assert found.change.value == pytest.approx(1.0)
    assert found.longer == pytest.approx(1.0)
    assert found.loss.value == pytest.approx(6.0)  # twice the surprise: 49 instead of 7


def test_a_model_loses_nothing_on_itself() -> None:
    one = surprise(Guess(), Chunks(2), TEXTS, openings(Chunks(2), TEXTS))  # type: ignore[arg-type]
    found = per_byte(one, one, "")
    assert (found.change.value, found.loss.value, found.longer) == (0.0, 0.0, 0.0)


def test_a_text_of_one_token_is_refused() -> None:
    with pytest.raises(TextError, match="too short"):
        surprise(Guess(), Chunks(8), ["abc"], [0])  # type: ignore[arg-type]
