"""How a quantised matrix lies in a `compressed-tensors` checkpoint.

The format packs codes into 32-bit words and names, for each scheme, the
layers that use it. Two of its readers shape what is written here:

* transformers loads symmetric weights of 2 to 8 bits. It refuses packed zero
  points (it expects their unpacked shape) and packed embeddings (it asks the
  module for a `weight` that packing took away).
* vLLM takes zero points, joins q, k and v (and gate and up) into one matrix
  that has one format, and reads an embedding's codes without zero points.

So embeddings are stored dense, and zero points are folded away for
transformers: `code - zero` of a `b`-bit code fits `b + 1` signed bits, hence
the same values, exactly, at one more bit per weight. Neither knows levels that
are not even; every table's entries fit signed bytes, so they are stored as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from negawatt.compress.levels import Levels
from negawatt.compress.quantise import dequantise
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.records import Format, LayerKind, QuantisedWeight

#: Whose loader the folder is written for, where the two cannot both be served.
Reader = Literal["transformers", "vllm"]

PACKED_BITS = range(2, 9)  # what the format packs

_PACKED_ROWS = 4096  # at a time: packing works in 32-bit copies of the codes

# Layers that vLLM multiplies as one matrix, which then has one format.
_JOINED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@dataclass(frozen=True, slots=True, eq=False)
class StoredLayer:
    """One matrix as it is written.

    Args:
        chosen: The format it was quantised to.
        stored: The format on disk; `Format(16)` when stored dense.
        tensors: By the last part of their name (`weight_packed`, ...).
    """

    chosen: Format
    stored: Format
    tensors: Mapping[str, Tensor]


def lay_out(
    weight: QuantisedWeight, *, kind: LayerKind, dense: torch.dtype, reader: Reader
) -> StoredLayer:
    """The tensors that hold `weight`, with the same values unless stored dense.

    Args:
        weight: Codes and scales of a [rows, cols] matrix.
        kind: Embeddings are stored dense, see the module's own text.
        dense: Type of a dense copy: that of the source tensor.
        reader: Who must be able to load it.

    Raises:
        UsageError: the format cannot be packed.

    >>> from negawatt.compress.quantise import round_to_nearest
    >>> weight = round_to_nearest(torch.randn(8, 64), Format(4, 32, symmetric=False))
    >>> how = {"kind": "linear", "dense": torch.bfloat16}
    >>> lay_out(weight, reader="transformers", **how).stored.name
    'int5-g32-sym'
    >>> lay_out(weight, reader="vllm", **how).stored.name
    'int4-g32-asym'
    """
    fmt = weight.format
    if fmt.bits not in PACKED_BITS:
        raise UsageError(
            f"{fmt} has no place in a packed checkpoint",
            fix=f"leave 16-bit layers out of `weights`; pack {PACKED_BITS[0]} to {PACKED_BITS[-1]}",
        )
    folds = not fmt.symmetric and reader == "transformers"
    weight = _writable(weight)
    if kind == "embedding" or fmt.has_minimum or (folds and fmt.bits == PACKED_BITS[-1]):
        return StoredLayer(fmt, Format(16), {"weight": dequantise(weight).to(dense)})
    stored = Format(fmt.bits + 1, fmt.group) if folds else replace(fmt, nested=0)
    if fmt.levels:
        stored = Format(PACKED_BITS[-1], fmt.group)
    return StoredLayer(fmt, stored, _pack(weight, stored))


def _writable(weight: QuantisedWeight) -> QuantisedWeight:
    """A copy in plain arrays: torch warns when handed read-only memory, as of a mapped file."""
    arrays = (np.array(part) for part in (weight.codes, weight.scale, weight.zero))
    return QuantisedWeight(weight.format, *arrays)


def _pack(weight: QuantisedWeight, stored: Format) -> dict[str, Tensor]:
    """Codes and zero points as signed numbers of `stored.bits`, in 32-bit words."""
    pack = library("compressors.pack_quantized.helpers").pack_to_int32
    rows, cols = weight.codes.shape
    zero = torch.as_tensor(weight.zero).to(torch.int16)
    half = 1 << (stored.bits - 1)
    # A symmetric reader adds nothing back, so the zero point comes out of the codes.
    offset = zero if stored.symmetric else torch.full_like(zero, half)
    words, levels = [], Levels(weight.format)
    for start in range(0, rows, _PACKED_ROWS):
        part = slice(start, start + _PACKED_ROWS)
        codes = levels.of(torch.as_tensor(weight.codes[part]), torch.int16)
        signed = codes.reshape(*offset[part].shape, -1) - offset[part, :, None]
        words.append(pack(signed.reshape(-1, cols).to(torch.int8), stored.bits))
    tensors = {
        "weight_packed": torch.cat(words),
        "weight_scale": torch.as_tensor(weight.scale),
        "weight_shape": torch.tensor([rows, cols]),
    }
    if not stored.symmetric:
        signed_zero = (zero - half).to(torch.int8)
        tensors["weight_zero_point"] = pack(signed_zero, stored.bits, packed_dim=0)
    return tensors


def quantization_config(stored: Mapping[str, Format], ignore: list[str]) -> dict[str, Any] | None:
    """The `quantization_config` entry of `config.json`; None when nothing is packed.

    Args:
        stored: Layer name to format on disk; dense ones are passed over.
        ignore: Linear layers that were left as they are.
    """
    groups: dict[Format, list[str]] = {}
    for name, fmt in stored.items():
        if fmt.bits != 16:
            groups.setdefault(fmt, []).append(name)
    if not groups:
        return None
    quantization = library("quantization")
    scheme, args = quantization.QuantizationScheme, quantization.QuantizationArgs
    config = quantization.QuantizationConfig(
        config_groups={
            fmt.name: scheme(
                targets=targets,
                format="pack-quantized",
                weights=args(
                    num_bits=fmt.bits,
                    symmetric=fmt.symmetric,
                    strategy="group" if fmt.group else "channel",
                    group_size=fmt.group or None,
                ),
            )
            for fmt, targets in sorted(groups.items(), key=lambda item: item[0].name)
        },
        format="pack-quantized",
        quantization_status=quantization.QuantizationStatus.COMPRESSED,
        ignore=ignore,
    )
    entry: dict[str, Any] = config.model_dump(mode="json")
    return entry


def vllm_obstacles(stored: Mapping[str, Format], linear: Mapping[str, int]) -> list[str]:
    """What in a folder vLLM is known not to take, in words.

    Args:
        stored: Layer name to format on disk, packed layers only.
        linear: Every linear layer with its number of columns.

    >>> ragged = {"m.q_proj": Format(4), "m.k_proj": Format(8), "m.v_proj": Format(4)}
    >>> for line in vllm_obstacles(ragged, dict.fromkeys(ragged, 64)):
    ...     print(line)
    vLLM joins q_proj, k_proj, v_proj into one matrix with one format; here they differ in 1 block
    """
    lines = []
    for parts in _JOINED:
        parents = {name.rpartition(".")[0] for name in linear if name.endswith(f".{parts[0]}")}
        ragged = sum(
            len({stored.get(f"{parent}.{part}") for part in parts}) > 1 for parent in parents
        )
        if ragged:
            blocks = f"{ragged} block{'s' if ragged > 1 else ''}"
            lines.append(
                f"vLLM joins {', '.join(parts)} into one matrix with one format;"
                f" here they differ in {blocks}"
            )
    broken = [name for name, fmt in stored.items() if linear.get(name, 0) * fmt.bits % 32]
    if broken:
        lines.append(
            f"vLLM needs rows that fill whole 32-bit words; {len(broken)} layers do not,"
            f" {broken[0]} among them"
        )
    odd = sorted({fmt.bits for fmt in stored.values()} - {4, 8})
    if odd:
        listed = ", ".join(map(str, odd))
        lines.append(f"vLLM has fast kernels for 4 and 8 bits; this folder also holds {listed}")
    if any(fmt.bits == 8 and not fmt.symmetric for fmt in stored.values()):
        lines.append("vLLM's fast kernels take 8-bit codes only without zero points")
    return lines


def library(part: str) -> Any:
    """A module of `compressed-tensors`; raise `RuntimeUnavailable` when not installed."""
    from importlib import import_module

    try:
        return import_module(f"compressed_tensors.{part}")
    except ImportError as error:
        raise RuntimeUnavailable(
            "writing Hugging Face folders needs compressed-tensors, which is not installed",
            fix="pip install 'negawatt[optimize]'",
        ) from error
