"""Bring any model the user names into one plain form: bfloat16 safetensors with its tokenizer."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from negawatt.core.codec import decode, encode
from negawatt.core.errors import BrokenWeights, NegawattError, NotAModel, OutputError
from negawatt.core.records import Layer
from negawatt.models import grid, hub
from negawatt.models.checkpoint import Rows, open_folder, write_bfloat16
from negawatt.models.grid import GridFinding
from negawatt.models.opened import Opened, digest_of, open_source
from negawatt.models.origin import Origin, locate
from negawatt.models.permute import Shuffle
from negawatt.models.tokenizer import copy_tokenizer, verify_tokenizer

if TYPE_CHECKING:
    import torch

#: Told what is being done and how much of it is done, 0 to 1.
Progress = Callable[[str, float], None]

MARKER = "negawatt.json"
_PARTIAL = "model.partial"
_VERSION = 1  # of the prepared form; a folder of another version is made again
_PIECE = 2**22  # values moved at a time: 16 MiB in float32


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model in the one form that everything later reads.

    Args:
        folder: config.json, model.safetensors in bfloat16, tokenizer, generation_config.json.
        origin: The model as the user named it.
        digest: SHA-256 of the source's weight file, or over names and digests of its shards.
        architecture: Class name, such as `LlamaForCausalLM`.
        parameters: Values, shared ones counted once.
        bf16_bytes: Size of the weights in bfloat16. [B]
        layers: Weight matrices in execution order: embedding, linears, head.
        notes: Facts the user should know, each one sentence.
        grid: Old quantisation grids found in the source.
        off_grid: True when the channels were reordered to leave those grids.
    """

    folder: Path
    origin: str
    digest: str
    architecture: str
    parameters: int
    bf16_bytes: int
    layers: tuple[Layer, ...]
    notes: tuple[str, ...]
    grid: tuple[GridFinding, ...]
    off_grid: bool


