"""Tokens taken out of a whole model: those that stay are as likely, among themselves, as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch
from small_decoder import random_decoder
from small_tokenizer import TOKENS, trained

from negawatt.compress.pruned import shape_of
from negawatt.compress.pruning.folder import opened
from negawatt.compress.pruning.vocabulary import trim
from negawatt.models.source import ModelSource, prepare
from negawatt.models.tokenizer import load_tokenizer

CORPUS = [topics[name] for name in sorted(topics)][20:22]


@pytest.fixture
def source(tmp_path: Path, *, request: pytest.FixtureRequest) -> ModelSource:
    folder = trained(tmp_path / "given")
    random_decoder(vocab_size=TOKENS + 3, tie_word_embeddings=request.param).save_pretrained(folder)
    return prepare(str(folder), tmp_path / "work")


@pytest.mark.parametrize("source", [True, False], indirect=True)
def test_logits_of_what_stays_are_what_they_were(source: ModelSource, tmp_path: Path) -> None:
    base = shape_of(source.layers, 2, 96, source.parameters, 4)
    made = trim(source, base, CORPUS, None, tmp_path / "out")
    assert "cut as before" in made.told
    shape, folder = made.shape, made.source.folder
    assert shape.vocabulary % 64 == 0
    assert (shape.head, base.head) == (shape.vocabulary * 64, (TOKENS + 3) * 64)
    text = CORPUS[0][:400]
    logits = []
    for one in (source.folder, folder):
        tokens = load_tokenizer(one)(text, return_tensors="pt", verbose=False).input_ids[:, :100]
        with torch.no_grad():
            logits.append(opened(one)(input_ids=tokens, use_cache=False).logits[0])
    names = load_tokenizer(folder).convert_ids_to_tokens(list(range(shape.vocabulary)))
    kept = load_tokenizer(source.folder).convert_tokens_to_ids(names)
    torch.testing.assert_close(logits[1], logits[0][:, kept])


@pytest.mark.parametrize("source", [True], indirect=True)
def test_nothing_half_written_is_left(source: ModelSource, tmp_path: Path) -> None:
    shape = shape_of(source.layers, 2, 96, source.parameters, 4)
    made = trim(source, shape, CORPUS, 512, tmp_path / "out")
    assert made.shape == replace(
        shape, vocabulary=512, head=512 * 64, parameters=made.shape.parameters
    )
    assert "takes" in made.told
    assert sorted(one.name for one in tmp_path.iterdir()) == ["given", "out", "work"]
