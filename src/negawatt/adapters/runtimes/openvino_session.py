"""A loaded model: one cache, held by whichever compiled graph suits the next input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from negawatt.adapters.runtimes.decoding import checked, greedy
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_graph import CompiledGraph, movable
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Array


class OpenVinoSession:
    """A loaded model; see `negawatt.core.protocols.Session`.

    Up to two graphs are compiled: one for inputs of any size, and one for a single
    new position, which takes less time a token and holds the packed weights once
    more. `options.steps` says which of them there are:

    - "any": the first at once, the second at the first input of one position. The
      cache is moved from one to the other when the inputs change.
    - "read": the first alone.
    - "write": the second alone; longer inputs are read one position at a time.

    The second is compiled for the batch it meets, and again when another one comes.
    A cache with numbers of 4 bits cannot be moved (OpenVINO 2026.4 ends the process), so
    there "any" has the first alone as well.

    Args:
        core: The engine.
        graph: The artifact's graph.
        options: Threads, precision and steps.
        memory_bytes: Weights as stored. [B]

    Raises:
        RuntimeUnavailable: the engine cannot compile the graph.
    """

    def __init__(self, core: ov.Core, graph: Path, options: RunOptions, memory_bytes: int) -> None:
        if options.steps == "any" and options.cache != "own" and not movable(options.cache):
            options = replace(options, steps="read")
        self._core, self._path, self._options = core, graph, options
        self._memory_bytes = memory_bytes
        writes = options.steps == "write"
        self._free = None if writes else CompiledGraph(core, graph, options)
        # At once, so that an artifact that does not load fails where it is opened.
        self._fixed = CompiledGraph(core, graph, options, batch=1) if writes else None
        self._holder: CompiledGraph | None = None  # whose cache is the session's; None when empty
        self._seen = 0  # tokens in the cache
        self._batch = 0  # 0 until the first call
        self._closed = False

    def reset(self) -> None:
        """Forget the cache."""
        self._check_open()
        for graph in (self._free, self._fixed):
            if graph is not None:
                graph.reset()
        self._holder, self._seen, self._batch = None, 0, 0

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append `tokens` and return logits of the last `keep` positions."""
        self._check_open()
        given, keep = checked(tokens, self._batch, keep)
        new = given.shape[1]
        if new == 1 or self._free is not None:
            return self._append(given, keep)
        for i in range(new - keep):
            self._append(given[:, i : i + 1], 1)
        each = [self._append(given[:, i : i + 1], 1) for i in range(new - keep, new)]
        return np.concatenate(each, axis=1)

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Reset, read `prompt`, and yield greedy tokens."""
        return greedy(self, prompt, max_new=max_new, stop=stop)

    @property
    def memory_bytes(self) -> int:
        """Weights of the artifact as stored, scales and zero points counted. [B]"""
        return self._memory_bytes

    def close(self) -> None:
        """Free the engine's memory."""
        self._free = self._fixed = self._holder = None
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _append(self, tokens: npt.NDArray[np.int64], keep: int) -> npt.NDArray[np.float32]:
        """One call of the engine; see `CompiledGraph.forward`."""
        batch, new = tokens.shape
        graph = self._free
        if graph is None or (new == 1 and self._options.steps == "any"):
            graph = self._for_one_position(batch)
        if self._holder not in {None, graph}:
            graph.take_cache(self._holder)
        self._holder = graph
        logits = graph.forward(np.ascontiguousarray(tokens), self._seen, keep)
        self._seen, self._batch = self._seen + new, batch
        return logits

    def _for_one_position(self, batch: int) -> CompiledGraph:
        if self._fixed is None or self._fixed.batch != batch:
            # The batch changes with an empty cache only, so nothing is lost; and what
            # the old graph holds is freed before the new one packs its weights.
            self._fixed = None
            self._fixed = CompiledGraph(self._core, self._path, self._options, batch)
        return self._fixed

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this session is closed", fix="open the artifact again")
