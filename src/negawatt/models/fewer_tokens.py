"""A tokenizer with fewer tokens, which cuts a text as before wherever the tokens are left.

Byte-pair encoding joins pairs in a fixed order. When a token goes, the pair that makes it goes
too, and text that held it stays in smaller pieces. A text all of whose tokens stay, with the
pieces these are made of, goes through the very same joins in the very same order: the pair that
was the first in line before is there, and those that are gone were not it. So it is cut as before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from negawatt.core.errors import TokenizerMissing, UnsupportedArchitecture, UsageError

_FILE = "tokenizer.json"
_OTHER_FORMS = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model")
_CONFIGS = ("config.json", "generation_config.json")
_LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_SPACE = "\u2581"  # how SentencePiece writes a space


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The tokens of a byte-pair tokenizer and how they are made.

    Args:
        told: What `tokenizer.json` says.
        numbers: Of each token of the model, by its text.
        ranks: Of each pair that is joined: lower ones go first.
    """

    told: Mapping[str, Any]
    numbers: Mapping[str, int]
    ranks: Mapping[tuple[str, str], int]

    @classmethod
    def read(cls, folder: Path) -> Pieces:
        """Those of the tokenizer in a folder.

        Raises:
            TokenizerMissing: it has no `tokenizer.json`.
            UnsupportedArchitecture: it is of another kind.
        """
        try:
            told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TokenizerMissing(
                f"{folder} has no {_FILE} that can be read",
                fix="save the tokenizer with transformers (save_pretrained), which writes one",
            ) from error
        model = told.get("model") or {}
        marked = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if model.get("type") != "BPE" or marked:
            kind = model.get("type") or "unnamed"
            raise UnsupportedArchitecture(
                f"a tokenizer of kind {kind}{' with marked parts' if marked else ''} is not trimmed",
                fix="leave --vocabulary out; plain byte-pair tokenizers (BPE) can be trimmed",
            )
        pairs = [_pair(one) for one in model["merges"]]
        return cls(told, model["vocab"], {pair: rank for rank, pair in enumerate(pairs)})

    def basis(self) -> set[int]:
        """Tokens without which some text could not be encoded, and those added by name."""
        found = {int(one["id"]) for one in self.told.get("added_tokens") or ()}
        model = self.told["model"]
        letters: Iterable[str]
        if "ByteLevel" in json.dumps([self.told.get("pre_tokenizer"), self.told.get("decoder")]):
            from tokenizers.pre_tokenizers import ByteLevel

            letters = ByteLevel.alphabet()
        elif model.get("byte_fallback"):
            plain = [one for one in self.numbers if len(one) == 1 and one.isascii()]
            letters = [*(one for one in self.numbers if _BYTE.fullmatch(one)), *plain, _SPACE]
        else:
            letters = [one for one in self.numbers if len(one) == 1]
        wanted = {*letters, model.get("unk_token")}
        return found | {self.numbers[one] for one in wanted if one in self.numbers}

    def made_of(self, token: str) -> set[int]:
        """A token and all it is joined from, as numbers.

        >>> told = {"model": {"type": "BPE"}}
        >>> numbers = {"a": 0, "b": 1, "c": 2, "bc": 3, "abc": 4, "ab": 5}
        >>> pieces = Pieces(told, numbers, {("b", "c"): 0, ("a", "b"): 1, ("a", "bc"): 2})
        >>> sorted(pieces.made_of("abc"))
        [0, 1, 2, 3, 4]
        """
        parts = list(token)
        seen = {token, *parts}
        while len(parts) > 1:
            last = len(self.ranks)
            ranked = [self.ranks.get(pair, last) for pair in pairwise(parts)]
            best = min(ranked)
            if best == last:
                break
            at = ranked.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            seen.add(parts[at])
        return {self.numbers[one] for one in seen if one in self.numbers}


