"""Weights beside an ONNX graph: one file of bytes, and the nodes that read from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from negawatt.adapters.runtimes.onnx_engine import onnx
from negawatt.core.errors import UsageError
from negawatt.core.records import Format, QuantisedWeight

FILE = "weights.bin"
CONTRIB = "com.microsoft"  # where the engine's own operators live
_ALIGN = 64
_BLOCKS = (128, 64, 32, 16)  # widths of a block of codes, widest first
_ROWS = 8192

_Bytes = npt.NDArray[np.uint8]

#: What the engine multiplies as codes. Blocks are powers of two, so a scale for a whole row is
#: written once for each block: the same values, a little more to read.
FORMATS = (
    Format(8),
    Format(8, symmetric=False),
    *(Format(4, group, symmetric=s) for group in (32, 64, 128) for s in (True, False)),
)


class Blob:
    """A file that tensors are appended to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, name: str, kind: int, shape: Iterable[int], parts: Iterable[Any]) -> Any:
        """Append the bytes of a tensor, and return the record that points at them."""
        self._file.write(b"\0" * (-self._file.tell() % _ALIGN))
        start = self._file.tell()
        for part in parts:
            self._file.write(np.ascontiguousarray(part).data)
        tensor = onnx().TensorProto(name=name, data_type=kind, dims=list(shape))
        tensor.data_location = onnx().TensorProto.EXTERNAL
        for key, value in (
            ("location", FILE),
            ("offset", start),
            ("length", self._file.tell() - start),
        ):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def copied(tensor: Any, source: Path, blob: Blob) -> Any:
    """The same tensor, moved from another file of weights."""
    where = {one.key: one.value for one in tensor.external_data}
    data = np.memmap(
        source, np.uint8, "r", offset=int(where["offset"]), shape=(int(where["length"]),)
    )
    step = _ROWS * 1024
    parts = (data[at : at + step] for at in range(0, len(data), step))
    return blob.add(tensor.name, tensor.data_type, tensor.dims, parts)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """One quantised matrix as the engine's operators want it.

    Args:
        block: Neighbours with one scale.
        codes: uint8, [rows, blocks, block * bits / 8].
        scale: float32, [rows, blocks].
        zero: uint8, [rows, ceil(blocks * bits / 8)]; None when symmetric.
    """

    block: int
    codes: _Bytes
    scale: npt.NDArray[np.float32]
    zero: _Bytes | None


