"""The key-value cache of a decoder: how wide its numbers are, and what a token takes in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from negawatt.core.errors import UsageError

#: Bits of a number in the key-value cache; "8/4" keeps keys at 8 and values at 4. "own" is
#: what the engine does when nobody says anything.
Cache = Literal["own", "16", "8", "8/4", "4"]

CACHES: tuple[Cache, ...] = get_args(Cache)


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """How an engine lays a cache out.

    Args:
        keys: Bits of a number in a key.
        values: Bits of a number in a value.
        beside: Bits of scale and zero point for each run of numbers below 16 bits.
        run: Numbers that share them; 0 for those of a whole head.

    >>> CacheLayout(8, 4, beside=16, run=32).token_bytes(layers=1, heads=2, width=64)
    208.0
    """

    keys: int
    values: int
    beside: int = 0
    run: int = 0

    def token_bytes(self, *, layers: int, heads: int, width: int) -> float:
        """What one token takes in the cache of a whole model. [B]

        Args:
            layers: With a cache.
            heads: Of keys and values in each.
            width: Numbers in a key or value of one head.
        """
        runs = width / (self.run or width)
        bits = sum(
            width * wide + (self.beside * runs if wide < 16 else 0)
            for wide in (self.keys, self.values)
        )
        return layers * heads * bits / 8


def offered(cache: Cache, layouts: Mapping[Cache, CacheLayout], engine: str) -> CacheLayout | None:
    """The layout asked for; None when the engine may do as it does.

    Args:
        cache: What was asked for.
        layouts: Those of the engine.
        engine: Its name, for people.

    Raises:
        UsageError: the engine keeps its cache otherwise.
    """
    if cache == "own":
        return None
    if cache not in layouts:
        can = ", ".join(layouts)
        raise UsageError(
            f"{engine} keeps no key-value cache of {cache} bits",
            fix=f"ask for one of {can}, or for its own"
            if can
            else "leave the cache to the engine, or use one that offers a choice, such as openvino",
        )
    return layouts[cache]
