"""An ONNX model whose cache goes from call to call as it lies in the engine's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from negawatt.adapters.runtimes.decoding import checked, greedy
from negawatt.adapters.runtimes.onnx_engine import engine, settings
from negawatt.adapters.runtimes.onnx_graph import with_accuracy
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Array

#: How products of codes are computed: with float32 inputs, or with inputs rounded to 8 bits.
_EXACT, _FAST = 1, 4


class OnnxSession:
    """A loaded model; see `negawatt.core.protocols.Session`.

    One graph serves long inputs and single tokens, so `RunOptions.steps` changes nothing.
    16-bit weights are widened to float32 once, when the graph is loaded; in doing so the engine
    holds them several times over. Where time does not count (`lean`, or exact precision) each is
    widened when it is multiplied with, and let go.

    Args:
        folder: The artifact.
        options: Threads and precision.
        memory_bytes: Weights as stored. [B]

    Raises:
        RuntimeUnavailable: the engine cannot load it.
    """

    def __init__(self, folder: Path, options: RunOptions, memory_bytes: int) -> None:
        told = settings(options)
        told.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder)
        )
        left_out = ["ConstantFolding"] if options.lean or options.precision == "exact" else []
        graph = with_accuracy(folder, _EXACT if options.precision == "exact" else _FAST)
        try:
            self._session: Any = engine().InferenceSession(
                graph, told, providers=["CPUExecutionProvider"], disabled_optimizers=left_out
            )
        except Exception as error:  # the engine has a class of its own for every reason
            raise RuntimeUnavailable(
                f"ONNX Runtime cannot load {folder.name}: {error}",
                fix="try another version of onnxruntime, or convert the model again",
            ) from error
        self._memory_bytes = memory_bytes
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._empty = {
            one.name: tuple(one.shape) for one in self._session.get_inputs() if "past." in one.name
        }
        self._cache: dict[str, Any] = {}
        self._batch = self._seen = 0

    def reset(self) -> None:
        """Forget the cache."""
        self._live()
        self._cache, self._batch, self._seen = {}, 0, 0

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append `tokens` and return logits of the last `keep` positions."""
        session = self._live()
        given, keep = checked(tokens, self._batch, keep)
        batch, new = given.shape
        total = self._seen + new
        value = engine().OrtValue.ortvalue_from_numpy
        if not self._cache:
            self._cache = {
                name: value(np.zeros((batch, shape[1], 0, shape[3]), np.float32))
                for name, shape in self._empty.items()
            }
        positions = np.broadcast_to(np.arange(self._seen, total), (batch, new))
        feeds = {
            "tokens": value(given),
            "mask": value(np.ones((batch, total), np.int64)),
            "positions": value(np.ascontiguousarray(positions)),
            "keep": value(np.arange(new - keep, new)),
        }
        found = session.run_with_ort_values(self._outputs, feeds | self._cache)
        self._cache = {
            name.replace("present.", "past."): one
            for name, one in zip(self._outputs[1:], found[1:], strict=True)
        }
        self._batch, self._seen = batch, total
        return np.asarray(found[0].numpy())

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Reset, read `prompt`, and yield greedy tokens."""
        return greedy(self, prompt, max_new=max_new, stop=stop)

    @property
    def memory_bytes(self) -> int:
        """Weights as stored; the engine multiplies those of 16 bits as float32. [B]"""
        return self._memory_bytes

    def close(self) -> None:
        """Let weights and cache go."""
        self._session, self._cache = None, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _live(self) -> Any:
        if self._session is None:
            raise UsageError("this session is closed", fix="open the artifact again")
        return self._session
