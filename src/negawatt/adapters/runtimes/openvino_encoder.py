"""A loaded encoder: one compiled graph, and no cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from negawatt.adapters.runtimes.decoding import checked
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_graph import config
from negawatt.adapters.runtimes.openvino_inputs import AS_NUMBERS, adds_up, rounds_inputs
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Array


class OpenVinoEncoder:
    """A loaded encoder; see `negawatt.core.protocols.Session`.

    `forward` returns what the model ends in, float32: hidden states or logits of every
    position, [batch, new, width], or of the whole text, [batch, 1, labels].

    Args:
        core: The engine.
        graph: The artifact's graph.
        options: Threads and precision; there is one kind of step.
        memory_bytes: Weights as stored. [B]

    Raises:
        RuntimeUnavailable: the engine cannot compile the graph.
    """

    def __init__(self, core: ov.Core, graph: Path, options: RunOptions, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        try:
            read = core.read_model(graph)
            chosen = config(options)
            if rounds_inputs(read) and not adds_up():
                chosen |= AS_NUMBERS
            model = core.compile_model(read, "CPU", chosen)
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot load {graph}: {error}", fix="convert the model again"
            ) from error
        self._request: ov.InferRequest | None = model.create_infer_request()

    def reset(self) -> None:
        """Nothing is kept between calls."""
        self._live()

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Read `tokens`; the last `keep` positions of what comes out."""
        request = self._live()
        given, keep = checked(tokens, 0, keep)
        asked = {"tokens": np.ascontiguousarray(given), "mask": np.ones_like(given)}
        found = request.infer(asked, share_inputs=True)
        return np.array(next(iter(found.values()))[:, -keep:], dtype=np.float32)

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Refuse: an encoder writes nothing."""
        raise UsageError("an encoder writes no text", fix="give a model that does, a decoder")

    @property
    def memory_bytes(self) -> int:
        """Weights of the artifact as stored, scales and zero points counted. [B]"""
        return self._memory_bytes

    def close(self) -> None:
        """Free the engine's memory."""
        self._request = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _live(self) -> ov.InferRequest:
        if self._request is None:
            raise UsageError("this session is closed", fix="open the artifact again")
        return self._request
