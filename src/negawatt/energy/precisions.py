"""Precisions of weights as servers name them, and what each matrix of a model is stored with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.energy.anatomy import Anatomy

#: Bits of a weight by name; those of 4 bits hold a scale for each group of 128, 64 or 32. [bit]
PRECISIONS: Mapping[str, float] = MappingProxyType(
    {
        "bf16": 16.0,
        "fp16": 16.0,
        "fp8": 8.0,
        "int8": 8.0,
        "int4": 4.125,
        "nf4": 4.25,
        "mxfp4": 4.25,
        "nvfp4": 4.5,
    }
)
_WIDE = 16.0  # of tables, heads and routers, which servers leave as they are [bit]
_LEFT = frozenset({"embedding", "head", "router"})
_EXPERTS_ALONE = frozenset({"mxfp4"})  # as it is published: only experts are narrow


def weight_bits(anatomy: Anatomy, precision: str) -> NDArray[np.float64]:
    """Of every matrix, as servers store a model of that precision. float64, [matrices], [bit]

    Raises:
        UsageError: there is no such precision.

    >>> from negawatt.energy.published import Totals, anatomy_from
    >>> sizes = Totals(parameters=4.0, active=4.0, layers=1, hidden=2, heads=2, kept=4)
    >>> weight_bits(anatomy_from("small", sizes), "fp8").tolist()
    [8.0]
    """
    bits = PRECISIONS.get(precision.strip().lower())
    if bits is None:
        raise UsageError(
            f"no precision called {precision} is known", fix=f"name one of {', '.join(PRECISIONS)}"
        )
    alone = precision.strip().lower() in _EXPERTS_ALONE and anatomy.expert_layers > 0
    return np.array(
        [
            _WIDE if one.role in _LEFT or (alone and one.role != "expert") else bits
            for one in anatomy.matrices
        ]
    )


def stored_bytes(anatomy: Anatomy, bits: NDArray[np.float64]) -> float:
    """Of all weights together. [B]"""
    values = np.array([one.values for one in anatomy.matrices])
    return float(values @ bits / 8.0 + anatomy.others * _WIDE / 8.0)


def kept_bytes(anatomy: Anatomy, tokens: float, bits: float) -> float:
    """Kept of the text of one sequence. [B]"""
    return sum(
        (one.per_token * min(one.window, tokens) + one.state) * bits / 8.0 for one in anatomy.caches
    )
