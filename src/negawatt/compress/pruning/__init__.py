"""Which inner channels and which attention heads can go (`negawatt.importances`).

A channel that goes takes a row out of the matrices before it and a column out of the one behind
it, so every engine multiplies less. A head is a group of such channels. What they carried is made
up for by those that stay: their columns are fitted anew to the layer's own outputs on calibration
text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from negawatt.core import registry

if TYPE_CHECKING:
    from torch import Tensor

#: The importance that is used where none is named.
USUAL = "wanda"


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What is known of the channels in front of one matrix.

    Args:
        weight: float32, [rows, cols], of the matrix behind the channels.
        inputs: float32, [cols, cols], the sum of outer products of what it is fed.
        slopes: float32, [texts, cols], how the loss on a text changes when a channel is turned
            up, from 1; None for rules that do not ask for it.
    """

    weight: Tensor
    inputs: Tensor
    slopes: Tensor | None = None


class Importance(Protocol):
    """A rule for which channels stay (entry point `negawatt.importances`)."""

    @property
    def name(self) -> str:
        """As people call it: `wanda`, `magnitude`."""

    @property
    def slopes(self) -> bool:
        """Whether it wants `Evidence.slopes`, which take a pass backwards through the model."""

    def choose(self, seen: Evidence, keep: int, group: int = 1) -> Tensor:
        """Choose the input channels of one matrix that stay.

        Args:
            seen: What is known of them.
            keep: How many stay, a multiple of `group`, at most all.
            group: Channels that stand side by side and go or stay together: those of a head.

        Returns:
            int64 [keep], ascending.
        """


def known() -> tuple[str, ...]:
    """Every importance registered, ours and third-party, sorted.

    >>> {"gradient", "magnitude", "second-order", "wanda"} <= set(known())
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
