"""A small decoder, a bank of its candidates, and one thread for all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small matrices gain nothing from more threads, and sums then keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_decoder(family: str = "llama", **changes: Any) -> Any:
    """A random decoder in float32 whose logits are far from flat."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "gemma3_text":
        sizes |= {"query_pre_attn_scalar": 16, "sliding_window": 64}
    generator = torch.Generator().manual_seed(11)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, **{**sizes, **changes})
    ).float()
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.15 * noise if weight.ndim > 1 else 1 + 0.2 * noise)
    return model.eval()


@pytest.fixture
def tokens() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Three short sequences for a vocabulary of 96."""
    return np.random.default_rng(5).integers(0, 96, (3, 24))


@pytest.fixture
def stories(shared: Path, tmp_path: Path) -> Any:
    """stories260K as every later step sees it: prepared, in bfloat16, with its layers."""
    from negawatt.models.source import prepare

    return prepare(str(shared / "models" / "stories260K"), tmp_path / "work")
