"""How much memory an engine takes to work on a model, told before it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Appetite:
    """What an engine adds to its libraries' memory, in multiples of a model's 16-bit weights. [1]

    Args:
        convert: While it converts a model.
        lean: With a 16-bit model open whose time does not count (`RunOptions.lean`).
        wide: With a 16-bit model open as it serves.
        narrow: Held by an 8-bit model that is open and has run.
        because: Why it takes as much as it does, where that is much; one clause.
    """

    convert: float
    lean: float
    wide: float
    narrow: float
    because: str = ""


#: Of an engine that tells nothing: weights read once and written once, and packed once to be run.
USUAL = Appetite(convert=2.1, lean=1.9, wide=1.9, narrow=0.85)


@runtime_checkable
class TellsAppetite(Protocol):
    """A `Runtime` that says how much memory it takes."""

    @property
    def appetite(self) -> Appetite:
        """As measured on SmolLM2-135M, rounded up."""


def appetite_of(engine: object) -> Appetite:
    """What an engine says, or what is usual.

    >>> appetite_of("an engine that says nothing") is USUAL
    True
    """
    return engine.appetite if isinstance(engine, TellsAppetite) else USUAL
