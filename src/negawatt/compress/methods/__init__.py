"""Ways to turn a matrix into codes, each behind one small protocol (`negawatt.quantisers`).

A quantiser is told once what flows into a layer and then rounds the layer in as many formats
as are asked for. What it returns always means `(level - zero) * scale`, so every engine and
every export takes it, and the search may mix the methods layer by layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from negawatt.core import registry

if TYPE_CHECKING:
    from torch import Tensor

    from negawatt.core.records import Format, QuantisedWeight

#: What `optimize` rounds with.
USUAL = "polished"


class Rounder(Protocol):
    """A quantiser that knows the inputs of one layer."""

    def quantise(self, weight: Tensor, fmt: Format) -> QuantisedWeight:
        """Codes of some rows of the layer.

        Args:
            weight: [rows, cols], any float type; not changed. Rows do not depend on each other.
            fmt: A quantised format that fits `cols`.

        Raises:
            BrokenWeights: the matrix holds values that are not finite.
        """


class Quantiser(Protocol):
    """A method of rounding (entry point `negawatt.quantisers`)."""

    @property
    def name(self) -> str:
        """As people call it: `rtn`, `gptq`."""

    @property
    def reads(self) -> bool:
        """True when it looks at what calibration text sends into the layers."""

    def prepare(self, inputs: Tensor | None) -> Rounder:
        """Get ready to round one layer, in any format.

        Args:
            inputs: float32, [cols, cols], the sum of outer products of what the layer is fed;
                None for an embedding, whose input is no vector, or where nothing is known.

        Raises:
            BrokenWeights: the sums hold values that are not finite.
        """


def known() -> tuple[str, ...]:
    """Every method registered, ours and third-party, sorted.

    >>> {"gptq", "polished", "rtn", "signround"} <= set(known())
    True
    """
    return registry.names(registry.QUANTISERS)


def named(name: str) -> Quantiser:
    """The method registered as `name`.

    >>> named("gptq").reads
    True

    Raises:
        UsageError: nothing of that name is registered.
    """
    return cast("Quantiser", registry.build(registry.QUANTISERS, name))
