"""Load a prepared model into the reference engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from negawatt.core.records import ENCODERS
from negawatt.models.quiet import quiet
from negawatt.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["load_reference", "load_tokenizer", "ready"]


def load_reference(folder: Path, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """The model in evaluation mode, without gradients; in bfloat16 unless `dtype` is given.

    In bfloat16 the weights stay in the mapped file until they are used; in
    float32 the peak is that copy and the file's own pages, 6 bytes a parameter.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from negawatt.models.experts import apart

    with quiet():
        loaded = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype or torch.bfloat16, local_files_only=True, use_safetensors=True
        )
    model = cast("torch.nn.Module", apart(loaded))
    return model.eval().requires_grad_(requires_grad=False)


def ready(folder: Path) -> None:
    """Bring in the code of a model's architecture and its tokenizer, but none of its weights."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    load_tokenizer(folder)
    with quiet(), torch.device("meta"):  # shapes without values
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        kind: Any = AutoModel if config.model_type in ENCODERS else AutoModelForCausalLM
        kind.from_config(config, dtype=torch.bfloat16)
