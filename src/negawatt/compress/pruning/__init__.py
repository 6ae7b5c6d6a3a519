"""Which inner channels of a feed-forward part can go (`negawatt.importances`).

A channel that goes takes a row out of the matrices before it and a column out of the one behind
it, so every engine multiplies less. What it carried is made up for by the channels that stay:
their columns are fitted anew to the layer's own outputs on calibration text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from negawatt.core import registry

if TYPE_CHECKING:
    from torch import Tensor

#: The importance that is used where none is named.
USUAL = "wanda"


class Importance(Protocol):
    """A rule for which channels stay (entry point `negawatt.importances`)."""

    @property
    def name(self) -> str:
        """As people call it: `wanda`, `magnitude`."""

    def choose(self, weight: Tensor, inputs: Tensor, keep: int) -> Tensor:
        """Choose the input channels of one matrix that stay.

        Args:
            weight: float32, [rows, cols], of the matrix behind the channels.
            inputs: float32, [cols, cols], the sum of outer products of what it is fed.
            keep: How many stay, 1 to cols.

        Returns:
            int64 [keep], ascending.
        """


def known() -> tuple[str, ...]:
    """Every importance registered, ours and third-party, sorted.

    >>> {"magnitude", "second-order", "wanda"} <= set(known())
    True
    """
    return registry.names(registry.IMPORTANCES)


def named(name: str) -> Importance:
    """The importance registered as `name`.

    >>> named("wanda").name
    'wanda'

    Raises:
        UsageError: nothing of that name is registered.
    """
    return cast("Importance", registry.build(registry.IMPORTANCES, name))
