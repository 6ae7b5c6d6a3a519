"""A loaded ONNX encoder: one graph, and no cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from negawatt.adapters.runtimes.decoding import checked
from negawatt.adapters.runtimes.onnx_session import OnnxSession
from negawatt.core.errors import UsageError
from negawatt.core.records import Array


class OnnxEncoder(OnnxSession):
    """A loaded encoder: no cache, and every call reads a text of its own.

    `forward` returns what the model ends in, float32: hidden states or logits of every
    position, [batch, new, width], or of the whole text, [batch, 1, labels].
    """

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Read `tokens`; the last `keep` positions of what comes out."""
        session = self._live()
        given, keep = checked(tokens, 0, keep)
        (found,) = session.run(None, {"tokens": given, "mask": np.ones_like(given)})
        return np.asarray(found[:, -keep:], dtype=np.float32)

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Refuse: an encoder writes nothing."""
        raise UsageError("an encoder writes no text", fix="give a model that does, a decoder")
