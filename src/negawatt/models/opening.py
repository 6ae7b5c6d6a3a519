"""Open a model to look inside it: dense weights that gradients go through, and a session on them."""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from negawatt.core.errors import BrokenWeights, RuntimeUnavailable, UsageError
from negawatt.core.records import ENCODERS
from negawatt.models.encoder import load_encoder
from negawatt.models.load import load_reference
from negawatt.models.opened import read_config
from negawatt.models.quiet import quiet

if TYPE_CHECKING:
    import torch

    from negawatt.core.records import Array


def is_packed(folder: Path) -> bool:
    """True for a folder whose weights are codes, as the Hugging Face export writes them."""
    return "quantization_config" in read_config(folder / "config.json")


def is_encoder(folder: Path) -> bool:
    """True for BERT and its kin."""
    return read_config(folder / "config.json").get("model_type") in ENCODERS


def open_model(folder: Path, *, narrow: bool = False) -> Any:
    """A model with dense weights, in evaluation mode, computing in float32.

    Weights stored as codes are decoded by the library that other tools read them with, so what is
    looked at is what they would compute.

    Args:
        folder: Prepared, or exported with packed weights.
        narrow: Compute in bfloat16 instead.

    Raises:
        BrokenWeights: transformers refuses the folder, or would fill in missing weights.
        RuntimeUnavailable: weights are packed and what unpacks them is not installed.
    """
    import torch

    dtype = torch.bfloat16 if narrow else torch.float32
    if is_packed(folder):
        return _unpacked(folder, dtype)
    if is_encoder(folder):
        return load_encoder(folder).to(dtype)
    return load_reference(folder, dtype)


def _unpacked(folder: Path, dtype: torch.dtype) -> Any:
    import torch
    import transformers

    if find_spec("compressed_tensors") is None:  # transformers imports it by itself
        raise RuntimeUnavailable(
            f"{folder} holds packed weights, and compressed-tensors is not installed",
            fix="pip install 'negawatt[torch]'",
        )
    name = next(iter(read_config(folder / "config.json").get("architectures") or ()), "")
    kind: Any = getattr(transformers, name, None) or transformers.AutoModelForCausalLM
    # compressed-tensors draws its own progress bars, across the caller's display.
    with quiet(), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        try:
            model, told = kind.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True
            )
            # Weights are unpacked at the first step, once and for all.
            model.eval()(input_ids=torch.zeros(1, 2, dtype=torch.long))
        except (OSError, ValueError, RuntimeError, ImportError, AttributeError) as error:
            raise BrokenWeights(
                f"transformers does not load {folder}: {error}",
                fix="export it again with reader='transformers', which is the default",
            ) from error
    if told["missing_keys"]:
        raise BrokenWeights(
            f"{folder} lacks {min(map(str, told['missing_keys']))}", fix="export it again"
        )
    return model.requires_grad_(requires_grad=False)


class Opened:
    """A model in memory as a session; see `negawatt.core.protocols.Session`.

    An encoder keeps nothing between calls and returns what it ends in for every position, or
    [batch, 1, labels].
    """

    def __init__(self, model: Any) -> None:
        self._model: Any | None = model
        self._cache: Any = None

    def reset(self) -> None:
        """Forget the cache."""
        self._cache = None

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append int64 tokens [batch, new]; float32 [batch, keep, vocabulary]."""
        import torch

        model = self._live()
        ids = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))
        with torch.inference_mode():
            if model.config.model_type in ENCODERS:
                found = ending(model(input_ids=ids, attention_mask=torch.ones_like(ids)))
            else:
                from transformers.cache_utils import DynamicCache

                if self._cache is None:
                    self._cache = DynamicCache(config=model.config)
                found = model(input_ids=ids, past_key_values=self._cache, use_cache=True).logits
            start = 0 if keep is None else found.shape[1] - keep
            return np.asarray(found[:, start:].float().numpy())

    def close(self) -> None:
        """Let the weights go."""
        self._model = self._cache = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def memory_bytes(self) -> int:
        """Weights as held. [B]"""
        parts = self._live().parameters()
        return sum(one.numel() * one.element_size() for one in parts)

    def stream(self, *_: object, **__: object) -> Any:
        """Refuse: this is for looking, not for writing."""
        raise UsageError("this session writes no text", fix="open the model with a runtime")

    def _live(self) -> Any:
        if self._model is None:
            raise UsageError("this session is closed", fix="open the model again")
        return self._model


def ending(found: Any) -> torch.Tensor:
    """Hidden states or logits of every position, or logits of the text as [batch, 1, labels]."""
    values: torch.Tensor = found.logits if "logits" in found else found.last_hidden_state
    return values if values.ndim == 3 else values[:, None]
