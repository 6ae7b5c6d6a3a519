"""Send windows of text through a session and grade what comes back, a slice at a time.

Logits of a whole window in a vocabulary of 50,000 would take 100 MB; here a
session sees at most `CHUNK` tokens at once and a softmax at most `SLICE`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import NumericsGateFailed, TextError
from negawatt.core.protocols import Session
from negawatt.models.cloze import Cloze
from negawatt.models.corpus import Tokens

if TYPE_CHECKING:
    import torch

Progress = Callable[[str, float], None]

CHUNK = 128  # tokens
SLICE = 64  # positions
FLOOR = -60_000.0  # log probabilities are kept in 16 bits, which end at -65,504 [nat]


def scan(
    session: Session, windows: Tokens, progress: Progress | None
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """(window, position, float32 logits [positions, vocabulary]) through every window in turn.

    The logits at position p are for token p + 1; the last token of a window is
    only ever predicted.
    """
    import torch

    if windows.ndim != 2 or windows.shape[1] < 2 or len(windows) == 0:
        raise TextError("there is no text to score", fix="give windows of at least two tokens")
    length = windows.shape[1] - 1
    for number, window in enumerate(windows):
        session.reset()
        for start in range(0, length, CHUNK):
            part = window[None, start : min(start + CHUNK, length)]
            logits = np.asarray(session.forward(part), np.float32)[0]
            if not logits.flags.writeable:  # torch takes only memory it may write to
                logits = logits.copy()
            yield number, start, torch.from_numpy(logits)
        if progress:
            progress("scoring text", (number + 1) / len(windows))


def grade(
    logits: torch.Tensor, targets: Tokens
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Negative log-likelihood of the targets [nat] and the first choices.

    Args:
        logits: float32, [positions, vocabulary].
        targets: int64, [positions].

    Raises:
        NumericsGateFailed: the logits are not numbers.
    """
    import torch

    nll, tops = np.empty(len(logits), np.float32), np.empty(len(logits), np.int32)
    wanted = torch.from_numpy(np.ascontiguousarray(targets))
    for start in range(0, len(logits), SLICE):
        rows = logits[start : start + SLICE]
        picked = rows.gather(1, wanted[start : start + SLICE, None])[:, 0]
        nll[start : start + SLICE] = (rows.logsumexp(-1) - picked).numpy()
        tops[start : start + SLICE] = rows.argmax(-1).numpy()
    if not np.isfinite(nll).all():
        raise NumericsGateFailed(
            "the engine returned logits that are not numbers",
            fix="use another format or engine for this model",
        )
    return nll, tops


def ready() -> None:
    """Bring in what scoring needs, so that its memory is not taken for a model's."""
    import torch

    rows = torch.zeros(2, 8)
    grade(rows, np.zeros(2, np.int64))
    divergence(log_probabilities(rows), rows)


def log_probabilities(logits: torch.Tensor) -> npt.NDArray[np.float16]:
    """The distributions of [positions, vocabulary] logits, as they are kept. [nat]

    Logarithms of probabilities, unlike raw logits, are near zero where the
    weight is, which is where 16-bit floats are fine.
    """
    kept: npt.NDArray[np.float16] = (
        logits.log_softmax(-1).clamp_min(FLOOR).numpy().astype(np.float16)
    )
    return kept


def divergence(kept: npt.NDArray[np.float16], logits: torch.Tensor) -> npt.NDArray[np.float32]:
    """KL(base || variant) at each position, the base as `log_probabilities` kept it. [nat]"""
    import torch

    parts = []
    for start in range(0, len(logits), SLICE):
        held = torch.from_numpy(np.array(kept[start : start + SLICE]))
        base = held.float().log_softmax(-1)  # rounding left the sum a little off one
        other = logits[start : start + SLICE].log_softmax(-1).clamp_min(FLOOR)
        parts.append((base.exp() * (base - other)).sum(-1).numpy())
    found: npt.NDArray[np.float32] = np.concatenate(parts)
    return found


def guesses(session: Session, task: Cloze) -> int:
    """How many passages end in the session's own first choices."""
    right = 0
    for passage in task.passages:
        session.reset()
        tokens = np.asarray(passage.tokens, np.int64)
        logits = np.asarray(session.forward(tokens[None, :-1], keep=passage.answer))[0]
        right += bool((logits.argmax(-1) == tokens[-passage.answer :]).all())
    return right
