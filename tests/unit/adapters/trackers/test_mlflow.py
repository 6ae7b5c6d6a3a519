"""MLflow runs in a database of the test's own, read back with its client."""

from __future__ import annotations

from typing import Any

import pytest
from spent import World

import negawatt

mlflow: Any = pytest.importorskip(
    "mlflow", reason="mlflow is not installed: pip install 'negawatt[mlflow]'"
)
pytest.importorskip("sqlalchemy", reason="mlflow keeps no database without sqlalchemy")

# What MLflow and SQLAlchemy say of each other's versions is theirs to settle.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}"


def points(client: Any, run_id: str, name: str) -> dict[int, float]:
    return {metric.step: metric.value for metric in client.get_metric_history(run_id, name)}


def test_figures_are_metrics_and_their_source_is_a_tag(uri: str) -> None:
    world, tracker = World(), negawatt.tracker("mlflow", uri=uri, experiment="green")
    for joules in (10.0, 20.0):
        world.spend("epoch", joules, tracker.record)
    run_id = tracker.run_id
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert client.get_run(run_id).info.status == "RUNNING"
    tracker.close()
    tracker.close()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "green"
    assert points(client, run_id, "negawatt/epoch/energy_J") == pytest.approx({0: 30.0, 1: 60.0})
    assert points(client, run_id, "negawatt/epoch/cpu_s") == pytest.approx({0: 0.5, 1: 0.5})
    low = points(client, run_id, "negawatt/epoch/energy_low_J")
    high = points(client, run_id, "negawatt/epoch/energy_high_J")
    assert low[0] < 30.0 < high[0]
    assert run.data.tags["negawatt/epoch/energy_kind"] == "measured"
    assert "hand:package:0" in run.data.tags["negawatt/epoch/energy_source"]
    assert run.data.tags["negawatt/epoch/energy_boundary"] == "package:0 + gpu:0"


def test_the_active_run_is_used_and_left_open(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with mlflow.start_run() as run:
        tracker = negawatt.tracker("mlflow")
        with World().measure("epoch", tracker.record):
            pass
        tracker.close()
        mlflow.log_metric("loss", 0.5)
    data = mlflow.get_run(run.info.run_id).data
    assert data.metrics["loss"] == 0.5
    assert data.metrics["negawatt/epoch/energy_J"] == 0.0  # a window in which nothing flowed
