"""Weights & Biases: each figure in the history of a run, its source in the summary."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from negawatt.adapters.trackers.vocabulary import Series, words
from negawatt.core.protocols import Measured


class WandB:
    """Logs to a run that is given, to the current one, or to a new one.

    The figures of a window have a step of their own, `PREFIX/WINDOW/step`, and leave the run's
    global step to whoever owns the run.

    Args:
        run: The run to log to; `wandb.run` when None, or a new one.
        commit: False holds the figures back until the run's owner logs; of several windows of
            one name only the last is kept then.
        prefix: Stands before the name of each window.
        options: Of `wandb.init` for a new run, such as `mode="offline"`.
    """

    def __init__(
        self, *, run: Any = None, commit: bool = True, prefix: str = "negawatt", **options: Any
    ) -> None:
        wandb: Any = import_module("wandb")
        given = run or wandb.run
        self._ours = given is None
        self.run = given or wandb.init(**options)
        self._commit = commit
        self._series = Series(prefix)
        self._known: set[str] = set()

    def record(self, window: Measured, *, step: int | None = None) -> None:
        """Log one point of each figure, and in words where the energy came from."""
        at, group = self._series.step(window, step), self._series.group(window)
        if group not in self._known:
            self._known.add(group)
            self.run.define_metric(f"{group}/step", hidden=True)
            self.run.define_metric(f"{group}/*", step_metric=f"{group}/step")
        point = {**self._series.point(window), f"{group}/step": at}
        self.run.log(point, commit=self._commit)
        self.run.summary.update({f"{group}/{k}_text": v for k, v in words(window).items()})

    def close(self) -> None:
        """Finish the run, if it was begun here."""
        if self._ours:
            self.run.finish()
        self._ours = False
