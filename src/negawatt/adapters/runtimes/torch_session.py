"""Sessions and products of PyTorch; apart from the runtime, so that naming it loads no engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional
from transformers.cache_utils import DynamicCache

from negawatt.adapters.runtimes.decoding import checked, greedy
from negawatt.core.errors import UsageError
from negawatt.core.records import Array


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use `count` threads for the work of the block.

    The setting belongs to the whole process, so it is put back afterwards; two
    sessions that compute at the same moment in different Python threads share
    whichever count was set last.
    """
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def slow_halves() -> bool:
    """True on x86 without AVX-512: products of 16 bits take several times as long as of 32.

    `negawatt.models.halves` says the same to those above, which import no adapter; a test compares.
    """
    return torch.backends.cpu.get_cpu_capability() in {"NO AVX", "AVX2"}


class TorchSession:
    """A loaded model; see `negawatt.core.protocols.Session`."""

    def __init__(self, model: Any, threads: int, memory_bytes: int) -> None:
        self._model: Any | None = model
        self._threads = threads
        self._cache: Any = None
        self._batch = 0  # 0 while the cache is empty
        self._memory_bytes = memory_bytes

    def reset(self) -> None:
        """Forget the cache."""
        self._live()
        self._cache, self._batch = None, 0

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append `tokens` and return logits of the last `keep` positions."""
        model = self._live()
        given, keep = checked(tokens, self._batch, keep)
        if self._cache is None:
            self._cache = DynamicCache(config=model.config)
        with _threads(self._threads), torch.inference_mode():
            logits = model(
                input_ids=torch.from_numpy(given),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            ).logits
            self._batch = given.shape[0]
            return np.asarray(logits.float().numpy())

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Reset, read `prompt`, and yield greedy tokens."""
        return greedy(self, prompt, max_new=max_new, stop=stop)

    @property
    def memory_bytes(self) -> int:
        """Weights as held: 16 bits, codes or float32; shared ones count once. [B]"""
        return self._memory_bytes

    def close(self) -> None:
        """Let the weights go."""
        self._model = self._cache = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _live(self) -> Any:
        if self._model is None:
            raise UsageError("this session is closed", fix="open the artifact again")
        return self._model


class TorchEncoder(TorchSession):
    """An encoder: it has no cache, and every call reads a text of its own.

    `forward` returns what the model ends in, float32: hidden states or logits of every
    position, [batch, new, width], or of the whole text, [batch, 1, labels].
    """

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Read `tokens`; the last `keep` positions of what comes out."""
        model = self._live()
        given, keep = checked(tokens, 0, keep)
        with _threads(self._threads), torch.inference_mode():
            ids = torch.from_numpy(given)
            found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
            values = ending(found)
            return np.asarray(values[:, -keep:].float().numpy())

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Refuse: an encoder writes nothing."""
        raise UsageError("an encoder writes no text", fix="give a model that does, a decoder")


def ending(found: Any) -> torch.Tensor:
    """What a model ends in: logits where it has them, else hidden states, [batch, ..., width]."""
    values: torch.Tensor = found.logits if hasattr(found, "logits") else found.last_hidden_state
    return values if values.ndim > 2 else values[:, None]


class TorchKernel:
    """`copies` distinct dense products; see `negawatt.core.protocols.Kernel`."""

    def __init__(self, rows: int, cols: int, copies: int, threads: int, *, exact: bool) -> None:
        kind = torch.float32 if exact else torch.bfloat16
        random = torch.Generator().manual_seed(0)
        self._weights = [torch.randn(rows, cols, generator=random).to(kind) for _ in range(copies)]
        self._inputs: dict[int, torch.Tensor] = {}
        self._threads = threads

    @property
    def copies(self) -> int:
        """How many distinct matrices one `run` multiplies."""
        return len(self._weights)

    def run(self, rows_in: int) -> None:
        """Multiply every copy once with an activation of `rows_in` rows."""
        if rows_in not in self._inputs:
            random = torch.Generator().manual_seed(1)
            first = self._weights[0]
            values = torch.randn(rows_in, first.shape[1], generator=random)
            self._inputs[rows_in] = values.to(first.dtype)
        given = self._inputs[rows_in]
        with _threads(self._threads), torch.inference_mode():
            for weight in self._weights:
                functional.linear(given, weight)
