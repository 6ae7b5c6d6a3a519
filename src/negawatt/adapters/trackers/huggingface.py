"""Hugging Face Trainer: energy per step, per epoch, of each evaluation and of the run, in its logs.

The figures are `step_energy_J` and its kin (the mean step since the last log), `epoch_`, `eval_`
and `train_`. They stand in the last entry of `trainer.state.log_history` and in what is printed.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from negawatt.adapters.trackers.phases import Measure, Phases
from negawatt.core.errors import UsageError


class EnergyCallback(TrainerCallback):
    """Opens and closes the windows `train`, `epoch`, `step` and `eval`.

    A step is its forward and backward passes and the optimiser, gradient accumulation included;
    fetching the batch is the epoch's. An `eval` is one that training asks for; the Trainer tells
    nobody when one begins that is called by hand, so that is left to a window around it.

    Args:
        measure: Makes the windows.
    """

    def __init__(self, measure: Measure) -> None:
        self._phases = Phases(measure)

    def lead(self, trainer: Any) -> None:
        """Go before the callbacks that report, so that they report the energy too.

        Raises:
            UsageError: the trainer was made without this callback.
        """
        order = trainer.callback_handler.callbacks
        if self not in order:
            raise UsageError(
                "this trainer does not have this callback",
                fix="make it with Trainer(..., callbacks=[energy]), then energy.lead(trainer)",
            )
        order.remove(self)
        order.insert(1, self)  # after the one that says when to log and evaluate

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open the run; a run before it that broke off is closed."""
        self._phases.clear()
        self._phases.begin("train")
        if args.eval_on_start:
            self._phases.begin("eval")

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open an epoch."""
        self._phases.begin("epoch")

    def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open a step."""
        self._phases.begin("step")

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close a step; when an evaluation comes next, open it."""
        self._phases.end("step")
        if control.should_evaluate:
            self._phases.begin("eval")

    def on_epoch_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close an epoch; when an evaluation comes next, open it."""
        self._phases.end("epoch")
        if control.should_evaluate:
            self._phases.begin("eval")

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any
    ) -> None:
        """Put the figures that are ready into what is being logged."""
        if logs is None:
            return
        if any(key.startswith("eval_") for key in logs):
            self._phases.end("eval")
            new = self._phases.take("eval")
        else:
            new = {**self._phases.take("step"), **self._phases.take("epoch")}
            if "train_runtime" in logs:  # the last log of a run
                self._phases.end("train")
                new |= self._phases.take("train")
        logs.update(new)
        if state.log_history:
            state.log_history[-1].update(new)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close what is open still."""
        self._phases.end("train")
        self._phases.clear()


def callback(measure: Measure) -> EnergyCallback:
    """A callback for `Trainer(callbacks=[...])`."""
    return EnergyCallback(measure)
