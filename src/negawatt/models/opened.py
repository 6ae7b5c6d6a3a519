"""A source that has been opened: what it should consist of, and its tensors, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negawatt.core.errors import BrokenWeights, NotAModel
from negawatt.models import gpt2
from negawatt.models.architecture import Blueprint, blueprint
from negawatt.models.checkpoint import Renamed, Weights, open_folder

_DERIVED = (".rotary_emb.inv_freq", ".masked_bias", ".attn.bias")  # old files keep; worked out anew

_OLD_NAMES = {"lm_head.weight": "embed_out.weight"}  # as files of GPT-NeoX have it


@dataclass(frozen=True, slots=True)
class Opened:
    """A model on disk, ready to be read.

    Args:
        plan: What it should consist of.
        weights: Its tensors, complete and of the right shapes.
        files: That hold the weights.
        types: Storage type of each tensor, where the file says so.
        notes: What the user should know of how it is read, each one sentence.
    """

    plan: Blueprint
    weights: Weights
    files: tuple[Path, ...]
    types: Mapping[str, str] | None
    notes: tuple[str, ...] = ()


def open_source(path: Path) -> Opened:
    """Open a folder or GGUF file and check that nothing is missing or left over.

    Raises:
        NotAModel: it holds no model, or may not be read.
        UnsupportedArchitecture: it holds one of another family.
        BrokenWeights: tensors are missing, misshapen, or would be lost.
    """
    opened = _open(path)
    _check_complete(opened)
    _check_rest(opened)
    return opened


def _open(path: Path) -> Opened:
    if path.is_file():
        from negawatt.models.gguf import open_gguf

        model = open_gguf(path)
        return Opened(model.plan, model.weights, (path,), model.weights.types)
    config = read_config(path / "config.json")
    plan = blueprint(config)
    try:
        weights, files = open_folder(path)
    except PermissionError as error:
        raise NotAModel(f"{path} may not be read", fix=f"chmod -R u+rX {path}") from error
    if gpt2.is_gpt2(config):
        return Opened(plan, gpt2.Gpt2AsOpt(weights, plan.shapes), files, None, (gpt2.NOTE,))
    old = {new: one for new, one in _OLD_NAMES.items() if one in weights.shapes}
    return Opened(plan, Renamed(weights, old) if old else weights, files, None)


def read_config(file: Path) -> dict[str, Any]:
    """The contents of a `config.json`.

    Raises:
        NotAModel: it may not be read, or is no JSON object.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise NotAModel(f"{file} may not be read", fix=f"chmod -R u+rX {file.parent}") from error
    except ValueError as error:
        raise NotAModel(f"{file} is no JSON", fix="download config.json again") from error
    if not isinstance(config, dict):
        raise NotAModel(f"{file} is no configuration", fix="download it again")
    return config


def _check_complete(opened: Opened) -> None:
    have = opened.weights.shapes
    missing = [name for name in opened.plan.shapes if name not in have]
    if missing:
        raise BrokenWeights(
            f"{len(missing)} of {len(opened.plan.shapes)} tensors are missing, first {missing[0]}",
            fix="download the model again, with every weight file",
        )
    for name, shape in opened.plan.shapes.items():
        if have[name] != shape:
            raise BrokenWeights(
                f"{name} is {list(have[name])}, config.json says {list(shape)}",
                fix="put weights and config.json of the same model together",
            )


def _check_rest(opened: Opened) -> None:
    """Raise when the source holds weights that the model would silently lose."""
    extra = set(opened.weights.shapes) - set(opened.plan.shapes)
    extra = {name for name in extra if not name.endswith(_DERIVED)}
    last = opened.plan.layers[-1]
    head, tied = f"{last.name}.weight", last.tied_to
    if tied and head in extra:  # stored twice, which is harmless while both are the same
        extra.discard(head)
        rows = slice(0, 64)
        same = opened.weights.read(head, rows).equal(opened.weights.read(f"{tied}.weight", rows))
        if not same:
            raise BrokenWeights(
                "config.json ties the head to the embedding, but their weights differ",
                fix='set "tie_word_embeddings": false in config.json',
            )
    if extra:
        raise BrokenWeights(
            f"config.json accounts for all but {len(extra)} tensors, first {min(extra)}",
            fix="restore the config.json that was published with the weights",
        )


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of one file, or over the names and digests of several."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(files) == 1:
        return digests[0]
    lines = "".join(f"{d}  {f.name}\n" for d, f in zip(digests, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()
