"""What a calibration asks of an engine on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

#: Work that is ready: what does so many rounds and waits for the device, and steps of one round.
Exercise = tuple[Callable[[int], object], int]


class Rig(Protocol):
    """An engine on one device, as far as it is put through its paces.

    Whatever was built last stays in memory until something else is built.
    """

    @property
    def device(self) -> str:
        """Name of the device, as the engine tells it."""

    @property
    def engine(self) -> str:
        """Name and version."""

    @property
    def remark(self) -> str:
        """What is particular about how models are run; nothing when empty."""

    @property
    def accelerator(self) -> int | None:
        """Number of the GPU among those that its meter counts; None for the CPU."""

    @property
    def memory_bytes(self) -> float:
        """That the device holds. [B]"""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Formats in which it multiplies at full speed, by PyTorch's names; 16 bits first."""

    def product(self, edge: int, dtype: str) -> Exercise:
        """Multiply two square matrices."""

    def copy(self, count: int) -> Exercise:
        """Copy so many bytes from memory to memory."""

    def decode(self, config: Mapping[str, Any], batch: int, context: int, stride: int) -> Exercise:
        """Write `stride` tokens behind `context` kept ones; each round begins there again."""

    def prefill(self, config: Mapping[str, Any], batch: int, tokens: int) -> Exercise:
        """Read prompts."""
