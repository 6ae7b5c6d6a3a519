"""TensorBoard: each figure a scalar, each window a step (package `tensorboard`, or torch's writer)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from negawatt.adapters.trackers.vocabulary import Series
from negawatt.core.protocols import Measured


class TensorBoard:
    """Writes scalars named `PREFIX/WINDOW/FIGURE`.

    Args:
        folder: Where event files go.
        writer: One that is open already, with `add_scalar(name, value, step)`, such as
            `torch.utils.tensorboard.SummaryWriter`; `folder` is not used then.
        prefix: Stands before the name of each window.
    """

    def __init__(
        self, folder: Path | str = "runs", *, writer: Any = None, prefix: str = "negawatt"
    ) -> None:
        self._ours = writer is None
        self._writer = writer or import_module("tensorboard.summary").Writer(str(folder))
        self._series = Series(prefix)
        self._closed = False

    def record(self, window: Measured, *, step: int | None = None) -> None:
        """Write one point of each figure, and put it on the disk."""
        at = self._series.step(window, step)
        for name, value in self._series.point(window).items():
            self._writer.add_scalar(name, value, at)
        self._writer.flush()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._ours and not self._closed:
            self._writer.close()
        self._closed = True
