"""GGUF files: written tensor by tensor, from a Hugging Face folder or from another GGUF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import safetensors
import torch
from gguf import GGMLQuantizationType as Kind

from negawatt.adapters.runtimes import llamacpp_header as header
from negawatt.adapters.runtimes.artifact import Place, checked_fit
from negawatt.adapters.runtimes.huggingface import check_files, matrices
from negawatt.adapters.runtimes.llamacpp_blocks import Stored, blocks
from negawatt.adapters.runtimes.llamacpp_second_look import EMBEDDING, HEAD, KEY, REACH, pays
from negawatt.adapters.runtimes.llamacpp_vocab import (
    Vocabulary,
    read_vocabulary,
    write_vocabulary,
)
from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.core.records import QuantisedWeight

_ROWS = 8192  # of a matrix turned into another number format at a time

_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class About:
    """What a file says beside its weights."""

    config: Any
    vocabulary: Vocabulary | None  # None writes a file that takes no text

    @classmethod
    def of(cls, folder: Path) -> About:
        """From the configuration and the tokenizer in a folder."""
        config = header.configuration(folder)
        return cls(config, read_vocabulary(folder, config.vocab_size))


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor to be written: its name, storage type, shape in bytes, and how to get it."""

    name: str
    kind: Kind
    shape: tuple[int, ...]  # the last axis counted in bytes
    parts: Callable[[], Iterator[_Bytes]]  # consecutive rows

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return int(np.prod(self.shape))


def write(path: Path, about: About, tensors: list[Tensor]) -> None:
    """Write a GGUF file; one part of one tensor is held at a time."""
    writer = gguf.GGUFWriter(path, header.FAMILIES[about.config.model_type])
    header.write_header(writer, about.config)
    write_vocabulary(writer, about.vocabulary)
    kinds = {tensor.name: tensor.kind for tensor in tensors}
    if _shares_head(about.config) and pays(kinds.get(EMBEDDING), kinds.get(HEAD)):
        writer.add_float32(KEY, REACH)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.uint8), tensor.size, raw_dtype=tensor.kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("ab") as file:
        _pad(file)
        for tensor in tensors:
            for part in tensor.parts():
                file.write(np.ascontiguousarray(part).data)
            _pad(file)


def _shares_head(config: Any) -> bool:
    """Whether a row of the embedding gives a logit as it is."""
    scaled = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    plain = all(getattr(config, name, None) in {None, 1.0} for name in scaled)
    return bool(config.tie_word_embeddings) and plain


def _pad(file: Any) -> None:
    file.write(b"\0" * (-file.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))


# ------------------------------------------------------------------ from a Hugging Face folder


