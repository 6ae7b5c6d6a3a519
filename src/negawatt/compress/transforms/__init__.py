"""Ways to write the same model down differently, so that rounding hurts it less (`negawatt.transforms`).

A transform changes weights and not what they compute: a channel is made larger where it leaves
one matrix and smaller where it enters the next, or all channels are turned together. It runs
once, before any quantiser; what comes out is an ordinary model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from negawatt.core import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from negawatt.core.records import Format, Layer


class Transform(Protocol):
    """A change that keeps the function (entry point `negawatt.transforms`)."""

    @property
    def name(self) -> str:
        """As people call it: `awq`, `rotate`."""

    @property
    def unties(self) -> bool:
        """True when head and embedding are no longer one matrix afterwards."""

    def apply(
        self,
        model: Any,
        layers: Sequence[Layer],
        windows: NDArray[np.int64],
        fmt: Format,
        on_layer: Callable[[int, int], None],
    ) -> str:
        """Change the weights of `model` in place.

        Args:
            model: A decoder in float32; a copy that may be changed.
            layers: Its matrices in execution order.
            windows: Calibration text, int64 [windows, positions].
            fmt: What it will be rounded to.
            on_layer: Told how many layers of how many are done.

        Returns:
            What was done, in one sentence.

        Raises:
            UnsupportedArchitecture: the model has a part that does not let it.
        """


def known() -> tuple[str, ...]:
    """Every transform registered, ours and third-party, sorted.

    >>> {"awq", "rotate", "smooth"} <= set(known())
    True
    """
    return registry.names(registry.TRANSFORMS)


def named(name: str) -> Transform:
    """The transform registered as `name`.

    Raises:
        UsageError: nothing of that name is registered.
    """
    return cast("Transform", registry.build(registry.TRANSFORMS, name))
