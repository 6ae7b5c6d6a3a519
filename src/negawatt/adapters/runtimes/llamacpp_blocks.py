"""Codes as llama.cpp stores them: blocks of 32 weights with one scale each.

Layouts are those of ggml's public format description: a half-precision scale, the
fifth bits where there are five, then the codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind

from negawatt.core.errors import UsageError
from negawatt.core.records import Format, QuantisedWeight

BLOCK = 32
_ROWS = 4096  # turned into blocks at a time

_Bytes = npt.NDArray[np.uint8]

#: Storage type of every format the engine multiplies. Its types with a minimum (Q4_1,
#: Q5_1) are left out: the minimum is kept in half precision, so codes with a zero point
#: cannot be stored exactly, and Q5_0 holds more at no more time than Q4_1.
TYPES = {
    Format(8, BLOCK): Kind.Q8_0,
    Format(5, BLOCK): Kind.Q5_0,
    Format(4, BLOCK): Kind.Q4_0,
    Format(4, BLOCK, levels="nl"): Kind.IQ4_NL,
}


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One matrix in the form of the file: uint8, [rows, bytes of a row]."""

    kind: Kind
    data: _Bytes


def kind_of(fmt: Format, name: str) -> Kind:
    """The storage type of a format.

    Raises:
        UsageError: the engine has none that means the same.
    """
    if fmt not in TYPES:
        raise UsageError(
            f"llama.cpp does not multiply {name} in {fmt}", fix="choose among the formats it offers"
        )
    return TYPES[fmt]


def blocks(weight: QuantisedWeight, name: str) -> Stored:
    """The stored form of `weight`, which means exactly the same.

    Raises:
        UsageError: the engine has no such format.
    """
    fmt = weight.format
    kind = kind_of(fmt, name)
    codes = np.asarray(weight.codes)
    parts = [
        _rows(codes[at : at + _ROWS], np.asarray(weight.scale)[at : at + _ROWS], fmt.bits)
        for at in range(0, len(codes), _ROWS)
    ]
    return Stored(kind, np.concatenate(parts))


def _rows(codes: _Bytes, scale: npt.NDArray[np.float16], bits: int) -> _Bytes:
    rows, groups = scale.shape
    grouped = codes.reshape(rows, groups, BLOCK)
    fields = [_halves(scale)]
    if bits == 8:
        fields.append(grouped ^ np.uint8(128))  # code - 128 in two's complement
    else:
        if bits == 5:
            fields.append(np.packbits(grouped >> 4, axis=-1, bitorder="little"))
        low = grouped & np.uint8(15)
        # The first half of a block lies in the low half of its bytes.
        fields.append(low[..., : BLOCK // 2] | (low[..., BLOCK // 2 :] << np.uint8(4)))
    return np.concatenate(fields, axis=-1).reshape(rows, -1)


def _halves(values: npt.NDArray[np.floating]) -> _Bytes:
    """Half-precision numbers as two bytes each, [rows, groups, 2]."""
    half = np.ascontiguousarray(values, dtype="<f2")
    return half.view(np.uint8).reshape(*half.shape, 2)
