"""Carry the tokenizer along, and check that it belongs to the weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from negawatt.core.errors import TokenizerMissing
from negawatt.models.quiet import quiet

#: Files a tokenizer may consist of. Any of the first four can stand alone or with others.
_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
_FIX = "put the model's tokenizer.json and tokenizer_config.json beside its weights"


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Write the tokenizer of a model folder or GGUF file into `folder`.

    Raises:
        TokenizerMissing: there is none.
    """
    if source.is_file():
        from negawatt.models.gguf import save_gguf_tokenizer

        save_gguf_tokenizer(source, folder)
        return
    if not any((source / name).is_file() for name in _FILES[:4]):
        raise TokenizerMissing(f"{source} has weights but no tokenizer", fix=_FIX)
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a prepared folder.

    Raises:
        TokenizerMissing: it is absent or cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TokenizerMissing(
            f"the tokenizer in {folder} cannot be read: {first}", fix=_FIX
        ) from error


def verify_tokenizer(folder: Path, *, rows: int) -> None:
    """Raise `TokenizerMissing` when the tokenizer makes tokens the embedding of `rows` lacks."""
    tokenizer = load_tokenizer(folder)
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= rows or highest < 0:
        raise TokenizerMissing(
            f"the tokenizer has tokens up to number {highest}, the embedding has {rows} rows: "
            "they are not of the same model",
            fix="put the tokenizer that was made with these weights beside them",
        )


def opening_token(tokenizer: Any) -> int | None:
    """The token that the tokenizer puts before every text; None when it puts none."""
    ids = tokenizer("a", add_special_tokens=True)["input_ids"]
    bos = tokenizer.bos_token_id
    return int(bos) if bos is not None and ids and ids[0] == bos else None