def choose(
    pieces: Pieces, counts: Mapping[int, int], always: set[int], step: int, limit: int | None
) -> list[int]:
    """Which tokens stay, ascending: those used, with all they are made of, and a round number.

    Args:
        pieces: All there are.
        counts: How often each is used; those that are not used are left out.
        always: Tokens that stay whatever the text says.
        step: Their number is brought to a multiple of this, by tokens that were made early.
        limit: How many may stay; as many as are used when None.

    Raises:
        UsageError: so few are not enough to write every text, or none would go.
    """
    texts = {number: text for text, number in pieces.numbers.items()}
    kept = pieces.basis() | always
    total = len(set(texts) | kept)
    if limit is not None:
        limit = max(1, limit // step) * step if limit > step else limit
        if limit < len(kept):
            raise UsageError(
                f"{limit} tokens are too few: {len(kept)} spell every text and mark its parts",
                fix=f"let at least {-(-len(kept) // step) * step} stay",
            )
    for number in sorted(counts, key=lambda one: (-counts[one], one)):
        if number in texts:
            _grow(kept, pieces.made_of(texts[number]), limit)
    rounded = -(-len(kept) // step) * step
    goal = limit or (rounded if rounded < total else len(kept))
    for number in sorted(texts):
        if len(kept) >= goal:
            break
        _grow(kept, pieces.made_of(texts[number]), goal)
    if len(kept) >= total:
        raise UsageError(
            f"all {total:,} tokens would stay",
            fix="give a shorter text or a smaller number with --vocabulary, or leave it out",
        )
    return sorted(kept)


def _grow(kept: set[int], more: set[int], limit: int | None) -> None:
    if limit is None or len(kept | more) <= limit:
        kept |= more


def numbers_named(folder: Path) -> set[int]:
    """Tokens that the configuration of a model names: beginning, end, padding."""
    found: set[int] = set()
    for name in _CONFIGS:
        if (folder / name).is_file():
            _named(json.loads((folder / name).read_text(encoding="utf-8")), found.add)
    return {one for one in found if one >= 0}


def _named(config: Mapping[str, Any], see: Any) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, list):
            for one in value:
                walk(one)
        elif isinstance(value, int) and not isinstance(value, bool):
            see(value)

    for key, value in config.items():
        if key.endswith("token_id") or key in _LISTS:
            walk(value)


def rewrite(folder: Path, kept: list[int]) -> None:
    """Leave the tokens `kept` in the tokenizer and configurations of a folder, numbered anew.

    Args:
        folder: Changed in place.
        kept: Numbers of tokens, ascending; their places are the new numbers.
    """
    new = {number: place for place, number in enumerate(kept)}
    told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    model = told["model"]
    vocabulary = {text: new[one] for text, one in model["vocab"].items() if one in new}
    model["vocab"] = vocabulary
    model["merges"] = [
        one
        for one in model["merges"]
        if all(part in vocabulary for part in (*_pair(one), "".join(_pair(one))))
    ]
    for one in told.get("added_tokens") or ():
        one["id"] = new[one["id"]]
    _frames(told.get("post_processor"), new)
    _write(folder / _FILE, told)
    for name in _OTHER_FORMS:
        (folder / name).unlink(missing_ok=True)
    _rewrite_settings(folder, new)
    for name in _CONFIGS:
        if (folder / name).is_file():
            config = json.loads((folder / name).read_text(encoding="utf-8"))
            _write(folder / name, _renumbered(config, new))


def _rewrite_settings(folder: Path, new: Mapping[int, int]) -> None:
    settings, added = folder / "tokenizer_config.json", folder / "added_tokens.json"
    if settings.is_file():
        told = json.loads(settings.read_text(encoding="utf-8"))
        marks = told.get("added_tokens_decoder")
        if marks:
            told["added_tokens_decoder"] = {
                str(new[int(number)]): one for number, one in marks.items() if int(number) in new
            }
        _write(settings, told)
    if added.is_file():
        told = json.loads(added.read_text(encoding="utf-8"))
        _write(added, {text: new[one] for text, one in told.items() if one in new})


def _frames(told: Any, new: Mapping[int, int]) -> None:
    """Number the tokens anew that a post-processor puts around a text."""
    if not isinstance(told, dict):
        return
    for one in told.get("processors") or ():
        _frames(one, new)
    special = told.get("special_tokens")
    for one in special.values() if isinstance(special, dict) else ():
        one["ids"] = [new[number] for number in one["ids"]]
    for mark in ("sep", "cls"):
        if isinstance(told.get(mark), list):
            text, number = told[mark]
            told[mark] = [text, new[number]]


def _renumbered(config: dict[str, Any], new: Mapping[int, int]) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(one) for one in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return new.get(value, value)
        return value

    return {
        key: walk(value) if key.endswith("token_id") or key in _LISTS else value
        for key, value in config.items()
    }


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _write(path: Path, told: Any) -> None:
    path.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
