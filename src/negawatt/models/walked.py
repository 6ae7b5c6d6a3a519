"""A model asked about texts that are known beforehand, a block of it in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import torch

from negawatt.core.errors import UsageError
from negawatt.core.records import Array
from negawatt.models.mapped import Parts
from negawatt.models.quality import Exam
from negawatt.models.walk import Walk


def texts_of(examined: Exam) -> list[Sequence[int]]:
    """What a session is asked when an exam is taken, in order."""
    windows = [[int(token) for token in window[:-1]] for window in examined.windows]
    return [*windows, *(passage.tokens[:-1] for passage in examined.task.passages)]


class WalkedSession:
    """Answers on some texts, in their order; see `negawatt.core.protocols.Session`.

    With the first question all texts go through the model together, block by block. After that
    only what stands behind the blocks is held. A text is asked about from its beginning, in
    pieces of any length, and `reset` goes on to the next one.

    Args:
        parts: The model.
        blocks: Paths of its blocks, in execution order.
        texts: Token numbers, as they will be asked about.
        place: Folder for hidden states that do not fit into memory.
        on_block: Told how many blocks of how many the texts are through.
        room: Bytes of hidden states in memory; a tenth of what is free when None.
    """

    def __init__(  # the last two have defaults for all but tests
        self,
        parts: Parts,
        blocks: Sequence[str],
        texts: Sequence[Sequence[int]],
        place: Path | None = None,
        on_block: Callable[[int, int], None] = lambda done, total: None,
        room: int | None = None,
    ) -> None:
        self._parts, self._blocks = parts, blocks
        self._texts = [np.asarray(text, np.int64) for text in texts]
        self._place, self._room, self._on_block = place, room, on_block
        self._walk: Walk | None = None
        self._open = ExitStack()
        self._text = self._done = 0

    def reset(self) -> None:
        """Go on to the next text, if anything was asked about this one."""
        if self._done:
            self._text, self._done = self._text + 1, 0

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Logits of the last `keep` of the next positions of the present text.

        Raises:
            UsageError: it is another text.
        """
        given = np.asarray(tokens)
        start, stop = self._done, self._done + given.shape[1]
        if (
            self._text >= len(self._texts)
            or given.shape[0] != 1
            or not np.array_equal(self._texts[self._text][start:stop], given[0])
        ):
            raise UsageError("this session was opened for other texts", fix="report this as a bug")
        self._done = stop
        walk = self._behind()
        logits = walk.logits(self._text, stop - (keep or stop - start), stop)
        return np.asarray(logits.float().numpy())

    def _behind(self) -> Walk:
        """All texts behind all blocks."""
        if self._walk is None:
            texts = [torch.from_numpy(text)[None] for text in self._texts]
            walk = Walk(self._parts, self._blocks, texts, place=self._place, room=self._room)
            self._walk = self._open.enter_context(walk)
            while walk.at < len(walk.paths):
                walk.step()
                self._on_block(walk.at, len(walk.paths))
            self._open.enter_context(self._parts.held(*walk.late))
        return self._walk

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Refuse: nothing is written this way."""
        del prompt, max_new, stop
        raise UsageError("a model in parts writes no text", fix="open it with an engine")

    @property
    def memory_bytes(self) -> int:
        """Hidden states in memory. [B]"""
        return 0 if self._walk is None else self._walk.states.held

    def close(self) -> None:
        """Let everything go."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
