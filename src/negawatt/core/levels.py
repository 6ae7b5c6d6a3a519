"""Values that codes stand for where they are not evenly spaced, by name.

A format without named levels counts: code 5 is 5 steps. Where levels are named, a code is an
index into one of these tables, and its entry is what is multiplied by the scale. Weights are
mostly small, so levels that lie closer together around zero lose less.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

#: By name, ascending, each within a signed byte.
TABLES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        # The levels of ggml's IQ4_NL, `kvalues_iq4nl` (github.com/ggml-org/llama.cpp; also in its
        # package gguf): optimised there for weights in blocks of 32.
        "nl": (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113),
    }
)


def gaps(bits: int, levels: str = "") -> tuple[float, float]:
    """Least and greatest distance of neighbouring levels, over that of the outermost ones. [1]

    >>> gaps(2)
    (0.3333333333333333, 0.3333333333333333)
    >>> gaps(4, "nl")
    (0.04583333333333333, 0.1)
    """
    if not levels:
        step = 1 / (2**bits - 1)
        return step, step
    table = TABLES[levels]
    span = table[-1] - table[0]
    steps = [b - a for a, b in pairwise(table)]
    return min(steps) / span, max(steps) / span
