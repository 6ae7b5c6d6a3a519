"""One compiled form of an artifact's graph, with its own copy of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from negawatt.adapters.runtimes.large_pages import Allocated
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.pages import released_during
from negawatt.core.caches import Cache, CacheLayout
from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.protocols import RunOptions

_Tokens = npt.NDArray[np.int64]
_Logits = npt.NDArray[np.float32]


#: A scale and a zero point in float32 for each head of each token.
LAYOUTS: Mapping[Cache, CacheLayout] = {
    "8": CacheLayout(8, 8, beside=64),
    "16": CacheLayout(16, 16),
    "8/4": CacheLayout(8, 4, beside=64),
    "4": CacheLayout(4, 4, beside=64),
}
_NARROWEST = 4  # bits
_WIDTHS = {16: "bf16", 8: "u8", 4: "u4"}


def movable(cache: Cache) -> bool:
    """True when what is in such a cache can be taken out and put into another one."""
    return min(LAYOUTS[cache].keys, LAYOUTS[cache].values) > _NARROWEST


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
    elif isinstance(options, Single):
        chosen["INFERENCE_PRECISION_HINT"] = "f32"
    if options.cache != "own":
        layout = LAYOUTS[options.cache]
        chosen |= {
            "KEY_CACHE_PRECISION": _WIDTHS[layout.keys],
            "VALUE_CACHE_PRECISION": _WIDTHS[layout.values],
        }
    return chosen


@dataclass(frozen=True, slots=True)
class Single(RunOptions):
    """Options of a session that multiplies in 32 bits, for 16 would end the process; else fast."""


class CompiledGraph:
    """The graph as compiled for inputs of any size, or for one new position at a time.

    With all sizes but the context's fixed, the engine plans its work once instead
    of at every token. Each compiled graph holds the weights packed for its own
    products, so two of them hold the weights twice.

    Args:
        core: The engine.
        path: The graph; its weights lie beside it.
        options: Threads, precision and cache.
        batch: Sequences for which the sizes are fixed; 0 leaves all sizes free.

    Raises:
        RuntimeUnavailable: the engine cannot compile it.
    """

    def __init__(self, core: ov.Core, path: Path, options: RunOptions, batch: int = 0) -> None:
        self._weights, self._ran = path.with_suffix(".bin"), False
        self._packed = None if options.lean else Allocated()
        try:
            graph = core.read_model(path)
            if batch:
                graph.reshape(_one_position(batch))
            # Fixed sizes let the engine pack the weights at once, free ones when it first runs.
            with released_during(self._weights) if batch else nullcontext():
                self._model = core.compile_model(graph, "CPU", config(options))
            self._request = self._model.create_infer_request()
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot load {path}: {error}",
                fix="convert the model again" + (', or open it with steps="read"' if batch else ""),
            ) from error
        self.batch = batch
        self._vocabulary = self._model.output("logits").get_partial_shape()[2].get_length()

    def forward(self, tokens: _Tokens, seen: int, keep: int) -> _Logits:
        """Append `tokens` to a cache of `seen` tokens.

        Args:
            tokens: [batch, new]; [batch, 1] when sizes are fixed.
            seen: Tokens that the cache holds.
            keep: For how many of the last positions logits are due.

        Returns:
            [batch, keep, vocabulary], in memory of its own.
        """
        batch, new = tokens.shape
        after = seen + new
        # Room of the caller's own: the engine writes into it and nothing is copied.
        logits = np.empty((batch, keep, self._vocabulary), dtype=np.float32)
        self._request.set_output_tensor(ov.Tensor(logits, shared_memory=True))
        given = {
            "tokens": tokens,
            "mask": np.ones((batch, after), dtype=np.int64),
            "positions": np.tile(np.arange(seen, after, dtype=np.int64), (batch, 1)),
            "keep": np.arange(new - keep, new, dtype=np.int64),
            "beam_idx": np.arange(batch, dtype=np.int32),
        }
        # Afterwards the weights are packed. What is still read from the file, such as
        # rows of the embedding, comes back page by page.
        with nullcontext() if self._ran else released_during(self._weights):
            self._request.infer(given, share_inputs=True, share_outputs=True)
        if not self._ran and self._packed is not None:
            self._packed.move()  # not before: the first run binds them to a node of memory
        self._ran = True
        return logits

    def reset(self) -> None:
        """Empty the cache."""
        self._request.reset_state()

    def take_cache(self, other: CompiledGraph) -> None:
        """Go on where `other` stopped, which is left with an empty cache."""
        own = {state.name: state for state in self._request.query_state()}
        for state in other._request.query_state():
            own[state.name].state = state.state
        other.reset()


def _one_position(batch: int) -> dict[str, ov.PartialShape]:
    """The sizes of the inputs when each of `batch` sequences gets one more token."""
    return {
        "tokens": ov.PartialShape([batch, 1]),
        "mask": ov.PartialShape([batch, -1]),
        "positions": ov.PartialShape([batch, 1]),
        "keep": ov.PartialShape([1]),
        "beam_idx": ov.PartialShape([batch]),
    }
