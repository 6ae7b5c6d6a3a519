"""Weights kept 16 bits wide or as codes, and widened one matrix at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch.nn import functional

from negawatt.adapters.runtimes.huggingface import embedding_scale, is_matrix
from negawatt.core.errors import OutputError
from negawatt.core.levels import TABLES
from negawatt.core.records import QuantisedWeight

Tensor = torch.Tensor

_ROWS = 4096  # of which levels are looked up at a time


class Narrow(Protocol):
    """A matrix stored in fewer bits than it is computed with."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def widen(self, out: Tensor) -> Tensor:
        """Write the weights into `out`, float32 [rows, cols], and return it."""

    def rows(self, ids: Tensor) -> Tensor:
        """The rows named by `ids`, float32 [*ids.shape, cols]."""


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Integer codes: weight = (level - zero) * scale; a level is the code where none are named.

    A group's minimum is kept as the level that stands for 0.
    """

    codes: Tensor  # uint8 [rows, cols]
    scale: Tensor  # float16 [rows, groups]
    zero: Tensor  # uint8 [rows, groups], or float32
    levels: Tensor | None = None  # float32 [codes there are]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.codes.shape
        return rows, cols

    def widen(self, out: Tensor) -> Tensor:
        """Decode every row."""
        for at in range(0, len(out), _ROWS):
            out[at : at + _ROWS] = self._level(self.codes[at : at + _ROWS])
        grouped = out.view(*self.scale.shape, -1)
        grouped.sub_(self.zero[..., None]).mul_(self.scale[..., None].float())
        return out

    def rows(self, ids: Tensor) -> Tensor:
        """Decode the rows asked for."""
        scale = self.scale[ids][..., None].float()
        levels = self._level(self.codes[ids]).float().view(*scale.shape[:-1], -1)
        return ((levels - self.zero[ids][..., None]) * scale).flatten(-2)

    def _level(self, codes: Tensor) -> Tensor:
        """What codes stand for before zero point and scale."""
        if self.levels is None:
            return codes
        return self.levels.index_select(0, codes.flatten().int()).view(codes.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """Weights in a 16-bit float, as the source has them."""

    values: Tensor  # bfloat16 or float16 [rows, cols]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.values.shape
        return rows, cols

    def widen(self, out: Tensor) -> Tensor:
        """Convert every row."""
        return out.copy_(self.values)

    def rows(self, ids: Tensor) -> Tensor:
        """Convert the rows asked for."""
        return self.values[ids].float()


def save_codes(weights: Iterable[tuple[str, QuantisedWeight]], path: Path) -> None:
    """Write codes, scales, zero points and named levels of every layer into one safetensors file.

    Raises:
        OutputError: the file could not be written.
    """
    tensors = {}
    for name, weight in weights:
        tensors[f"{name}|codes"] = torch.from_numpy(np.array(weight.codes, dtype=np.uint8))
        tensors[f"{name}|scale"] = torch.from_numpy(np.array(weight.scale, dtype=np.float16))
        zero = torch.from_numpy(np.array(weight.zero))
        if weight.format.has_minimum:
            zero = zero.float() / tensors[f"{name}|scale"].float()
        tensors[f"{name}|zero"] = zero
        if weight.format.levels:
            table = torch.tensor(TABLES[weight.format.levels], dtype=torch.float32)
            tensors[f"{name}|levels"] = table
    try:
        save_file(tensors, path)
    except safetensors.SafetensorError as error:  # its only word for a disk that fails
        raise OutputError(
            f"{path} could not be written: {error}",
            fix="free some space, or name a folder on another disk",
        ) from error


def read_codes(path: Path) -> Iterator[tuple[str, Coded]]:
    """Every layer in a file that `save_codes` wrote."""
    with safetensors.safe_open(path, framework="pt") as file:
        keys = set(file.keys())
        for key in sorted(keys):
            name, part = key.split("|")
            if part == "codes":
                parts = ("codes", "scale", "zero", "levels")
                found = {p: f"{name}|{p}" for p in parts if f"{name}|{p}" in keys}
                yield name, Coded(**{p: file.get_tensor(at) for p, at in found.items()})


def install(model: Any, coded: Mapping[str, Coded], *, exact: bool) -> int:
    """Make `model` compute with the layers in `coded`, and in float32 when `exact`.

    Not exact: decoded weights take the place of the old ones, in the model's own
    number format. Exact: everything stored stays as narrow as it is, and each
    matrix is widened for the moment of its use; the rest becomes float32.

    Returns:
        Size of all weights as they are now held, shared ones counted once. [B]
    """
    held: dict[int, int] = {}
    scratch = _Scratch()
    for name, module in model.named_modules():
        if is_matrix(module):
            stored = _install_matrix(module, coded.get(name), scratch, exact=exact)
        else:
            stored = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            for tensor in stored:
                if exact and tensor.is_floating_point():
                    tensor.data = tensor.data.float()
        held |= {tensor.data_ptr(): tensor.nbytes for tensor in stored}
    return sum(held.values())


def _install_matrix(
    module: Any,
    coded: Coded | None,
    scratch: _Scratch,
    *,
    exact: bool,
) -> list[Tensor]:
    """Change one matrix as `install` says, and return what is stored for it."""
    bias = getattr(module, "bias", None)
    rest: list[Tensor] = [] if bias is None else [bias]
    if coded is not None and exact:
        _widen_on_use(module, coded, scratch)
        return [coded.codes, coded.scale, coded.zero, *rest]
    if coded is not None:
        wide = coded.widen(torch.empty(coded.shape)).to(module.weight.dtype)
        # A parameter of its own, so that a tied embedding and head part.
        module.weight = torch.nn.Parameter(wide, requires_grad=False)
    elif exact and module.weight.dtype != torch.float32:
        _widen_on_use(module, Half(module.weight), scratch)
    return [module.weight, *rest]


class _Scratch:
    """One float32 buffer that every layer of a session widens into, one after the other."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def of(self, shape: tuple[int, int]) -> Tensor:
        """Room for a matrix of `shape`, holding anything."""
        size = shape[0] * shape[1]
        if self._buffer.numel() < size:
            self._buffer = torch.empty(size)
        return self._buffer[:size].view(shape)


def _widen_on_use(layer: torch.nn.Module, stored: Narrow, scratch: _Scratch) -> None:
    module: Any = layer
    if isinstance(layer, torch.nn.Embedding):
        scale = embedding_scale(layer)
        module.forward = lambda ids: stored.rows(ids) * scale
        return
    bias = None if module.bias is None else module.bias.float()

    def forward(given: Tensor) -> Tensor:
        return functional.linear(given, stored.widen(scratch.of(stored.shape)), bias)

    module.forward = forward
