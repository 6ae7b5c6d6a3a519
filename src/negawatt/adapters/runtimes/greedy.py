"""The greedy loop every session shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.records import Array


class Steps(Protocol):
    """What the loop needs of a session."""

    def reset(self) -> None:
        """Forget the cache."""

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append tokens and return logits, float32 [batch, keep, vocabulary]."""


def greedy(
    steps: Steps, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
) -> Iterator[int]:
    """Reset `steps`, read `prompt`, and yield the likeliest token until `stop` or `max_new`.

    The first forward pass runs when the first token is asked for, and none runs
    after the last, so closing the iterator leaves no work behind.

    Raises:
        UsageError: the prompt is empty.
    """
    if not prompt:
        raise UsageError("the prompt holds no token", fix="begin with the model's start token")
    return _greedy(steps, prompt, max_new, frozenset(stop))


def _greedy(
    steps: Steps, prompt: Sequence[int], max_new: int, stop: frozenset[int]
) -> Iterator[int]:
    steps.reset()
    tokens = np.asarray([prompt], dtype=np.int64)
    for _ in range(max_new):
        token = int(steps.forward(tokens, keep=1)[0, -1].argmax())
        if token in stop:
            return
        yield token
        tokens = np.array([[token]], dtype=np.int64)
