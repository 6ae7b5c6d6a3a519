"""Read a GGUF file: its configuration, tokenizer and tensors under Hugging Face names.

Tensors are dequantised a few rows at a time. The layout is that of llama.cpp;
its public format description and the `gguf` package are the references.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from negawatt.core.errors import BrokenWeights, TokenizerMissing, UnsupportedArchitecture
from negawatt.models.architecture import Blueprint, blueprint
from negawatt.models.checkpoint import Rows
from negawatt.models.gguf_config import ARCHITECTURES, DOWNLOAD, config_of, wanted
from negawatt.models.quiet import quiet

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class _Place:
    type_number: int
    type_name: str
    shape: tuple[int, ...]
    stored: tuple[int, ...]  # as bytes or floats, last axis packed
    dtype: str
    start: int


class GgufWeights:
    """The tensors of one GGUF file, under Hugging Face names."""

    def __init__(
        self, file: Path, places: Mapping[str, _Place], heads: tuple[int, int] | None, shift: float
    ) -> None:
        self._file = file
        self._places = places
        self._heads = heads  # (query, key) heads whose rows llama.cpp interleaved
        self._shift = shift  # Gemma files hold norm weights plus one

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes."""
        return {name: place.shape for name, place in self._places.items()}

    @property
    def types(self) -> Mapping[str, str]:
        """Each tensor's storage type: `Q4_1`, `F32`."""
        return {name: place.type_name for name, place in self._places.items()}

    def read(self, name: str, rows: Rows) -> torch.Tensor:
        """Some rows, dequantised to float32."""
        import torch
        from gguf import GGMLQuantizationType, dequantize

        place = self._places[name]
        data = np.memmap(
            self._file, dtype=place.dtype, mode="r", offset=place.start, shape=place.stored
        )
        rows = self._source_rows(name, rows)
        kind = GGMLQuantizationType(place.type_number)
        try:
            if len(place.shape) == 1:  # a vector is one row: unpack it, then choose
                values = dequantize(np.asarray(data), kind)[rows]
            else:
                values = dequantize(np.ascontiguousarray(data[rows]), kind)
        except NotImplementedError as error:
            raise BrokenWeights(
                f"{name} is stored as {place.type_name}, which cannot be turned back into numbers",
                fix="give the model in Q8_0 or F16, or the original safetensors",
            ) from error
        part = torch.from_numpy(np.array(values, dtype=np.float32))
        return part - self._shift if name.endswith("norm.weight") and self._shift else part

    def _source_rows(self, name: str, rows: Rows) -> Rows:
        """Undo llama.cpp's row order of query and key projections.

        It stores the two halves that rotary positions pair as neighbours:
        row `h*d + 2*i + s` of the file is row `h*d + s*d/2 + i` of the model.
        """
        if self._heads is None or (".q_proj." not in name and ".k_proj." not in name):
            return rows
        heads = self._heads[0 if ".q_proj." in name else 1]
        total = self._places[name].shape[0]
        order = np.arange(total).reshape(heads, total // heads // 2, 2).swapaxes(1, 2).reshape(-1)
        return order[rows]


@dataclass(frozen=True, slots=True)
class GgufModel:
    """Everything of a GGUF file except its tokenizer."""

    plan: Blueprint
    weights: GgufWeights


def open_gguf(file: Path) -> GgufModel:
    """Read the header of a GGUF file.

    Raises:
        BrokenWeights: truncated, split in parts, or not GGUF inside.
        UnsupportedArchitecture: a family not in `ARCHITECTURES`, or unknown tensors.
    """
    reader = _reader(file)
    fields = {key: field.contents() for key, field in reader.fields.items() if wanted(key)}
    if int(fields.get("split.count") or 1) > 1:
        raise BrokenWeights(
            f"{file.name} is one of {fields['split.count']} parts",
            fix="join them first: llama-gguf-split --merge FIRST_PART WHOLE.gguf",
        )
    family = str(fields.get("general.architecture"))
    if family not in ARCHITECTURES:
        raise UnsupportedArchitecture(
            f"GGUF architecture {family} is not supported",
            fix=f"give one of: {', '.join(ARCHITECTURES)}",
        )
    places = _places(file, reader)
    del reader  # its field table is several times the size of the strings in it
    factors = places.pop("rope_freqs.weight", None)
    shapes = {name: place.shape for name, place in places.items()}
    scaling = None if factors is None else _vector(file, factors)
    config = config_of(family, fields, shapes, scaling)
    plan = blueprint(config)
    named = _rename(family, plan, places)
    heads = (config["num_attention_heads"], config["num_key_value_heads"])
    weights = GgufWeights(
        file, named, heads if family == "llama" else None, 1.0 if family == "gemma3" else 0.0
    )
    return GgufModel(plan, weights)


def header(file: Path, key: str) -> Any:
    """One field of a GGUF file's header; None where it has none of that name.

    Raises:
        BrokenWeights: truncated, or not GGUF inside.
    """
    field = _reader(file).fields.get(key)
    return None if field is None else field.contents()


def _reader(file: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except (ValueError, IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise BrokenWeights(
            f"{file.name} is truncated or no GGUF file: {error}", fix=DOWNLOAD
        ) from error


def _places(file: Path, reader: Any) -> dict[str, _Place]:
    size = file.stat().st_size
    places = {}
    for tensor in reader.tensors:
        start = int(tensor.data_offset)
        if start + int(tensor.n_bytes) > size:
            raise BrokenWeights(f"{file.name} is truncated: {tensor.name} is cut off", fix=DOWNLOAD)
        places[str(tensor.name)] = _Place(
            int(tensor.tensor_type),
            tensor.tensor_type.name,
            tuple(int(n) for n in reversed(tensor.shape)),  # GGUF counts the inner axis first
            tuple(int(n) for n in tensor.data.shape),
            tensor.data.dtype.str,
            start,
        )
    return places


def _vector(file: Path, place: _Place) -> npt.NDArray[np.float64]:
    data = np.memmap(file, dtype=place.dtype, mode="r", offset=place.start, shape=place.stored)
    return np.array(data, dtype=np.float64)


def _rename(family: str, plan: Blueprint, places: Mapping[str, _Place]) -> dict[str, _Place]:
    """Places under Hugging Face names; raise when a tensor would be dropped."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == family)
    names = get_tensor_name_map(arch, int(plan.config["num_hidden_layers"]))
    named, left = {}, set(places)
    for name in plan.shapes:
        stem, _, suffix = name.rpartition(".")
        source = f"{names.get_name(stem)}.{suffix}"
        if source in places:
            named[name] = places[source]
            left.discard(source)
    if left:
        raise UnsupportedArchitecture(
            f"the file holds {len(left)} tensors a plain {plan.architecture} has not, "
            f"first {min(left)}",
            fix="give the original safetensors model",
        )
    return named


def save_gguf_tokenizer(file: Path, folder: Path) -> None:
    """Write the tokenizer inside a GGUF file as Hugging Face files; raise `TokenizerMissing`."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            tokenizer.save_pretrained(folder)
    except Exception as error:  # the converter raises whatever the missing field led to
        raise TokenizerMissing(
            f"{file.name} holds no tokenizer that can be used: {error}",
            fix="put the model's tokenizer.json beside its safetensors and give that folder",
        ) from error
