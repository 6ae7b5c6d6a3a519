"""Fewer tokens: what workers do for `--vocabulary`, and how its outcome is judged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.prune import work as tasks
from negawatt.core.errors import TextError, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.models.per_byte import PerByte, openings, per_byte, surprise, texts_of
from negawatt.models.prose import load_text
from negawatt.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Tools
    from negawatt.compress.pruned import Shape, Trimmed
    from negawatt.models.source import ModelSource


def read_asked(asked: str) -> tuple[int | None, tuple[str, ...]]:
    """What `--vocabulary` names: how many tokens, or the documents of a corpus.

    >>> read_asked("8000")
    (8000, ())

    Raises:
        UsageError: it is neither a number nor a text.
    """
    if asked.isdecimal():
        return int(asked), ()
    try:
        return None, load_text(asked).calibration.documents
    except TextError as error:
        raise UsageError(
            f"--vocabulary {asked!r} is neither a number nor a text: {error}",
            fix="name a text whose tokens are to stay, or how many, for example 8000",
        ) from error


def digest_of(asked: str | None) -> str:
    """What decides which tokens stay, besides the model and its text."""
    if asked is None:
        return ""
    limit, documents = read_asked(asked)
    return hashlib.sha256("\0".join([str(limit), *documents]).encode()).hexdigest()


def trimmed(
    tools: Tools, source: ModelSource, what: tuple[Shape, str, NDArray[np.int64]], place: Path
) -> Trimmed:
    """Leave the tokens of a corpus, or so many of those that the text to learn from uses most."""
    from negawatt.compress.pruning.vocabulary import trim

    tools.progress("trim", 0.0)
    shape, asked, windows = what
    limit, documents = read_asked(asked)
    if limit is not None:
        documents = tuple(texts_of(load_tokenizer(source.folder), windows))
    made = trim(source, shape, documents, limit, place)
    tools.progress("trim", 1.0)
    return made


def grade(
    tools: Tools,
    source: ModelSource,
    base: tuple[ModelSource, Path],
    held_out: tuple[NDArray[np.int64], str],
    place: Path,
) -> PerByte:
    """What a decoder in a folder loses on the test text, in tokens of its own.

    Args:
        tools: Its reference engine reads.
        source: The changed model.
        base: The other one, and its folder in the engine's form.
        held_out: The test text in tokens of the base, and what it is.
        place: Of the changed model in the engine's form.
    """
    tasks.built(tools, source, place)
    before, folder = base
    windows, about = held_out
    tokenizer = load_tokenizer(before.folder)
    texts = texts_of(tokenizer, windows)
    given = openings(tokenizer, texts)
    options, found = RunOptions(threads=tools.cores, steps="read"), []
    for number, (one, where) in enumerate(((tokenizer, folder), (None, place))):

        def tell(share: float, number: int = number) -> None:
            tools.progress("grade", (number + share) / 2)

        own = one or load_tokenizer(source.folder)
        with tools.reference.open(where, options) as session:
            found.append(surprise(session, own, texts, given, tell))
    return per_byte(found[0], found[1], about)
