"""Keras 3: energy per batch, per epoch, of validation and of the run, in its logs and history."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from negawatt.adapters.trackers.phases import Measure, Phases


class Hooks:
    """What Keras calls; mixed with its own class, which is not known before it is imported.

    Args:
        measure: Makes the windows.
    """

    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self._phases = Phases(measure)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open the run; a run before it that broke off is closed."""
        self._phases.clear()
        self._phases.begin("train")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Open an epoch."""
        self._phases.begin("epoch")

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Open a step."""
        self._phases.begin("step")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Close a step."""
        self._phases.end("step")

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open an evaluation."""
        self._phases.begin("eval")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close an evaluation; inside training its figures wait for the end of the epoch."""
        self._phases.end("eval")
        if logs is not None and not self._phases.is_open("train"):
            logs.update(self._phases.take("eval"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Close an epoch, and put its figures into the logs that later callbacks see."""
        self._phases.end("epoch")
        for name in ("step", "epoch", "eval"):
            new = self._phases.take(name)
            if logs is not None:
                logs.update(new)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the run."""
        self._phases.end("train")
        new = self._phases.take("train")
        if logs is not None:
            logs.update(new)


def callback(measure: Measure) -> Any:
    """A callback for `model.fit(callbacks=[...])`."""
    library: Any = import_module("keras.callbacks")
    return type("EnergyCallback", (Hooks, library.Callback), {})(measure)
