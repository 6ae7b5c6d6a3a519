"""A GGUF model with one key-value cache per sequence of the batch."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from negawatt.adapters.runtimes import llamacpp_engine as engine
from negawatt.adapters.runtimes.decoding import checked, greedy
from negawatt.adapters.runtimes.large_pages import holds, on_large_pages
from negawatt.adapters.runtimes.llamacpp_engine import api
from negawatt.adapters.runtimes.llamacpp_second_look import SecondLook
from negawatt.core.caches import Cache, CacheLayout
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Array

_PIECE = 256  # tokens computed at once
_FIRST = 512  # positions a new cache has room for
_F32, _F16 = 0, 1  # number formats of the cache
_EACH = 0  # what the head is fed is told of each position
_NEVER, _ALWAYS, _AUTO = 0, 1, -1  # whether attention is computed in one fused step

#: Blocks of 32 share a scale of 16 bits.
LAYOUTS: Mapping[Cache, CacheLayout] = {
    "16": CacheLayout(16, 16),
    "8": CacheLayout(8, 8, beside=16, run=32),
    "8/4": CacheLayout(8, 4, beside=16, run=32),
    "4": CacheLayout(4, 4, beside=16, run=32),
}
_WIDTHS = {16: _F16, 8: 8, 4: 2}  # the last two are Q8_0 and Q4_0


class LlamaSession:
    """A loaded model; see `negawatt.core.protocols.Session`.

    The cache begins small and is moved into a larger one when it is full, so that
    a model made for long texts does not take memory for them beforehand. Weights are copied
    onto large pages where there is room, since writing a token waits for them. Where the file
    asks for it, logits near the top are computed a second time; see `llamacpp_second_look`.

    Args:
        path: The GGUF file.
        options: Threads, precision and cache, and whether weights are mapped.
        memory_bytes: Of the weights as the artifact has them. [B]
        extra: Whether the engine may hold weights in forms of its own, which are faster.
        scratch: Folder of `path` when it is to be deleted with the session.
    """

    def __init__(
        self,
        path: Path,
        options: RunOptions,
        *,
        memory_bytes: int,
        extra: bool = True,
        scratch: TemporaryDirectory[str] | None = None,
    ) -> None:
        mapped = options.mapped or options.lean or not holds(memory_bytes)
        settings = engine.filled(
            api().llama_model_default_params(),
            use_extra_bufts=extra,
            load_mode=api().LLAMA_LOAD_MODE_MMAP if mapped else api().LLAMA_LOAD_MODE_NONE,
        )
        with on_large_pages():
            self._model: Any = api().llama_model_load_from_file(str(path).encode(), settings)
        self._scratch = scratch
        if not self._model:
            self.close()
            raise RuntimeUnavailable(
                f"llama.cpp cannot load {path.name}: {engine.complaint()}",
                fix="try another version of llama-cpp-python, or convert the model again",
            )
        self._options = options
        #: None where the file asks for no second look, or to do without it.
        self.look = SecondLook.of(path, api(), self._model)
        self._vocabulary = int(api().llama_vocab_n_tokens(api().llama_model_get_vocab(self._model)))
        self._memory_bytes = memory_bytes
        self._context: Any = None
        self._room = 0  # positions of each sequence in the present cache
        self._made_for = 0  # sequences in the present cache
        self._batch = 0  # 0 while the cache is empty
        self._past = 0

    def reset(self) -> None:
        """Forget the cache; its room is kept."""
        self._live()
        if self._context:
            api().llama_memory_clear(api().llama_get_memory(self._context), False)  # noqa: FBT003  # C
        self._batch = self._past = 0

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append `tokens` and return logits of the last `keep` positions."""
        self._live()
        given, keep = checked(tokens, self._batch, keep)
        if given.min() < 0 or given.max() >= self._vocabulary:
            raise UsageError(
                f"a token lies outside the vocabulary of {self._vocabulary}",
                fix="use the tokenizer of this model",
            )
        batch, new = given.shape
        self._make_room(batch, self._past + new)
        self._batch = batch
        logits = np.empty((batch, keep, self._vocabulary), np.float32)
        step = max(1, _PIECE // batch)
        for at in range(0, new, step):
            piece = given[:, at : at + step]
            wanted = max(0, at + piece.shape[1] - (new - keep))  # of the last positions of it
            self._read(piece, min(wanted, piece.shape[1]), logits, at - (new - keep))
        return logits

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Reset, read `prompt`, and yield greedy tokens."""
        return greedy(self, prompt, max_new=max_new, stop=stop)

    @property
    def memory_bytes(self) -> int:
        """Weights in the forms the file has them in. [B]"""
        return self._memory_bytes

    def close(self) -> None:
        """Let weights and cache go."""
        if getattr(self, "_context", None):
            api().llama_free(self._context)
        if self._model:
            api().llama_model_free(self._model)
        self._context = self._model = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _live(self) -> None:
        if self._model is None:
            raise UsageError("this session is closed", fix="open the artifact again")

    def _read(
        self, piece: npt.NDArray[np.int64], wanted: int, logits: npt.NDArray[np.float32], at: int
    ) -> None:
        """Compute one piece: in two where logits of a part of it are looked at again.

        The engine tells what its head was fed for all positions of an input or for none.
        """
        new = piece.shape[1]
        cut = new - wanted if self.look else 0
        for start, stop in ((0, cut), (cut, new)):
            if start < stop:
                part = piece[:, start:stop]
                self._decode(
                    part, min(wanted, stop - start) if stop == new else 0, logits, at + start
                )
                self._past += stop - start

    def _decode(
        self, piece: npt.NDArray[np.int64], wanted: int, logits: npt.NDArray[np.float32], at: int
    ) -> None:
        """Compute one piece, and copy logits of its last `wanted` positions to their place."""
        batch, new = piece.shape
        total = batch * new
        if self.look:
            api().llama_set_embeddings(self._context, wanted > 0)
        given = api().llama_batch_init(total, 0, 1)
        try:
            given.n_tokens = total
            _view(given.token, total)[:] = piece.reshape(-1)
            _view(given.pos, total)[:] = np.tile(np.arange(self._past, self._past + new), batch)
            _view(given.n_seq_id, total)[:] = 1
            for i in range(total):
                given.seq_id[i][0] = i // new
            marks = np.tile(np.arange(new) >= new - wanted, batch)
            _view(given.logits, total)[:] = marks
            status = api().llama_decode(self._context, given)
        finally:
            api().llama_batch_free(given)
        if status:
            raise RuntimeUnavailable(
                f"llama.cpp could not compute {total} tokens (status {status}): "
                f"{engine.complaint()}",
                fix="free some memory, or use a smaller batch",
            )
        if wanted:
            found = api().llama_get_logits(self._context)
            values = np.ctypeslib.as_array(found, (batch * wanted, self._vocabulary))
            if self.look:
                states = api().llama_get_embeddings(self._context)
                width = int(api().llama_model_n_embd(self._model))
                self.look.mend(values, np.ctypeslib.as_array(states, (len(values), width)))
            first = max(0, at + new - wanted)
            logits[:, first : first + wanted] = values.reshape(batch, wanted, -1)

    def _make_room(self, batch: int, positions: int) -> None:
        """See that the cache holds `positions` of each sequence, and keep what is in it."""
        if self._context and self._made_for == batch and positions <= self._room:
            return
        room = _FIRST
        while room < positions:
            room *= 2
        kept = [self._taken_out(i) for i in range(self._batch)] if self._past else []
        if self._context:
            api().llama_free(self._context)
        wide = nullcontext() if self._options.lean else on_large_pages(later=True)
        with wide:  # the cache is there at once, what is computed in comes with the first input
            self._context = api().llama_init_from_model(self._model, self._settings(batch, room))
        if not self._context and self._options.cache != "own":
            raise UsageError(
                f"llama.cpp keeps no cache of {self._options.cache} bits for this model: "
                f"{engine.complaint()}",
                fix="leave the cache at 16 bits; narrower ones need heads of whole blocks of 32",
            )
        if not self._context:
            raise RuntimeUnavailable(
                f"llama.cpp has no memory for {batch} x {room} positions: {engine.complaint()}",
                fix="free some memory, or use a smaller batch",
            )
        self._room, self._made_for = room, batch
        for i, state in enumerate(kept):
            buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
            if not api().llama_state_seq_set_data(self._context, buffer, len(state), i):
                raise RuntimeUnavailable(
                    "llama.cpp could not move its cache", fix="try another version of the engine"
                )

    def _taken_out(self, sequence: int) -> bytearray:
        """Everything the cache knows of one sequence."""
        size = int(api().llama_state_seq_get_size(self._context, sequence))
        state = bytearray(size)
        api().llama_state_seq_get_data(
            self._context, (ctypes.c_uint8 * size).from_buffer(state), size, sequence
        )
        return state

    def _settings(self, batch: int, room: int) -> Any:
        exact = self._options.precision == "exact"
        keys = values = _F32 if exact else _F16
        fused = _NEVER if exact else _AUTO
        if self._options.cache != "own":
            layout = LAYOUTS[self._options.cache]
            keys, values = _WIDTHS[layout.keys], _WIDTHS[layout.values]
            fused = _ALWAYS  # narrow values are read by no other way
        step, threads = max(_PIECE, batch), self._options.threads
        return engine.filled(
            api().llama_context_default_params(),
            n_ctx=batch * room,
            n_seq_max=batch,
            n_batch=step,
            n_ubatch=step,
            n_threads=threads,
            n_threads_batch=threads,
            type_k=keys,
            type_v=values,
            flash_attn_type=fused,
            pooling_type=_EACH,
            no_perf=True,
        )


def _view(pointer: Any, count: int) -> npt.NDArray[Any]:
    """The memory behind a pointer as an array of `count` numbers."""
    return np.ctypeslib.as_array(pointer, (count,))
