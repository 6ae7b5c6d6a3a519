"""Reading and writing model folders tensor by tensor, so that no second copy is held."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from negawatt.core.errors import BrokenWeights, NotAModel, OutputError

#: Written into every exported folder: what was chosen, what was stored, notes.
RECORD = "negawatt.json"

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_POOLING = "*_Pooling/config.json"
_COPIED = {".json", ".txt", ".model", ".jinja", ".tiktoken"}  # tokenizer and generation settings
_LEGAL = ("license", "licence", "notice", "copying")
_SHARES = 16  # a shard holds at most this part of the source, so memory stays low
_LEAST_SHARD = 64 * 2**20  # [B]


class SourceWeights:
    """The tensors of a Hugging Face folder, read one at a time.

    Raises:
        NotAModel: the folder has no safetensors weights.
        BrokenWeights: a file is missing, truncated or not safetensors.
    """

    def __init__(self, folder: Path) -> None:
        index = folder / _INDEX
        if index.is_file():
            names = sorted(set(read_json(index)["weight_map"].values()))
        elif (folder / _WEIGHTS).is_file():
            names = [_WEIGHTS]
        else:
            raise NotAModel(
                f"{folder} holds no safetensors weights",
                fix=f"give a Hugging Face folder with {_WEIGHTS} or {_INDEX}",
            )
        self._files = [folder / name for name in names]
        self._places: dict[str, Path] = {}
        for path in self._files:
            with _opened(path) as source:
                self._places.update(dict.fromkeys(source.keys(), path))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape, without reading its values."""
        with _opened(self._places[name]) as source:
            return tuple(source.get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        """Its type, from its first row."""
        with _opened(self._places[name]) as source:
            row: Tensor = source.get_slice(name)[:1]
            return row.dtype

    def read(self, name: str) -> Tensor:
        """One tensor, in its own type."""
        with _opened(self._places[name]) as source:
            tensor: Tensor = source.get_tensor(name)
            return tensor

    @property
    def size(self) -> int:
        """All files together. [B]"""
        return sum(path.stat().st_size for path in self._files)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as source:
            yield source
    except (OSError, SafetensorError) as error:
        raise BrokenWeights(
            f"{path} cannot be read: {error}",
            fix="download or save the model again; the file is missing or truncated",
        ) from error


class ShardWriter:
    """Collects tensors and writes a file whenever enough have come together.

    Memory held is one shard: 64 MiB, a sixteenth of the source or its largest tensor,
    whichever is most.
    """

    def __init__(self, folder: Path, source_bytes: int) -> None:
        self._folder = folder
        self._limit = max(source_bytes // _SHARES, _LEAST_SHARD)
        self._pending: dict[str, Tensor] = {}
        self._pending_bytes = 0
        self._shards: list[list[str]] = []
        self.size = 0  # bytes of tensors taken so far

    def add(self, name: str, tensor: Tensor) -> None:
        """Take one tensor; it may be written now or later."""
        tensor = tensor.contiguous()
        if self._pending and self._pending_bytes + tensor.nbytes > self._limit:
            self._flush()
        self._pending[name] = tensor
        self._pending_bytes += tensor.nbytes
        self.size += tensor.nbytes

    def finish(self) -> None:
        """Write what is left and, for more than one file, the index."""
        self._flush()
        count = len(self._shards)
        if count == 1:
            self._part(0).rename(self._folder / _WEIGHTS)
            return
        places = {}
        for number, names in enumerate(self._shards):
            final = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            self._part(number).rename(self._folder / final)
            places.update(dict.fromkeys(names, final))
        index = {"metadata": {"total_size": self.size}, "weight_map": dict(sorted(places.items()))}
        write_json(self._folder / _INDEX, index)

    def _flush(self) -> None:
        save_file(self._pending, self._part(len(self._shards)), metadata={"format": "pt"})
        self._part(len(self._shards)).chmod(0o644)  # safetensors leaves it to its owner alone
        self._shards.append(list(self._pending))
        self._pending = {}
        self._pending_bytes = 0

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number:05d}"


@contextlib.contextmanager
def arriving(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and vanishes otherwise.

    An earlier export of ours at `out` is replaced; anything else there is left alone.

    Raises:
        OutputError: `out` is taken, or cannot be written.
    """
    temporary: Path | None = None
    try:
        _refuse_strangers(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{out.name}-", suffix=".partial", dir=out.parent)
        )
        temporary.chmod(0o755)
        yield temporary
        if out.exists():
            old = temporary.with_suffix(".old")
            out.replace(old)
            temporary.replace(out)
            shutil.rmtree(old)
        else:
            temporary.replace(out)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{out} cannot be written: {error}",
            fix="free some space there or name another folder with write permission",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _refuse_strangers(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file", fix="name a folder that does not exist yet")
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise OutputError(
            f"{out} already holds files that no export wrote",
            fix="name an empty or new folder",
        )


def copy_company(source: Path, out: Path) -> None:
    """Copy tokenizer, generation settings and licence files beside the weights."""
    for path in sorted(source.iterdir()):
        legal = path.name.lower().startswith(_LEGAL)
        if path.is_file() and (path.suffix in _COPIED or legal) and not _ours(path.name):
            shutil.copyfile(path, out / path.name)
    for path in sorted(source.glob(_POOLING)):  # how a model of sentences makes its vectors
        (out / path.parent.name).mkdir(exist_ok=True)
        shutil.copyfile(path, out / path.parent.name / path.name)


def _ours(name: str) -> bool:
    return name in {"config.json", RECORD} or name.endswith(".index.json")


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object; raise `BrokenWeights` when it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenWeights(
            f"{path} cannot be read: {error}", fix="download or save the model again"
        ) from error
    if not isinstance(value, dict):
        raise BrokenWeights(f"{path} is not a JSON object", fix="download the model again")
    return value


def write_json(path: Path, value: object) -> None:
    """Write indented JSON and see it safely to the disk."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
