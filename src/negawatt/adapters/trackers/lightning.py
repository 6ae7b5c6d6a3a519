"""Lightning: energy per step, per epoch, of each validation and test and of the run, in its logs.

The figures of epochs and validations go through `log_dict`, so that other callbacks see them;
those of steps (the mean since the last) and of the run go to the loggers.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from negawatt.adapters.trackers.phases import Measure, Phases


class Hooks:
    """What Lightning calls; mixed with its own class, which is not known before it is imported.

    Args:
        measure: Makes the windows.
    """

    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self._phases = Phases(measure)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run; a run before it that broke off is closed."""
        self._phases.clear()
        self._phases.begin("train")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Open an epoch."""
        self._phases.begin("epoch")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *batch: Any) -> None:
        """Open a step."""
        self._phases.begin("step")

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Close a step, and log the mean one as often as the trainer logs."""
        self._phases.end("step")
        if trainer.log_every_n_steps and (batch_idx + 1) % trainer.log_every_n_steps == 0:
            self._to_loggers(trainer, "step")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Close an epoch."""
        self._phases.end("epoch")
        pl_module.log_dict(self._phases.take("epoch"))
        self._to_loggers(trainer, "step")  # those that came after the last log

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Open a validation; the sanity check before training is none."""
        if not trainer.sanity_checking:
            self._phases.begin("eval")

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Close a validation."""
        self._phases.end("eval")
        if not trainer.sanity_checking:
            pl_module.log_dict(self._phases.take("eval"))

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Open a test."""
        self._phases.begin("test")

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Close a test."""
        self._phases.end("test")
        pl_module.log_dict(self._phases.take("test"))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the run."""
        self._phases.end("train")
        self._to_loggers(trainer, "train")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close whatever the failure left open."""
        self._phases.clear()

    def _to_loggers(self, trainer: Any, name: str) -> None:
        values = self._phases.take(name)
        for logger in trainer.loggers if values else ():
            logger.log_metrics(values, step=trainer.global_step)


def callback(measure: Measure) -> Any:
    """A callback for `Trainer(callbacks=[...])` of `lightning` or `pytorch_lightning`."""
    try:
        library: Any = import_module("lightning.pytorch")
    except ImportError:
        library = import_module("pytorch_lightning")
    return type("EnergyCallback", (Hooks, library.Callback), {})(measure)