def prepare(
    model: str,
    work: Path,
    *,
    off_grid: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> ModelSource:
    """Turn `model` into a plain folder inside `work`; the source is never changed.

    Calling it again with the same source and settings returns at once. What an
    interrupted run left is made anew. Memory stays below a small multiple of the
    largest matrix, whatever the size of the model.

    Args:
        model: A Hugging Face folder, a .gguf file, `package:NAME`, or `org/name[@revision]`.
        work: Folder to write into; made when absent.
        off_grid: Reorder channels when the weights lie on an old quantisation grid.
        seed: Of that order.
        progress: Told of every step.

    Raises:
        NotAModel: there is no model there.
        UnsupportedArchitecture: a model of another family; the message lists those known.
        BrokenWeights: truncated, missing or not-a-number weights, by tensor name.
        TokenizerMissing: no tokenizer, or one of another model.
        OutputError: `work` cannot be written or the disk is full.
    """
    tell = progress or (lambda _what, _share: None)
    origin = locate(model)
    if origin.kind == "hub":
        tell("fetching the model", 0.0)
        origin = Origin("folder", model, hub.fetch(model))
    path = origin.path
    if path is None:
        raise NotAModel(f"{model} has no place on this machine", fix="report this as a bug")
    folder = work / "model"
    asked = {
        "version": _VERSION,
        "origin": model,
        "off_grid": off_grid,
        "seed": seed,
        "source": _stamp(path),
    }
    finished = _finished(folder, asked)
    if finished is not None:
        return finished
    try:
        return _make(origin, path, folder, asked, tell)
    except BaseException as error:
        shutil.rmtree(folder.with_name(_PARTIAL), ignore_errors=True)  # a full disk needs the room
        if isinstance(error, OSError):
            raise _disk_error(error, path, work) from error
        raise


def _stamp(path: Path) -> dict[str, list[int]]:
    """Size and time of the source's files: enough to see that it is the same source."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    try:
        seen = [(file.name, file.stat()) for file in files if file.is_file()]
    except PermissionError as error:
        raise NotAModel(f"{path} may not be read", fix=f"chmod -R u+rX {path}") from error
    return {name: [info.st_size, info.st_mtime_ns] for name, info in seen}


def _finished(folder: Path, asked: Mapping[str, Any]) -> ModelSource | None:
    """What an earlier run finished with the same settings and source."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        source = decode(ModelSource, marker["result"] | {"folder": str(folder)})
        whole = (folder / "model.safetensors").stat().st_size == marker["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return source if whole and marker["asked"] == asked else None


def _make(
    origin: Origin, path: Path, folder: Path, asked: Mapping[str, Any], tell: Progress
) -> ModelSource:
    opened = open_source(path)
    _check_space(folder.parent, opened.plan.bf16_bytes)
    partial = folder.with_name(_PARTIAL)
    for old in (partial, folder):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    tell("reading the tokenizer", 0.0)
    copy_tokenizer(path, partial)
    _write_json(partial / "config.json", opened.plan.config)
    _write_json(partial / "generation_config.json", _generation(path, opened.plan.config))
    verify_tokenizer(partial, rows=opened.plan.layers[0].rows)
    tell("looking for old grids", 0.0)
    layers = opened.plan.layers
    found = (
        grid.from_values(layers, opened.weights)
        if opened.types is None
        else grid.from_types(layers, opened.types)
    )
    shuffle = Shuffle.of(opened.plan.config, asked["seed"]) if found and asked["off_grid"] else None
    pieces = _pieces(opened, shuffle, tell)
    write_bfloat16(partial / "model.safetensors", opened.plan.shapes, pieces)
    tell("taking the digest of the source", 1.0)
    left = grid.from_values(layers, open_folder(partial)[0]) if shuffle else found
    source = ModelSource(
        folder=folder,
        origin=origin.name,
        digest=digest_of(opened.files),
        architecture=opened.plan.architecture,
        parameters=opened.plan.parameters,
        bf16_bytes=opened.plan.bf16_bytes,
        layers=layers,
        notes=(*opened.notes, *_grid_notes(found, left, moved=shuffle is not None)),
        grid=found,
        off_grid=shuffle is not None,
    )
    size = (partial / "model.safetensors").stat().st_size
    _write_json(partial / MARKER, {"asked": asked, "bytes": size, "result": encode(source)})
    partial.rename(folder)  # in one step: a folder of this name is always whole
    return source


def _pieces(opened: Opened, shuffle: Shuffle | None, tell: Progress) -> Iterator[torch.Tensor]:
    """Every tensor in order, a few rows at a time, checked and in bfloat16."""
    import torch

    done, total = 0, opened.plan.parameters
    for name, shape in opened.plan.shapes.items():
        row_order, col_order = shuffle.orders(name) if shuffle else (None, None)
        columns = None if col_order is None else torch.from_numpy(col_order)
        step = max(1, _PIECE // prod(shape[1:]))
        for start in range(0, shape[0], step):
            end = min(start + step, shape[0])
            rows: Rows = slice(start, end) if row_order is None else row_order[start:end]
            values = opened.weights.read(name, rows)
            piece = (values if columns is None else values[:, columns]).to(torch.bfloat16)
            if not bool(torch.isfinite(piece).all()):
                raise BrokenWeights(
                    f"{name} holds values that are not finite numbers",
                    fix="download the file again; if they are in the original, it cannot be used",
                )
            yield piece
            done += piece.numel()
            tell("converting weights", done / total)


def _grid_notes(
    found: Sequence[GridFinding], left: Sequence[GridFinding], *, moved: bool
) -> tuple[str, ...]:
    if not found:
        return ()
    what = "; ".join(str(finding) for finding in found)
    fact = (
        f"The source was quantised before: {what}. Its quality is that of those weights, "
        "not of the model they were made from."
    )
    notes = [fact]
    if moved:
        notes.append(
            "Its channels were reordered, which changes nothing it computes, so that a new "
            "quantiser cannot find the old grid again and look lossless."
        )
    if left:
        what = "; ".join(str(finding) for finding in left)
        notes.append(
            f"Still on a grid: {what}. A format with the same blocks finds it again there and "
            "looks better than it is on other models."
        )
    return tuple(notes)


def _generation(path: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The source's generation settings, or the special tokens its configuration names."""
    given = path / "generation_config.json"
    if path.is_dir() and given.is_file():
        try:
            held: dict[str, Any] = json.loads(given.read_text(encoding="utf-8"))
            return held
        except ValueError:  # advisory only: the model works without it
            pass
    keys = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {key: config[key] for key in keys if config.get(key) is not None}


def _check_space(work: Path, needed: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(work).free
    if free < needed:
        raise OutputError(
            f"{work} has {free / 1e9:.2f} GB free, the model needs {needed / 1e9:.2f} GB",
            fix="free some space, or choose another place with --out",
        )


def _disk_error(error: OSError, source: Path, work: Path) -> NegawattError:
    if error.filename and Path(error.filename).is_relative_to(source):
        return NotAModel(
            f"{error.filename} cannot be read: {error.strerror}", fix=f"chmod -R u+rX {source}"
        )
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutputError(
            f"the disk of {work} is full", fix="free some space, or choose another --out"
        )
    return OutputError(
        f"{work} cannot be written: {error.strerror or error}",
        fix="choose a folder you may write with --out",
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> Any:
    """Numbers of the array library as plain ones."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
