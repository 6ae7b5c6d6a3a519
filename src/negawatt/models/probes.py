"""Decisions to look at: what a model reads, and where it then has to choose.

Drawn from held-out windows, so many from each slice of text, by a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from negawatt.core.errors import TextError, UnsupportedArchitecture
from negawatt.models.corpus import Tokens, split
from negawatt.models.prose import load_text

if TYPE_CHECKING:
    from pathlib import Path

    from negawatt.models.encoder import Ending

_MARKED = 126  # tokens of text in an encoder's window, to which two marks are added


@dataclass(frozen=True, slots=True)
class Probe:
    """One decision.

    Args:
        tokens: What the model reads.
        slice: Name of the text they come from.
        at: Position whose output decides; of no meaning where one vector stands for the text.
        other: A second text, for a model whose output is how alike two texts are.
    """

    tokens: tuple[int, ...]
    slice: str
    at: int = -1
    other: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A language, a domain, or all there is.

    Args:
        name: As the user calls it.
        told: What it consists of.
        windows: int64, [windows, positions].
        opening: Token that every window starts with, when the tokenizer adds one.
    """

    name: str
    told: str
    windows: Tokens
    opening: int | None = None


def read_slices(
    given: Mapping[str, str],
    tokenizer: Any,
    data: Path | None,
    *,
    window: int,
    tokens: int,
    seed: int,
    marked: bool = False,
) -> tuple[Slice, ...]:
    """Cut every slice's text into windows; the usual held-out text when none is given.

    Args:
        given: Name to file or folder.
        tokenizer: Of the model.
        data: Folder of corpora.
        window: Tokens in a window.
        tokens: Of every slice, at least; rounded up to whole windows.
        seed: Of the order in which documents are dealt.
        marked: Put the marks around a window that an encoder expects.

    Raises:
        TextError: a text is missing, unreadable or too short; the message names the slice.
    """
    found = []
    usual: Mapping[str, str | None] = {"text": None}
    for name, place in (given or usual).items():
        try:
            corpus = split(
                load_text(place, data),
                tokenizer,
                window=_MARKED if marked else window,
                calibration_tokens=1,
                selection_tokens=1,
                test_tokens=tokens,
                seed=seed,
            )
        except TextError as error:
            raise TextError(f"slice {name}: {error.what}", fix=error.fix) from error
        windows = _framed(corpus.test, tokenizer) if marked else corpus.test
        found.append(Slice(name, corpus.texts["test"], windows, corpus.opening))
    return tuple(found)


def _framed(windows: Tokens, tokenizer: Any) -> Tokens:
    """Windows between the marks around a text, where the tokenizer has them."""
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    if first is not None and not (windows[:, 0] == first).all():
        windows = np.insert(windows, 0, first, axis=1)
    return windows if last is None else np.append(windows, np.full((len(windows), 1), last), 1)


def draw_decoder(slices: Sequence[Slice], count: int, length: int, seed: int) -> tuple[Probe, ...]:
    """Next tokens to be chosen after `length` tokens of context, as many from every slice.

    Raises:
        TextError: the windows are shorter than that.
    """
    draw = np.random.default_rng(seed)
    probes = []
    for one in slices:
        _need(one, length)
        for _ in range(-(-count // len(slices))):
            window = one.windows[draw.integers(len(one.windows))]
            end = int(draw.integers(length, len(window) + 1))
            tokens = [int(token) for token in window[end - length : end]]
            if one.opening is not None:
                tokens[0] = one.opening
            probes.append(Probe(tuple(tokens), one.name))
    return tuple(probes)


def draw_encoder(
    slices: Sequence[Slice],
    count: int,
    length: int,
    seed: int,
    about: tuple[Ending, Any],
) -> tuple[Probe, ...]:
    """Pairs of neighbouring pieces, pieces to be labelled, or pieces with one token masked.

    Args:
        slices: With marked windows.
        count: Probes, spread over the slices.
        length: Tokens of a piece, marks not counted.
        seed: Of what is drawn.
        about: What the model ends in, and its tokenizer.

    Raises:
        TextError: the windows are too short.
        UnsupportedArchitecture: a token is to be masked and the tokenizer has no mask.
    """
    kind, tokenizer = about
    mask = tokenizer.mask_token_id
    if kind == "tokens" and mask is None:
        raise UnsupportedArchitecture(
            "the model fills in masked tokens, and its tokenizer has no mask",
            fix="set mask_token in tokenizer_config.json",
        )
    draw = np.random.default_rng(seed)
    probes = []
    for one in slices:
        _need(one, 2 * length + 2)
        for _ in range(-(-count // len(slices))):
            window = one.windows[draw.integers(len(one.windows))]
            start = int(draw.integers(1, window.size - 2 * length))
            inner = [int(token) for token in window[start : start + 2 * length]]
            first, second = (
                (int(window[0]), *half, int(window[-1]))
                for half in (inner[:length], inner[length:])
            )
            if kind == "embedding":
                probes.append(Probe(first, one.name, other=second))
                continue
            at = int(draw.integers(1, length + 1)) if kind == "tokens" else -1
            probes.append(
                Probe((*first[:at], mask, *first[at + 1 :]) if at > 0 else first, one.name, at)
            )
    return tuple(probes)


def _need(one: Slice, length: int) -> None:
    if one.windows.shape[1] < length:
        raise TextError(
            f"slice {one.name} has windows of {one.windows.shape[1]} tokens, {length} are needed",
            fix="ask for a shorter context",
        )
