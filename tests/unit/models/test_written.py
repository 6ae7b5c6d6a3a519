"""Writing token by token: what one session says is compared with another at every position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from negawatt.core.errors import NumericsGateFailed, TextError
from negawatt.models.written import written

WORDS = 16


class Parrot:
    """Logits that hang on the last token and on how many came before it."""

    def __init__(self, blur: float = 0.0, seed: int = 0) -> None:
        self.table = np.random.default_rng(seed).normal(size=(WORDS, WORDS))
        self.blur, self.random = blur, np.random.default_rng(1)
        self.seen, self.shapes = 0, set[tuple[int, ...]]()

    def reset(self) -> None:
        self.seen = 0

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        self.shapes.add(tokens.shape)
        self.seen += 1
        noise = self.blur * self.random.normal(size=WORDS)
        return (self.table[tokens[:, -1]] + 0.01 * self.seen + noise)[:, None].astype(np.float32)


def windows(rows: int = 3, length: int = 129) -> Any:
    return np.random.default_rng(2).integers(0, WORDS, (rows, length))


def test_a_session_loses_nothing_beside_itself_and_a_blurred_one_diverges() -> None:
    told: list[float] = []
    sessions: Any = {"16": Parrot(), "same": Parrot(), "4": Parrot(blur=0.5)}
    found = written(sessions, windows(), "16", lambda _, share: told.append(share))
    assert found["16"].loss.value == found["16"].kl.value == 0.0
    assert found["same"].loss.value == 0.0
    assert found["4"].kl.low > 0.02
    assert found["4"].loss.low <= found["4"].loss.value <= found["4"].loss.high
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    assert all(one.shapes == {(1, 1)} for one in sessions.values())  # never read at once


def test_the_divergence_is_that_of_the_formula() -> None:
    one, other = Parrot(), Parrot(seed=9)
    text = windows(2, 65)
    found = written({"a": one, "b": other}, text, "a")  # type: ignore[dict-item]

    def log_softmax(x: Any) -> Any:
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    p, q = log_softmax(one.table), log_softmax(other.table)
    expected = (np.exp(p) * (p - q)).sum(-1)[text[:, :-1]].mean()
    assert found["b"].kl.value == pytest.approx(expected, rel=1e-5)
    change = (p - q)[text[:, :-1], text[:, 1:]].mean()
    assert found["b"].loss.value == pytest.approx(np.expm1(change), rel=1e-5)


def test_what_is_no_number_is_said_so() -> None:
    class Broken(Parrot):
        def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
            return super().forward(tokens) * np.nan

    with pytest.raises(NumericsGateFailed, match="cache"):
        written({"16": Parrot(), "4": Broken()}, windows(), "16")  # type: ignore[dict-item]


def test_no_text_is_refused() -> None:
    with pytest.raises(TextError, match="two tokens"):
        written({"16": Parrot()}, windows(1, 1), "16")  # type: ignore[dict-item]
