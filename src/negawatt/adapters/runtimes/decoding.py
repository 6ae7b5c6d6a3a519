"""What every session does alike: check what it is given, and decode greedily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import UsageError
from negawatt.core.records import Array


def checked(tokens: Array, batch: int, keep: int | None) -> tuple[npt.NDArray[np.int64], int]:
    """The tokens as int64 [batch, new], and for how many of the last positions logits are due.

    Args:
        tokens: What `forward` was given.
        batch: Sequences in the cache; 0 when it is empty.
        keep: What `forward` was given.

    Raises:
        UsageError: the shape is not [batch, new] with something in it, the batch
            size changed without a reset, or `keep` is below 1.
    """
    given = np.ascontiguousarray(tokens, dtype=np.int64)
    if given.ndim != 2 or not given.size or batch not in {0, given.shape[0]}:
        raise UsageError(
            f"tokens of shape {list(given.shape)} cannot follow a batch of {batch}",
            fix="pass [batch, new] with at least one token, or reset first",
        )
    if keep is not None and keep < 1:
        raise UsageError(f"keep={keep} asks for no logits", fix="keep at least 1, or None for all")
    new = given.shape[1]
    return given, new if keep is None else min(keep, new)


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
