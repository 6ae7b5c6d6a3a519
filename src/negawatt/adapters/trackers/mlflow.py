"""MLflow: each figure a metric, each window a step, its source a tag (package `mlflow-skinny`)."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from negawatt.adapters.trackers.vocabulary import Series, words
from negawatt.core.protocols import Measured

_MS = 1000  # MLflow's timestamps are in milliseconds


class MLflow:
    """Logs to the run that is active, to one that is named, or to a new one.

    Args:
        run_id: The run to log to. When None, the active run, unless `uri` is given.
        uri: Where runs are kept, such as `sqlite:///runs.db`; MLflow's own setting when None.
        experiment: Of a run that is made here.
        prefix: Stands before the name of each window.
    """

    def __init__(
        self,
        *,
        run_id: str | None = None,
        uri: str | None = None,
        experiment: str = "negawatt",
        prefix: str = "negawatt",
    ) -> None:
        mlflow: Any = import_module("mlflow")
        self._entities: Any = import_module("mlflow.entities")
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        active = mlflow.active_run() if run_id is None and uri is None else None
        if active is not None:
            run_id = active.info.run_id
        self._ours = run_id is None
        self.run_id: str = run_id or self._new_run(experiment)
        self._series = Series(prefix)

    def record(self, window: Measured, *, step: int | None = None) -> None:
        """Log one point of each figure, and in words where the energy came from."""
        at, now = self._series.step(window, step), int(time.time() * _MS)
        metrics = [
            self._entities.Metric(name, value, now, at)
            for name, value in self._series.point(window).items()
        ]
        group = self._series.group(window)
        tags = [
            self._entities.RunTag(f"{group}/{name}", text) for name, text in words(window).items()
        ]
        self._client.log_batch(self.run_id, metrics=metrics, tags=tags)

    def close(self) -> None:
        """End the run, if it was made here."""
        if self._ours:
            self._client.set_terminated(self.run_id)
        self._ours = False

    def _new_run(self, experiment: str) -> str:
        known = self._client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else self._client.create_experiment(experiment)
        made: str = self._client.create_run(place).info.run_id
        return made
