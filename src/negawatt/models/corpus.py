"""Deal a text out into calibration, selection and test windows that share nothing.

Documents go whole to one side. Whatever long run of tokens still occurs on two
sides (a quotation, a licence header) is dropped from the side filled later, so
a model is never scored on what it was calibrated on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import TextError, UsageError
from negawatt.models.prose import Pool, Text, load_text
from negawatt.models.tokenizer import opening_token

__all__ = ["Corpus", "Pool", "Text", "load_text", "runs", "split"]

Tokens = npt.NDArray[np.int64]

_SIDES = ("test", "selection", "calibration")  # in the order they are filled
_RUN_TOKENS, _RUN_CHARACTERS = 32, 128  # a shared run is at least as long as both
_SHARE = 8  # a document fills at most this fraction of a held-out side, while others can


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Token windows for the three uses of text.

    Args:
        calibration: int64, [windows, window]; to compute statistics and gradients on.
        selection: int64, [windows, window]; to choose among variants.
        test: int64, [windows, window]; to report on, once.
        texts: For each side, what it is, for people.
        digests: For each side, SHA-256 of its windows as little-endian int64.
        opening: Token that every window starts with, when the tokenizer adds one.
        passages: Texts for the cloze task; empty when the held-out text serves.
    """

    calibration: Tokens
    selection: Tokens
    test: Tokens
    texts: Mapping[str, str]
    digests: Mapping[str, str]
    opening: int | None
    passages: tuple[str, ...] = ()


def split(
    text: Text,
    tokenizer: Any,
    *,
    window: int = 512,
    calibration_tokens: int = 32_768,
    selection_tokens: int = 8_192,
    test_tokens: int = 16_384,
    seed: int = 0,
) -> Corpus:
    """Tokenise a text and deal it out.

    Args:
        text: From `load_text`.
        tokenizer: Of the model, from `load_tokenizer`.
        window: Tokens in a window, the opening token included; not above the model's context.
        calibration_tokens: At least so many, rounded up to whole windows.
        selection_tokens: Likewise.
        test_tokens: Likewise.
        seed: Of the order in which documents are dealt.

    Raises:
        TextError: the text is too short; the message says by how much.
        UsageError: a window of fewer than 64 tokens, or fewer than one token asked for.
    """
    quotas = {"test": test_tokens, "selection": selection_tokens, "calibration": calibration_tokens}
    if window < 64 or min(quotas.values()) < 1:
        raise UsageError(
            f"windows of {window} tokens and quotas of {quotas} cannot be dealt",
            fix="use windows of at least 64 tokens and at least one token a side",
        )
    deal = _Deal(text, tokenizer, window, seed)
    short = ""
    for spread in (True, False):  # many documents a side if there are enough, else long ones
        short = deal.fill(quotas, spread=spread)
        if not short:
            break
    if short:
        raise _too_short(text, short, quotas, deal.tokens(short))
    return Corpus(
        calibration=deal.windows["calibration"],
        selection=deal.windows["selection"],
        test=deal.windows["test"],
        texts={
            side: f"{deal.windows[side].size:,} tokens from {deal.used[side]} documents of "
            f"{_pool(text, side).name}"
            for side in reversed(_SIDES)
        },
        digests={side: _digest(deal.windows[side]) for side in reversed(_SIDES)},
        opening=deal.opening,
        passages=text.passages,
    )


def runs(windows: Tokens, length: int) -> npt.NDArray[np.uint64]:
    """A hash of every run of `length` tokens inside each of [windows, window], sorted.

    >>> a = np.arange(100).reshape(1, -1)
    >>> len(np.intersect1d(runs(a, 32), runs(a[:, 5:60], 32)))
    24
    """
    powers = np.ones(length, np.uint64)
    powers[1:] = np.cumprod(np.full(length - 1, 0x9E3779B97F4A7C15, np.uint64))  # wraps on purpose
    views = np.lib.stride_tricks.sliding_window_view(windows.astype(np.uint64) + 1, length, axis=-1)
    return np.unique(views @ powers)


