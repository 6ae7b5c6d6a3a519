"""Codes as llama.cpp stores them: blocks of 32 weights with one scale each, or of 256 with 16.

Layouts are those of ggml's public format description. Blocks of 32: a half-precision scale, the
fifth bits where there are five, then the codes. Blocks of 256 keep multiples of half-precision
numbers. Q6_K: low halves of the codes, high quarters, sixteen multiples, their number. Q4_K and
Q5_K: the numbers of scales and minima, eight multiples of each in 6 bits, fifth bits, codes.
IQ4_XS: the number, upper quarters and lower halves of eight multiples in 6 bits, codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Kind

from negawatt.core.errors import UsageError
from negawatt.core.records import Format, QuantisedWeight

BLOCK = 32
LARGE = 256
_ROWS = 4096  # turned into blocks at a time

_Bytes = npt.NDArray[np.uint8]

#: Storage type of every format the engine multiplies. Q4_1 and Q5_1 are left out: beside
#: a minimum of their own, codes with a zero point cannot be stored exactly, and Q5_0 holds
#: more at no more time than Q4_1. So are Q3_K and Q2_K, which nobody has measured here.
TYPES = {
    Format(8, BLOCK): Kind.Q8_0,
    Format(6, 16, nested=16): Kind.Q6_K,
    Format(5, BLOCK): Kind.Q5_0,
    Format(5, BLOCK, symmetric=False, nested=8): Kind.Q5_K,
    Format(4, BLOCK): Kind.Q4_0,
    Format(4, BLOCK, levels="nl"): Kind.IQ4_NL,
    Format(4, BLOCK, symmetric=False, nested=8): Kind.Q4_K,
    Format(4, BLOCK, levels="nl", nested=8): Kind.IQ4_XS,
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
        UsageError: the engine has no such format, or scales are no multiples of what they share.
    """
    fmt = weight.format
    kind = kind_of(fmt, name)
    whole = [np.asarray(part) for part in (weight.codes, weight.scale, weight.zero)]
    parts = []
    for at in range(0, len(whole[0]), _ROWS):
        codes, scale, zero = (part[at : at + _ROWS] for part in whole)
        if fmt.has_minimum:
            parts.append(_with_minima(codes, (scale, zero), fmt.bits, name))
        elif fmt.nested and fmt.levels:
            parts.append(_uneven(codes, scale, name))
        elif fmt.nested:
            parts.append(_six_bits(codes, scale, name))
        else:
            parts.append(_rows(codes, scale, fmt.bits))
    return Stored(kind, np.concatenate(parts))


