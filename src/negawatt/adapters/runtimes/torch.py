"""PyTorch on the CPU: the reference that every other engine is compared with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional
from transformers.cache_utils import DynamicCache

from negawatt.adapters.runtimes.artifact import Manifest, Place, checked_fit, seal, unseal, writing
from negawatt.adapters.runtimes.decoding import checked, greedy
from negawatt.adapters.runtimes.huggingface import check_files, load, matrices, stored_dtype
from negawatt.adapters.runtimes.torch_weights import install, read_codes, save_codes
from negawatt.core.errors import UsageError
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Array, Format, QuantisedWeight

_CODES = "negawatt-codes.safetensors"
_KEPT = (".json", ".safetensors", ".jinja", ".model", ".txt")


class TorchRuntime:
    """The reference engine; see `negawatt.core.protocols.Runtime`.

    Its artifacts are Hugging Face folders whose files are linked, not copied,
    where the disk allows. `compress` keeps codes and decodes them into ordinary
    weights when opened: it saves nothing at run time and exists to check what a
    plan computes, which is why `formats` offers 16 bits alone.
    """

    @property
    def name(self) -> str:
        """`torch`."""
        return "torch"

    @property
    def version(self) -> str:
        """The library's version."""
        return str(torch.__version__)

    @property
    def formats(self) -> Sequence[Format]:
        """16 bits: everything else is only simulated."""
        return (Format(16),)

    def convert(self, model: Path, out: Path) -> None:
        """Link the Hugging Face folder `model` into the new folder `out`."""
        shapes = matrices(model)
        check_files(model)
        with writing(out) as folder:
            for file in sorted(model.iterdir()):
                if file.is_file() and file.suffix in _KEPT:
                    _link(file, folder / file.name)
            layers = {name: Place(name, 0, *shape) for name, shape in shapes.items()}
            seal(folder, Manifest(self.name, f"torch {self.version}", layers))

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        """Write `converted` with the codes in `weights` beside it, to be decoded at opening.

        Values do not depend on `joint`, and this engine keeps layers apart.
        """
        del joint
        base = unseal(converted, self.name)
        layers = dict(base.layers)

        def taken() -> Iterator[tuple[str, QuantisedWeight]]:
            for name, place, weight in checked_fit(base.layers, weights):
                layers[name] = place.stored_as(weight.format)
                yield name, weight

        with writing(out) as folder:
            for file in base.files:
                if file != _CODES:
                    _link(converted / file, folder / file)
            save_codes(taken(), folder / _CODES)
            seal(folder, Manifest(self.name, f"torch {self.version}", layers))

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Load an artifact: bfloat16 when "fast", float32 when "exact"."""
        manifest = unseal(artifact, self.name)
        exact = options.precision == "exact"
        model = load(artifact, stored_dtype(artifact) if exact else torch.bfloat16)
        codes = artifact / _CODES
        coded = dict(read_codes(codes)) if _CODES in manifest.files else {}
        held = install(model, coded, exact=exact)
        return TorchSession(model, options.threads, held)

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct 16-bit products (float32 ones when "exact")."""
        if fmt != Format(16) or copies < 1:
            raise UsageError(
                f"torch does not multiply weights in {fmt}, or {copies} copies is too few",
                fix="ask for bf16 and at least one copy",
            )
        kind = torch.float32 if options.precision == "exact" else torch.bfloat16
        return TorchKernel(rows, cols, copies, kind, options.threads)


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the disk has no such thing."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


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


class TorchKernel:
    """`copies` distinct dense products; see `negawatt.core.protocols.Kernel`."""

    def __init__(self, rows: int, cols: int, copies: int, kind: torch.dtype, threads: int) -> None:
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
