"""Leave a decoder the tokens that a corpus uses: a shorter embedding and a shorter head."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from negawatt.compress.pruned import Shape, Trimmed, no_vocabulary
from negawatt.compress.pruning import surgery
from negawatt.compress.pruning.folder import opened, write
from negawatt.core.records import ENCODERS
from negawatt.models.fewer_tokens import Pieces, choose, numbers_named, rewrite
from negawatt.models.tokenizer import load_tokenizer, verify_tokenizer

if TYPE_CHECKING:
    from negawatt.models.source import ModelSource


def trim(
    source: ModelSource, shape: Shape, texts: Sequence[str], limit: int | None, out: Path
) -> Trimmed:
    """Take tokens out of a prepared decoder and its tokenizer, and write the rest into `out`.

    Rows of embedding and head go; what is computed from the tokens that stay does not change,
    but for their probabilities, which no longer share with those that went.

    Args:
        source: Left as it is.
        shape: Its size.
        texts: The corpus.
        limit: How many tokens may stay; all that the corpus uses when None.
        out: Made when everything is done.

    Raises:
        UnsupportedArchitecture: no decoder, or a tokenizer of a kind that is not trimmed.
        UsageError: so few tokens cannot stay, or none would go.
    """
    tokenizer, pieces = load_tokenizer(source.folder), Pieces.read(source.folder)
    before = [_tokens(tokenizer, text) for text in texts]
    counts = Counter(number for one in before for number in one)
    kept = choose(pieces, counts, numbers_named(source.folder), surgery.FRIENDLY, limit)
    model = opened(source.folder)
    if model.config.model_type in ENCODERS:
        raise no_vocabulary(source.architecture)
    _shorten(model, kept)
    partial = out.with_name(f"{out.name}.trimmed")
    made = write(source, model, partial)
    rewrite(partial, kept)
    verify_tokenizer(partial, rows=len(kept))
    shorter = load_tokenizer(partial)
    after = [_tokens(shorter, text) for text in texts]
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    head = sum(one.rows * one.cols for one in made.layers if one.kind == "head")
    return Trimmed(
        replace(made, folder=out),
        replace(shape, vocabulary=len(kept), parameters=made.parameters, head=head),
        _told(before, after, kept),
    )


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _shorten(model: Any, kept: list[int]) -> None:
    """Leave these rows in embedding and head; a shared matrix stays shared."""
    rows = torch.tensor(kept)
    inside, outside = model.get_input_embeddings(), model.get_output_embeddings()
    tied = outside.weight is inside.weight
    inside.weight = nn.Parameter(inside.weight.detach()[rows].clone(), requires_grad=False)
    inside.num_embeddings = len(kept)
    if inside.padding_idx is not None:
        inside.padding_idx = kept.index(inside.padding_idx) if inside.padding_idx in kept else None
    outside.weight = (
        inside.weight
        if tied
        else nn.Parameter(outside.weight.detach()[rows].clone(), requires_grad=False)
    )
    if outside.bias is not None:
        outside.bias = nn.Parameter(outside.bias.detach()[rows].clone(), requires_grad=False)
    outside.out_features = len(kept)
    model.config.vocab_size = len(kept)


def _told(before: list[list[int]], after: list[list[int]], kept: list[int]) -> str:
    """How the corpus is encoded now."""
    old, new = (sum(map(len, one)) for one in (before, after))
    same = all(
        [kept[number] for number in now] == was for was, now in zip(before, after, strict=True)
    )
    if same:
        return f"{old:,} tokens of the corpus are cut as before."
    return (
        f"The corpus, {old:,} tokens before, takes {new:,} now ({new / old - 1:+.2%}): some of its "
        "tokens went and are written in parts."
    )