def _with_minima(
    codes: _Bytes, grid: tuple[npt.NDArray[np.float16], ...], bits: int, name: str
) -> _Bytes:
    """Four or five bits: codes of two groups side by side, 64 after 64."""
    rows, cols = codes.shape
    shape = rows, cols // LARGE
    found = [nested(part.reshape(*shape, -1), name, 63) for part in grid]
    scale, least = (times.view(np.uint8) for _, times in found)
    fields = [_halves(unit) for unit, _ in found]
    # Of the second four groups, the upper two bits lie above the 6 bits of the first four.
    fields += [
        part[..., :4] | (part[..., 4:] >> np.uint8(4) << np.uint8(6)) for part in (scale, least)
    ]
    fields.append((scale[..., 4:] & np.uint8(15)) | (least[..., 4:] << np.uint8(4)))
    groups = codes.reshape(*shape, LARGE // BLOCK, BLOCK)
    if bits == 5:
        fields.append(np.packbits(groups >> 4, axis=-2, bitorder="little")[..., 0, :])
    low = groups & np.uint8(15)
    fields.append((low[..., ::2, :] | (low[..., 1::2, :] << np.uint8(4))).reshape(*shape, -1))
    return np.concatenate(fields, axis=-1).reshape(rows, -1)


def _six_bits(codes: _Bytes, scale: npt.NDArray[np.float16], name: str) -> _Bytes:
    """Codes in four quarters of each half."""
    rows, cols = codes.shape
    quarters = codes.reshape(rows, cols // LARGE, 2, 4, BLOCK)
    low, high = quarters & np.uint8(15), quarters >> np.uint8(4)
    pairs = low[..., :2, :] | (low[..., 2:, :] << np.uint8(4))
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    tops = np.bitwise_or.reduce(high << shifts, axis=-2)
    unit, times = nested(scale.reshape(rows, cols // LARGE, -1), name)
    fields = [pairs.reshape(*times.shape[:2], -1), tops.reshape(*times.shape[:2], -1)]
    fields += [times.view(np.uint8), _halves(unit)]
    return np.concatenate(fields, axis=-1).reshape(rows, -1)


def _uneven(codes: _Bytes, scale: npt.NDArray[np.float16], name: str) -> _Bytes:
    """Indices into the table, as in blocks of 32; multiples are counted from -32."""
    rows, cols = codes.shape
    shape = rows, cols // LARGE
    unit, times = nested(scale.reshape(*shape, -1), name, 31)
    times = (times + 32).astype(np.uint16)
    tops = np.bitwise_or.reduce((times >> 4) << np.arange(0, 16, 2, dtype=np.uint16), axis=-1)
    low = (times & 15).astype(np.uint8)
    fields = [_halves(unit), tops[..., None].astype("<u2").view(np.uint8)]
    fields.append(low[..., ::2] | (low[..., 1::2] << np.uint8(4)))
    fields.append(_by_halves(codes.reshape(*shape, -1, BLOCK)).reshape(*shape, -1))
    return np.concatenate(fields, axis=-1).reshape(rows, -1)


def nested(
    scale: npt.NDArray[np.float16], name: str, most: int = 127
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int8]]:
    """The number that scales or minima are multiples of, and how many times it they are.

    Args:
        scale: [rows, blocks, groups of a block].
        name: Of the layer.
        most: The largest multiple; with 63 none is below zero.

    Raises:
        UsageError: they are no whole multiples.

    >>> nested(np.array([[[100.0, -7.0]]], np.float16), "a layer")
    (array([[1.]], dtype=float16), array([[[100,  -7]]], dtype=int8))
    """
    # Whole numbers of what 16 bits tell apart at all: their greatest common divisor fits too.
    whole = np.ldexp(scale.astype(np.float64), 24).astype(np.int64)
    unit = np.maximum(np.gcd.reduce(whole, axis=-1), 1)
    times = whole // unit[..., None]
    if bool((np.abs(times) > most).any()) or (most == 63 and bool((times < 0).any())):
        raise UsageError(
            f"{name} has scales that are no multiples of one number in each {LARGE} weights",
            fix="round it with negawatt's own methods, which choose such scales",
        )
    return np.ldexp(unit, -24).astype(np.float16), times.astype(np.int8)


def _rows(codes: _Bytes, scale: npt.NDArray[np.float16], bits: int) -> _Bytes:
    rows, groups = scale.shape
    grouped = codes.reshape(rows, groups, BLOCK)
    fields = [_halves(scale)]
    if bits == 8:
        fields.append(grouped ^ np.uint8(128))  # code - 128 in two's complement
    else:
        if bits == 5:
            fields.append(np.packbits(grouped >> 4, axis=-1, bitorder="little"))
        fields.append(_by_halves(grouped))
    return np.concatenate(fields, axis=-1).reshape(rows, -1)


def _by_halves(groups: _Bytes) -> _Bytes:
    """The first half of a block lies in the low half of its bytes."""
    low = groups & np.uint8(15)
    return low[..., : BLOCK // 2] | (low[..., BLOCK // 2 :] << np.uint8(4))


def _halves(values: npt.NDArray[np.floating]) -> _Bytes:
    """Half-precision numbers as two bytes each, [rows, groups, 2]."""
    half = np.ascontiguousarray(values, dtype="<f2")
    return half.view(np.uint8).reshape(*half.shape, 2)
