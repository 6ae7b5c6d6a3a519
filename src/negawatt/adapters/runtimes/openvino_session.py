"""A compiled OpenVINO graph with its cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from negawatt.adapters.runtimes.decoding import checked, greedy
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Array


def config(options: RunOptions) -> dict[str, object]:
    """The engine's settings for `options`."""
    chosen: dict[str, object] = {
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Two sessions pinned to the same core would wait for one another.
        "ENABLE_CPU_PINNING": False,
        "ENABLE_MMAP": True,
    }
    if options.precision == "exact":
        chosen |= {
            "INFERENCE_PRECISION_HINT": "f32",
            "KV_CACHE_PRECISION": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }
    return chosen


class OpenVinoSession:
    """A loaded model; see `negawatt.core.protocols.Session`."""

    def __init__(self, core: ov.Core, graph: Path, options: RunOptions, memory_bytes: int) -> None:
        try:
            self._model: ov.CompiledModel | None = core.compile_model(graph, "CPU", config(options))
            self._request: ov.InferRequest | None = self._model.create_infer_request()
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot load {graph}: {error}", fix="convert the model again"
            ) from error
        self._vocabulary = self._model.output("logits").get_partial_shape()[2].get_length()
        self._memory_bytes = memory_bytes
        self._seen = 0  # tokens in the cache
        self._batch = 0  # 0 until the first call

    def reset(self) -> None:
        """Forget the cache."""
        self._live().reset_state()
        self._seen = self._batch = 0

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append `tokens` and return logits of the last `keep` positions."""
        request = self._live()
        given, keep = checked(tokens, self._batch, keep)
        batch, new = given.shape
        seen = self._seen + new
        # Room of the caller's own: the engine writes into it and nothing is copied.
        logits = np.empty((batch, keep, self._vocabulary), dtype=np.float32)
        request.set_output_tensor(ov.Tensor(logits, shared_memory=True))
        request.infer(
            {
                "tokens": given,
                "mask": np.ones((batch, seen), dtype=np.int64),
                "positions": np.tile(np.arange(self._seen, seen, dtype=np.int64), (batch, 1)),
                "keep": np.arange(new - keep, new, dtype=np.int64),
                "beam_idx": np.arange(batch, dtype=np.int32),
            },
            share_inputs=True,
            share_outputs=True,
        )
        self._seen, self._batch = seen, batch
        return logits

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
        self._request = None
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _live(self) -> ov.InferRequest:
        if self._request is None:
            raise UsageError("this session is closed", fix="open the artifact again")
        return self._request