def coded(weight: QuantisedWeight, name: str) -> Coded:
    """The stored form of `weight`, which means exactly the same.

    Raises:
        UsageError: the engine has no such form.
    """
    fmt = weight.format
    codes = np.asarray(weight.codes)
    rows, cols = codes.shape
    span = fmt.group or cols
    block = next((one for one in _BLOCKS if span % one == 0), 0)
    if fmt.bits not in {4, 8} or fmt.levels or not block:
        raise UsageError(
            f"ONNX Runtime does not multiply {name} in {fmt}",
            fix="choose among the formats it offers",
        )
    times = span // block
    scale = np.repeat(np.asarray(weight.scale, np.float32), times, axis=1)
    zero = None
    if not fmt.symmetric:
        zero = np.repeat(np.asarray(weight.zero, np.uint8), times, axis=1)
        zero = zero if fmt.bits == 8 else pairs(zero)
    packed = codes if fmt.bits == 8 else pairs(codes)
    return Coded(block, packed.reshape(rows, cols // block, -1), scale, zero)


def pairs(values: _Bytes) -> _Bytes:
    """Two codes of four bits in a byte, the first in the low half; odd rows end with a zero."""
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
    return values[..., 0::2] | (values[..., 1::2] << np.uint8(4))


def product(weight: QuantisedWeight, name: str, ends: tuple[str, str], blob: Blob) -> list[Any]:
    """A node that multiplies with the codes of `weight`, after the tensors it reads.

    Args:
        weight: Codes, scales and zero points.
        name: Of the layer.
        ends: Names of what comes in and what goes out.
        blob: Where the bytes go.
    """
    kinds, found = onnx().TensorProto, coded(weight, name)
    rows, cols = np.asarray(weight.codes).shape
    tensors = [
        blob.add(f"{name}/codes", kinds.UINT8, found.codes.shape, [found.codes]),
        blob.add(f"{name}/scale", kinds.FLOAT, (found.scale.size,), [found.scale]),
    ]
    if found.zero is not None:
        tensors.append(blob.add(f"{name}/zero", kinds.UINT8, (found.zero.size,), [found.zero]))
    node = onnx().helper.make_node(
        "MatMulNBits",
        [ends[0], *(tensor.name for tensor in tensors)],
        [ends[1]],
        name=f"negawatt/{name}",
        domain=CONTRIB,
        K=cols,
        N=rows,
        bits=weight.format.bits,
        block_size=found.block,
        accuracy_level=1,
    )
    return [*tensors, node]


def lookup(weight: QuantisedWeight, name: str, ends: tuple[str, str], blob: Blob) -> list[Any]:
    """Nodes that look up rows of codes and decode those alone, after the tensors they read."""
    kinds, make = onnx().TensorProto, onnx().helper.make_node
    fmt = weight.format
    codes = np.asarray(weight.codes)
    scale = np.asarray(weight.scale, np.float32)
    zero = np.asarray(weight.zero, np.float32)
    rows, cols = codes.shape
    groups = scale.shape[1]
    if fmt.bits not in {4, 8} or cols % 2:
        raise UsageError(
            f"ONNX Runtime does not look up {name} in {fmt}",
            fix="choose among the formats it offers",
        )
    stored = codes if fmt.bits == 8 else pairs(codes)

    def shape(what: str, *sizes: int) -> Any:
        return onnx().numpy_helper.from_array(np.array(sizes, np.int64), f"{name}/{what}")

    tensors = [
        blob.add(f"{name}/codes", kinds.UINT8, stored.shape, [stored]),
        blob.add(f"{name}/scale", kinds.FLOAT, (rows, groups, 1), [scale]),
        blob.add(f"{name}/zero", kinds.FLOAT, (rows, groups, 1), [zero]),
        shape("grouped", 0, 0, groups, cols // groups),
        shape("flat", 0, 0, cols),
    ]
    t = [f"{name}/t{i}" for i in range(12)]
    nodes = [
        make("Gather", [f"{name}/codes", ends[0]], [t[0]], name=f"negawatt/{name}"),
        make("Gather", [f"{name}/scale", ends[0]], [t[1]]),
        make("Gather", [f"{name}/zero", ends[0]], [t[2]]),
    ]
    wide = t[0]
    if fmt.bits == 4:
        four = onnx().numpy_helper.from_array(np.array(4, np.uint8), f"{name}/four")
        tensors += [four, shape("last", -1)]
        nodes += [
            make("BitShift", [t[0], four.name], [t[3]], direction="RIGHT"),
            make("BitShift", [t[0], four.name], [t[4]], direction="LEFT"),
            make("BitShift", [t[4], four.name], [t[5]], direction="RIGHT"),
            make("Unsqueeze", [t[5], f"{name}/last"], [t[6]]),
            make("Unsqueeze", [t[3], f"{name}/last"], [t[7]]),
            make("Concat", [t[6], t[7]], [t[8]], axis=-1),
        ]
        wide = t[8]
    nodes += [
        make("Reshape", [wide, f"{name}/grouped"], [t[9]]),
        make("Cast", [t[9]], [t[10]], to=kinds.FLOAT),
        make("Sub", [t[10], t[2]], [t[11]]),
        make("Mul", [t[11], t[1]], [f"{name}/decoded"]),
        make("Reshape", [f"{name}/decoded", f"{name}/flat"], [ends[1]]),
    ]
    return [*tensors, *nodes]
