"""The tokenizer of a model as a GGUF file holds it, from the `tokenizer.json` beside the weights.

The engine has two kinds. In one, text is cut by a rule that has a name and pieces of bytes are
merged by rank; in the other, spaces become a sign of their own, letters are merged by score and
what is unknown is spelt in bytes. A tokenizer of another kind is left out of the file: it then
takes numbers alone, as `negawatt` gives them, and no text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

#: How a text is cut before merging, as the pattern in `tokenizer.json` says, and its name here.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    _CONTRACTIONS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _CONTRACTIONS + r"\p{N}" + _REST: "qwen2",
}
_SPACE = "\u2581"
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unk", "pad_token": "pad"}
_UNSEEN = -1e6  # score of what no merge makes: merged last


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the file says about text."""

    model: str  # `gpt2` or `llama`
    cut: str  # name of the rule
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]
    scores: Sequence[float]
    special: Mapping[str, int]  # bos, eos, unk, pad
    opens: bool  # with a token of its own before every text
    leads: bool  # with a space before every text
    template: str | None


def read_vocabulary(folder: Path, rows: int) -> Vocabulary | None:
    """The tokenizer in `folder`; None where there is none, or none that the engine knows.

    Args:
        folder: With `tokenizer.json`.
        rows: Of the embedding; tokens that are missing up to it are marked unused.
    """
    try:
        told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        model = told["model"]
        if model["type"] != "BPE":
            return None
    except (OSError, ValueError, KeyError):
        return None
    kind = _kind(told)
    if kind is None:
        return None
    settings = _settings(folder)
    tokens, types = _tokens(told, rows)
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    spelt = kind[0] == "llama"
    return Vocabulary(
        model=kind[0],
        cut=kind[1],
        tokens=tokens,
        types=types,
        merges=[] if spelt else merges,
        scores=_scores(tokens, merges) if spelt else [],
        special=_special(settings, tokens),
        opens=_opens(told, settings),
        leads="Prepend" in json.dumps(told.get("normalizer")) or _prefixed(told),
        template=_template(folder, settings),
    )


def write_vocabulary(writer: GGUFWriter, told: Vocabulary | None) -> None:
    """Add it to a file; without one the file says so."""
    if told is None:
        writer.add_tokenizer_model("none")
        return
    writer.add_tokenizer_model(told.model)
    writer.add_tokenizer_pre(told.cut)
    writer.add_token_list(list(told.tokens))
    writer.add_token_types(list(told.types))
    if told.scores:
        writer.add_token_scores(list(told.scores))
    if told.merges:
        writer.add_token_merges(list(told.merges))
    add = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    for name, number in told.special.items():
        add[name](number)
    writer.add_add_bos_token(told.opens)
    writer.add_add_space_prefix(told.leads)
    if told.template:
        writer.add_chat_template(told.template)


def _kind(told: Mapping[str, Any]) -> tuple[str, str] | None:
    """Which of the engine's tokenizers it is, and how it cuts; None when neither."""
    before = told.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before]) if before else []
    kinds = [step["type"] for step in steps]
    if told["model"].get("byte_fallback"):
        spaced = _SPACE in json.dumps(told.get("normalizer"), ensure_ascii=False)
        return ("llama", "default") if spaced or "Metaspace" in kinds else None
    if not kinds or kinds[-1] != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    if told.get("normalizer") not in (None, {"type": "NFC"}):
        return None
    if kinds == ["ByteLevel"]:
        return ("gpt2", "gpt-2") if steps[0].get("use_regex", True) else None
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return ("gpt2", "smollm")
    if kinds == ["Split", "ByteLevel"]:
        cut = PATTERNS.get(str(steps[0]["pattern"].get("Regex")))
        return None if cut is None else ("gpt2", cut)
    return None


def _tokens(told: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    vocabulary: dict[str, int] = told["model"]["vocab"]
    added = {int(one["id"]): one for one in told.get("added_tokens", [])}
    names = {number: text for text, number in vocabulary.items()}
    names |= {number: str(one["content"]) for number, one in added.items()}
    unknown = told["model"].get("unk_token")
    tokens, types = [], []
    for number in range(rows):
        text = names.get(number)
        tokens.append(f"[unused{number}]" if text is None else text)
        types.append(int(_type(text, added.get(number), unknown)))
    return tokens, types


def _type(text: str | None, added: Mapping[str, Any] | None, unknown: str | None) -> TokenType:
    if text is None:
        return TokenType.UNUSED
    if unknown is not None and text == unknown:
        return TokenType.UNKNOWN
    if added is not None:
        return TokenType.CONTROL if added.get("special") else TokenType.USER_DEFINED
    if len(text) == len("<0x00>") and text.startswith("<0x") and text.endswith(">"):
        return TokenType.BYTE
    return TokenType.NORMAL


def _scores(tokens: Sequence[str], merges: Sequence[str]) -> list[float]:
    """The higher, the earlier a merge makes the token."""
    rank: dict[str, int] = {}
    for at, merge in enumerate(merges):
        rank.setdefault(merge.replace(" ", ""), at)
    return [-float(rank[text]) if text in rank else _UNSEEN for text in tokens]


def _settings(folder: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(
            (folder / "tokenizer_config.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return {}
    return told


def _special(settings: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, int]:
    numbers = {text: number for number, text in enumerate(tokens)}
    found = {}
    for key, name in _SPECIAL.items():
        told = settings.get(key)
        text = told.get("content") if isinstance(told, Mapping) else told
        if isinstance(text, str) and text in numbers:
            found[name] = numbers[text]
    return found


def _opens(told: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a token goes before every text: as the tokenizer does it, else as it is set."""
    after = told.get("post_processor") or {}
    for step in after.get("processors", [after]):
        if step.get("type") == "TemplateProcessing":
            single = step.get("single") or []
            return bool(single) and "SpecialToken" in single[0]
    return bool(settings.get("add_bos_token", False)) and not after


def _prefixed(told: Mapping[str, Any]) -> bool:
    before = told.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before]) if before else []
    return any(
        step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never"
        for step in steps
    )


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    told = settings.get("chat_template")
    return told if isinstance(told, str) else None
