"""One thread for every test of this room, and a small trained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from negawatt.models.source import ModelSource, prepare


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small matrices gain nothing from more threads, and sums then keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stories(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """stories260K as every later step sees it: prepared, in bfloat16, with its layers."""
    return prepare(
        str(shared / "models" / "stories260K"), tmp_path_factory.mktemp("stories") / "work"
    )


@pytest.fixture(scope="session")
def stories_text(shared: Path, stories: ModelSource) -> npt.NDArray[np.int64]:
    """Windows of 64 tokens of the stories it was trained to tell, int64 [windows, 64]."""
    from negawatt.models.tokenizer import load_tokenizer

    file = shared / "data" / "text" / "tinystories-sample" / "train.txt"
    tokenizer = load_tokenizer(stories.folder)
    text = file.read_text(encoding="utf-8")[:40_000]
    tokens = np.asarray(tokenizer(text, verbose=False)["input_ids"], np.int64)
    return tokens[: len(tokens) // 64 * 64].reshape(-1, 64)
