"""A second look at the likeliest tokens, where a head is narrower than the embedding it shares.

The last matrix of a model with a large vocabulary is most of what a written token multiplies, and
hardly any of its rows matter for any one token. Where source and head share one matrix, a file
that has it twice, narrow to multiply with and wide to look tokens up in, holds all that is needed
to mend the narrow one: the logits near the top are computed again from the wide rows. The first
look says which, as in SVD-softmax (Shim et al. 2017, NIPS). In other programs the file runs too,
without the second look and with what the narrow head loses.
"""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path
from typing import Any, Self

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind

from negawatt.adapters.runtimes.llamacpp_engine import library

#: How far below the likeliest token a second look reaches. Tokens further down have a 400th of
#: its probability at most, and the narrow head's error in them counts accordingly. [nat]
REACH = 6.0
#: Rows of one position at most: where a model has no idea what comes next, the likeliest do.
MOST = 1024
KEY = "negawatt.second_look"  # in the file: the reach, float32
EMBEDDING, HEAD = "token_embd.weight", "output.weight"

_WIDE = (Kind.Q8_0, Kind.F16, Kind.BF16, Kind.F32)  # kinds worth looking again with
_P, _S = ctypes.c_void_p, ctypes.c_size_t

Floats = npt.NDArray[np.float32]


def pays(embedding: Kind | None, head: Kind | None) -> bool:
    """Whether a second look mends something, by the kinds that both are stored in.

    >>> pays(Kind.Q8_0, Kind.IQ4_NL), pays(Kind.Q8_0, Kind.Q8_0), pays(Kind.Q8_0, None)
    (True, False, False)
    """
    return embedding in _WIDE and head is not None and head not in _WIDE


class SecondLook:
    """Computes logits near the top again, from the rows of the embedding.

    Args:
        path: The file.
        shape: Tokens, and values of a row.
        reach: How far below the top it looks. [nat]
    """

    def __init__(self, path: Path, shape: tuple[int, int], reach: float) -> None:
        self._kind, start = _place_of(path, EMBEDDING)
        values, size = gguf.GGML_QUANT_SIZES[self._kind]
        rows, cols = shape
        width = cols // values * size
        # Pages of the file, which the system takes back when memory is short.
        before = start % mmap.ALLOCATIONGRANULARITY
        with path.open("rb") as file:
            held = mmap.mmap(
                file.fileno(), before + rows * width, access=mmap.ACCESS_READ, offset=start - before
            )
        whole = np.frombuffer(held, np.uint8, rows * width, before)
        self._rows = whole.reshape(rows, width)
        self._reach = reach

    @classmethod
    def of(cls, path: Path, api: Any, model: Any) -> Self | None:
        """That of an opened file; None when it asks for none."""
        told = ctypes.create_string_buffer(32)
        if api.llama_model_meta_val_str(model, KEY.encode(), told, len(told)) < 0:
            return None
        rows = int(api.llama_vocab_n_tokens(api.llama_model_get_vocab(model)))
        return cls(path, (rows, int(api.llama_model_n_embd(model))), float(told.value))

    def mend(self, logits: Floats, states: Floats) -> None:
        """Put truer logits in the place of the leading ones.

        Args:
            logits: float32 [positions, tokens], of the narrow head; changed.
            states: float32 [positions, width], what the head was fed.
        """
        for said, state in zip(logits, states, strict=True):
            near = self._leading(said)
            # Not by a library of linear algebra: its threads stay awake for a while afterwards.
            said[near] = np.einsum("ij,j->i", self._values(near), state)

    def _leading(self, said: Floats) -> npt.NDArray[np.int64]:
        near = np.flatnonzero(said > said.max() - np.float32(self._reach))
        if len(near) > MOST:
            near = near[np.argpartition(said[near], -MOST)[-MOST:]]
        return near

    def _values(self, rows: npt.NDArray[np.int64]) -> Floats:
        taken = self._rows[rows]
        if self._kind != Kind.Q8_0:
            return np.asarray(gguf.dequantize(taken, self._kind), np.float32)
        blocks = taken.reshape(len(rows), -1, 34)  # a scale in half precision, 32 codes
        scale = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
        codes = blocks[..., 2:].view(np.int8).astype(np.float32)
        codes *= scale
        return codes.reshape(len(rows), -1)


class _Reading(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("context", _P))


def _place_of(path: Path, name: str) -> tuple[Kind, int]:
    """Storage kind of a tensor, and where it begins in the file. [B]"""
    lib = library("ggml-base")

    def told(function: str, result: Any, *given: Any) -> Any:
        found = getattr(lib, function)
        found.restype = result
        return found(*given)

    # The engine's own reader: that of Python walks through the whole vocabulary.
    file = _P(told("gguf_init_from_file", _P, str(path).encode(), _Reading(no_alloc=True)))
    try:
        at = ctypes.c_int64(told("gguf_find_tensor", ctypes.c_int64, file, name.encode()))
        start = told("gguf_get_data_offset", _S, file) + told(
            "gguf_get_tensor_offset", _S, file, at
        )
        return Kind(told("gguf_get_tensor_type", ctypes.c_int, file, at)), int(start)
    finally:
        told("gguf_free", None, file)
