"""Read weights a few rows at a time, from safetensors or a PyTorch pickle; write safetensors.

Nothing here ever holds more than the tensor being moved, and pages of the
source are mapped only while they are read: a checkpoint of any size passes
through a fixed amount of memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import BrokenWeights, NotAModel

if TYPE_CHECKING:
    import torch

#: Which rows of a tensor to read: a run of them, or a list in any order.
Rows = slice | npt.NDArray[np.int64]

#: safetensors type -> how the bytes are laid out. bfloat16 is read as 16-bit integers.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<i2"}
_HEADER_LIMIT = 100_000_000  # bytes; the safetensors format's own limit


class Weights(Protocol):
    """The tensors of one checkpoint, readable in any order."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's name in the supported model's own naming, with its shape."""

    def read(self, name: str, rows: Rows) -> torch.Tensor:
        """Some rows (entries, for a vector) in float32; raise `BrokenWeights`."""


@dataclass(frozen=True, slots=True)
class _Place:
    file: Path
    kind: str
    shape: tuple[int, ...]
    start: int  # byte of the file


class SafetensorsWeights:
    """One safetensors file or several shards."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._places: dict[str, _Place] = {}
        for file in files:
            self._places |= _read_header(file)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes as stored."""
        return {name: place.shape for name, place in self._places.items()}

    def read(self, name: str, rows: Rows) -> torch.Tensor:
        """Some rows in float32."""
        import torch

        place = self._places[name]
        if place.kind not in _TYPES:
            raise BrokenWeights(
                f"{name} in {place.file.name} is stored as {place.kind}, which is no plain float",
                fix="give the model with weights in bfloat16, float16 or float32",
            )
        mapped = np.memmap(
            place.file, dtype=_TYPES[place.kind], mode="r", offset=place.start, shape=place.shape
        )
        part = torch.from_numpy(np.array(mapped[rows]))
        return (part.view(torch.bfloat16) if place.kind == "BF16" else part).float()


class Renamed:
    """Tensors under the names a model has for them now, where its files keep an old one.

    Args:
        weights: As the files name them.
        names: New name to old name.
    """

    def __init__(self, weights: Weights, names: Mapping[str, str]) -> None:
        self._weights, self._names = weights, names

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """By the new names."""
        new = {old: name for name, old in self._names.items()}
        return {new.get(name, name): shape for name, shape in self._weights.shapes.items()}

    def read(self, name: str, rows: Rows) -> torch.Tensor:
        """Some rows in float32."""
        return self._weights.read(self._names.get(name, name), rows)


class PickledWeights:
    """`pytorch_model.bin` files, opened without running any code they carry."""

    def __init__(self, files: Iterable[Path]) -> None:
        import torch

        self._tensors: dict[str, torch.Tensor] = {}
        for file in files:
            try:
                held = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError, ImportError) as error:
                raise _pickle_error(file, error) from error
            except Exception as error:  # pickle.UnpicklingError and whatever a hostile file raises
                raise _pickle_error(file, error) from error
            self._tensors |= {n: t for n, t in held.items() if isinstance(t, torch.Tensor)}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes as stored."""
        return {name: tuple(value.shape) for name, value in self._tensors.items()}

    def read(self, name: str, rows: Rows) -> torch.Tensor:
        """Some rows in float32."""
        import torch

        index = rows if isinstance(rows, slice) else torch.from_numpy(rows)
        return self._tensors[name][index].float()


def _pickle_error(file: Path, error: Exception) -> BrokenWeights:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BrokenWeights(
        f"{file.name} cannot be read safely: {first}",
        fix="convert it to safetensors (model.save_pretrained in its own environment)",
    )


def open_folder(folder: Path) -> tuple[Weights, tuple[Path, ...]]:
    """The weights of a Hugging Face folder, and the files that hold them.

    Raises:
        NotAModel: there are no weights.
        BrokenWeights: a shard is missing, truncated or unreadable.
    """
    for stem, opener in (
        ("model.safetensors", SafetensorsWeights),
        ("pytorch_model.bin", PickledWeights),
    ):
        files = _shards(folder, stem)
        if files:
            return opener(files), files
    raise NotAModel(
        f"{folder} holds no model.safetensors (nor shards, nor pytorch_model.bin)",
        fix="give the folder that holds config.json and the weights together",
    )


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors file of a folder, or its shards.

    Raises:
        NotAModel: there is none.
        BrokenWeights: a shard is missing.
    """
    files = _shards(folder, "model.safetensors")
    if not files:
        raise NotAModel(
            f"{folder} holds no model.safetensors, nor shards of it",
            fix="give the folder that holds config.json and the weights together",
        )
    return files


def _shards(folder: Path, stem: str) -> tuple[Path, ...]:
    index = folder / f"{stem}.index.json"
    if (folder / stem).is_file():
        return (folder / stem,)
    if not index.is_file():
        return ()
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BrokenWeights(
            f"{index.name} does not list the shards", fix="download the model again"
        ) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BrokenWeights(
            f"{len(missing)} of {len(names)} weight files are missing, first {missing[0]}",
            fix="download the missing files into the same folder",
        )
    return tuple(folder / name for name in names)


def _read_header(file: Path) -> dict[str, _Place]:
    size = file.stat().st_size
    again = "download the file again; compare its SHA-256 with the published one"
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 0 < length <= min(size - 8, _HEADER_LIMIT):
            raise BrokenWeights(f"{file.name} is no whole safetensors file", fix=again)
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            return {
                name: _place(file, name, entry, 8 + length, size) for name, entry in header.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenWeights(f"{file.name} has an unreadable header", fix=again) from error


def _place(file: Path, name: str, entry: Mapping[str, Any], base: int, size: int) -> _Place:
    begin, end = entry["data_offsets"]
    shape = tuple(int(n) for n in entry["shape"])
    kind = str(entry["dtype"])
    if base + end > size:
        raise BrokenWeights(
            f"{file.name} is truncated: {name} should end at byte {base + end:,}, "
            f"the file has {size:,}",
            fix="download the file again; compare its SHA-256 with the published one",
        )
    if kind in _TYPES and end - begin != prod(shape) * np.dtype(_TYPES[kind]).itemsize:
        raise BrokenWeights(
            f"{name} in {file.name} has {end - begin:,} bytes, which is not {shape} of {kind}",
            fix="download the file again; compare its SHA-256 with the published one",
        )
    return _Place(file, kind, shape, base + begin)


def write_bfloat16(
    path: Path, shapes: Mapping[str, tuple[int, ...]], pieces: Iterator[torch.Tensor]
) -> None:
    """Write a safetensors file from bfloat16 pieces that arrive in the order of `shapes`.

    The bytes are on the disk when this returns; the caller renames the file.
    """
    import torch

    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for piece in pieces:
            stream.write(piece.contiguous().view(torch.int16).numpy().data)
        stream.flush()
        os.fsync(stream.fileno())
        written = stream.tell() - 8 - len(text)
    if written != end:
        raise BrokenWeights(
            f"{path.name} received {written:,} bytes of {end:,}", fix="report this as a bug"
        )