@dataclass(slots=True)
class _Deal:
    """One dealing-out in progress."""

    text: Text
    tokenizer: Any
    window: int
    seed: int
    windows: dict[str, Tokens] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    @property
    def opening(self) -> int | None:
        return opening_token(self.tokenizer)

    def tokens(self, side: str) -> int:
        """Tokens of the pool that `side` draws from, all of them once it ran short."""
        return self._seen[_pool(self.text, side).name]

    def fill(self, quotas: Mapping[str, int], *, spread: bool) -> str:
        """Fill every side; return the name of one that stayed short, or nothing."""
        self._seen = {self.text.held_out.name: 0, self.text.calibration.name: 0}
        held_out = self._documents(self.text.held_out)
        other = held_out if self.text.shared else self._documents(self.text.calibration)
        length = self._run_length()
        taken = np.empty(0, np.uint64)
        for side in _SIDES:
            documents = other if side == "calibration" else held_out
            limit = max(self.window, quotas[side] // _SHARE)
            if side == "calibration" or not spread:
                limit = 0
            needed = -(-quotas[side] // self.window)
            if not self._fill_side(side, documents, needed, limit, taken, length):
                return side
            body = self.windows[side][:, 0 if self.opening is None else 1 :]
            taken = np.union1d(taken, runs(body, length))
        return ""

    def _fill_side(
        self,
        side: str,
        documents: Iterator[Tokens],
        needed: int,
        limit: int,
        taken: npt.NDArray[np.uint64],
        length: int,
    ) -> bool:
        body = self.window - (self.opening is not None)
        kept: list[Tokens] = []
        rest = np.empty(0, np.int64)
        self.used[side] = 0
        while len(kept) < needed:
            document = next(documents, None)
            if document is None:
                return False
            self.used[side] += 1
            rest = np.concatenate([rest, document[:limit] if limit else document])
            while len(rest) >= body and len(kept) < needed:
                piece, rest = rest[:body], rest[body:]
                if not np.isin(runs(piece[None], length), taken).any():
                    kept.append(piece)
        found = np.stack(kept)
        if self.opening is not None:
            found = np.pad(found, ((0, 0), (1, 0)), constant_values=self.opening)
        self.windows[side] = found
        return True

    def _documents(self, pool: Pool) -> Iterator[Tokens]:
        """Tokenised documents in dealing order; each is dealt once."""
        order = np.random.default_rng(self.seed).permutation(len(pool.documents))
        for index in order:
            tokens = self._tokenise(pool.documents[index])
            self._seen[pool.name] += len(tokens)
            yield tokens

    def _tokenise(self, document: str) -> Tokens:
        ids = self.tokenizer(document + "\n\n", add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return np.asarray(ids, dtype=np.int64)

    def _run_length(self) -> int:
        """Tokens in a run too long to be chance, for this vocabulary."""
        sample = " ".join(self.text.held_out.documents[:8])[:8_192]
        per_token = len(sample) / max(1, len(self._tokenise(sample)))
        return min(self.window - 1, max(_RUN_TOKENS, round(_RUN_CHARACTERS / per_token)))


def _pool(text: Text, side: str) -> Pool:
    return text.calibration if side == "calibration" else text.held_out


def _too_short(text: Text, side: str, quotas: Mapping[str, int], have: int) -> TextError:
    sides: tuple[str, ...] = _SIDES
    if not text.shared:
        sides = ("calibration",) if side == "calibration" else ("test", "selection")
    need = sum(quotas[name] for name in sides)
    return TextError(
        f"{_pool(text, side).name} is too short: it has {have:,} tokens, "
        f"{need:,} are needed ({', '.join(sides)})",
        fix="name a longer text with --text FILE; about five characters make a token, "
        f"so {5 * need / 1e6:.1f} MB is enough",
    )


def _digest(windows: Tokens) -> str:
    return hashlib.sha256(windows.astype("<i8").tobytes()).hexdigest()