@contextmanager
def source(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Slices of every tensor in the folder by name; the files stay mapped meanwhile."""
    check_files(folder)
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = stack.enter_context(safetensors.safe_open(path, framework="pt"))
            found |= {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        yield found


def build(folder: Path, out: Path) -> dict[str, Place]:
    """Write the model in `folder` as GGUF with 16-bit matrices, and say where its layers are.

    Matrices keep the 16-bit form they have; from float32 they go to float16, which
    keeps three more bits than bfloat16. Vectors become float32.

    Raises:
        NotAModel: `folder` is no Hugging Face folder.
        BrokenWeights: weights are damaged or missing.
        UnsupportedArchitecture: the engine would compute something else.
    """
    about = About.of(folder)
    config = about.config
    shapes = matrices(folder)
    head = next(name for name in shapes if name.endswith("lm_head"))
    names = Names(config, head)
    with source(folder) as slices:
        tied = config.tie_word_embeddings
        tensors = []
        for name, part in slices.items():
            if name == f"{head}.weight" and tied:
                continue
            tensors.append(_converted(names.of(name), part, _treatment(name, config)))
        factors = header.rope_factors(config)
        if factors is not None:
            data = factors.view(np.uint8)
            tensors.append(Tensor("rope_freqs.weight", Kind.F32, data.shape, lambda: iter([data])))
        missing = {f"{name}.weight" for name in shapes if not (tied and name == head)}
        missing -= set(slices)
        if missing:
            raise BrokenWeights(
                f"{folder} lacks {min(missing)}", fix="download the model again and check its size"
            )
        write(out, about, tensors)
    return {name: Place(names.of(f"{name}.weight"), 0, *shape) for name, shape in shapes.items()}


class Names:
    """Names of tensors in the file."""

    def __init__(self, config: Any, head: str) -> None:
        family = header.FAMILIES[config.model_type]
        arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
        self._map = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
        self._head = head

    def of(self, name: str) -> str:
        """The name in the file of a parameter."""
        stem, _, suffix = name.rpartition(".")
        found = "output" if stem == self._head else self._map.get_name(stem)
        if found is None:
            raise UnsupportedArchitecture(
                f"llama.cpp has no place for {name}", fix="use the runtime openvino or torch"
            )
        return f"{found}.{suffix}"


@dataclass(frozen=True, slots=True)
class _Treatment:
    order: npt.NDArray[np.int64] | None  # of the rows
    shift: float  # added to every value, as it is stored


def _treatment(name: str, config: Any) -> _Treatment:
    order = header.file_order(name, config)
    # Gemma stores norm weights without the one that is added to them.
    gemma = config.model_type == "gemma3_text" and name.endswith("norm.weight")
    return _Treatment(None if order is None else np.array(order), 1.0 if gemma else 0.0)


def _converted(name: str, part: Any, treatment: _Treatment) -> Tensor:
    shape = tuple(part.get_shape())
    stored = str(part.get_dtype())
    if len(shape) == 1:
        kind, dtype = Kind.F32, torch.float32
    elif stored == "BF16":
        kind, dtype = Kind.BF16, torch.bfloat16
    else:
        kind, dtype = Kind.F16, torch.float16
    width = dtype.itemsize

    def parts() -> Iterator[_Bytes]:
        for at in range(0, shape[0], _ROWS):
            stop = min(at + _ROWS, shape[0])
            rows = part[at:stop] if treatment.order is None else part[:][treatment.order[at:stop]]
            values = (rows.to(dtype) + treatment.shift).contiguous()
            if not bool(torch.isfinite(values).all()):
                raise BrokenWeights(
                    f"{name} holds values that 16 bits cannot hold, or that are no numbers",
                    fix="save the model in bfloat16, or download it again",
                )
            yield values.view(torch.uint8).numpy()

    return Tensor(name, kind, (*shape[:-1], shape[-1] * width), parts)


# ------------------------------------------------------------------ from another GGUF


@dataclass(frozen=True, slots=True)
class _Spooled:
    kind: Kind
    shape: tuple[int, int]
    start: int


def rewrite(
    base: Path,
    about: About,
    layers: Mapping[str, Place],
    weights: Mapping[str, QuantisedWeight],
    out: Path,
) -> dict[str, Place]:
    """Write `base` anew with the layers in `weights` as blocks of codes; return the new places.

    Every value is read once. A head that shared the embedding's weights gets its own.

    Raises:
        UsageError: a layer is unknown, or its codes do not fit it or the engine.
    """
    places = dict(layers)
    spool = out.with_name("spool")
    found: dict[str, _Spooled] = {}
    with spool.open("wb") as file:
        for name, place, weight in checked_fit(layers, weights):
            stored = blocks(_in_file_order(weight, header.file_order(name, about.config)), name)
            places[name] = place.stored_as(weight.format)
            rows, width = stored.data.shape
            found[place.node] = _Spooled(stored.kind, (rows, width), file.tell())
            file.write(stored.data.data)
    if _same(found.get(EMBEDDING), found.get(HEAD), spool):
        del found[HEAD]  # a file without a head of its own multiplies with the embedding
    tensors = [
        _respooled(tensor.name, found.pop(tensor.name), spool) if tensor.name in found else tensor
        for tensor in opened(base)
    ]
    tensors += [_respooled(name, one, spool) for name, one in found.items()]
    write(out, about, tensors)
    spool.unlink()
    return places


def _same(one: _Spooled | None, other: _Spooled | None, spool: Path) -> bool:
    """True when two matrices were spooled alike, bit by bit."""
    if one is None or other is None or (one.kind, one.shape) != (other.kind, other.shape):
        return False
    parts = zip(
        _respooled("", one, spool).parts(), _respooled("", other, spool).parts(), strict=True
    )
    return all(np.array_equal(a, b) for a, b in parts)


def _in_file_order(weight: QuantisedWeight, order: Any) -> QuantisedWeight:
    if order is None:
        return weight
    parts = (np.asarray(getattr(weight, part))[order] for part in ("codes", "scale", "zero"))
    return QuantisedWeight(weight.format, *parts)


def _respooled(name: str, one: _Spooled, spool: Path) -> Tensor:
    def parts() -> Iterator[_Bytes]:
        data = np.memmap(spool, np.uint8, mode="r", offset=one.start, shape=one.shape)
        for at in range(0, one.shape[0], _ROWS):
            yield data[at : at + _ROWS]

    return Tensor(name, one.kind, one.shape, parts)


def opened(path: Path) -> list[Tensor]:
    """The tensors of a GGUF file, as they are stored."""
    found = []
    for tensor in gguf.GGUFReader(path).tensors:
        raw = np.atleast_1d(tensor.data).view(np.uint8)
        found.append(Tensor(tensor.name, tensor.tensor_type, raw.shape, _rows_of(raw)))
    return found


def _rows_of(raw: Any) -> Callable[[], Iterator[_Bytes]]:
    def parts() -> Iterator[_Bytes]:
        for at in range(0, raw.shape[0], _ROWS):
            yield raw[at : at + _ROWS]

    return parts


def widened(base: Path, about: About, out: Path) -> None:
    """Write `base` anew with every value decoded to float32."""

    def wide(stored: Stored) -> Callable[[], Iterator[_Bytes]]:
        def parts() -> Iterator[_Bytes]:
            for at in range(0, stored.data.shape[0], _ROWS):
                rows = np.ascontiguousarray(stored.data[at : at + _ROWS])
                if stored.data.ndim == 1:  # a vector is one row
                    rows = np.ascontiguousarray(stored.data)
                values = gguf.dequantize(rows, stored.kind).astype(np.float32)
                yield values.view(np.uint8)
                if stored.data.ndim == 1:
                    return

        return parts

    tensors = []
    for tensor in gguf.GGUFReader(base).tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        shape[-1] *= 4
        raw = np.asarray(tensor.data).view(np.uint8)
        tensors.append(
            Tensor(tensor.name, Kind.F32, tuple(shape), wide(Stored(tensor.tensor_type, raw)))
        )
    write(out, about, tensors)
