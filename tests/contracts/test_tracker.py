"""What every tracker must do. A new one is done when its rig passes here.

A rig is a tracker together with a way to read back, through the library's own tools, how much
energy it holds for a window and a boundary. Weights & Biases writes in a process of its own; its
tests are in `tests/unit/adapters/trackers/`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pytest
from spent import World

import negawatt
from negawatt.core import registry
from negawatt.core.errors import RuntimeUnavailable, UsageError

# What libraries say of each other's versions while they are imported is theirs to settle.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
EVERYTHING = "package:0 + gpu:0"


class Rig(Protocol):
    tracker: Any

    def joules(self, window: str, boundary: str) -> float | None:
        """What the library holds, all windows of the name added up; None when nothing. [J]"""


def _name(boundary: str) -> str:
    return "energy_J" if boundary == EVERYTHING else f"energy_{boundary.replace(':', '_')}_J"


class TensorBoardRig:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
        self.tracker = negawatt.tracker("tensorboard", folder=folder)

    def joules(self, window: str, boundary: str) -> float | None:
        sizes = {self._reader.TENSORS: 0}
        events = self._reader.EventAccumulator(str(self._folder), size_guidance=sizes)
        events.Reload()
        name = f"negawatt/{window}/{_name(boundary)}"
        if name not in events.Tags()["tensors"]:
            return None
        return sum(event.tensor_proto.float_val[0] for event in events.Tensors(name))


class MLflowRig:
    def __init__(self, folder: Path) -> None:
        import_module("sqlalchemy")
        # one database for all tests, because making one takes seconds; each has its own run
        uri = f"sqlite:///{folder.parent / 'runs.db'}"
        self.tracker = negawatt.tracker("mlflow", uri=uri)
        self._client: Any = import_module("mlflow").MlflowClient(tracking_uri=uri)

    def joules(self, window: str, boundary: str) -> float | None:
        run_id = self.tracker.run_id
        name = f"negawatt/{window}/{_name(boundary)}"
        history = self._client.get_metric_history(run_id, name)
        return sum(metric.value for metric in history) if history else None


class PrometheusRig:
    def __init__(self, folder: Path) -> None:
        self._registry = import_module("prometheus_client").CollectorRegistry()
        self.tracker = negawatt.tracker("prometheus", registry=self._registry)

    def joules(self, window: str, boundary: str) -> float | None:
        part = "" if boundary == EVERYTHING else "boundary_"
        labels = {"window": window, "boundary": boundary, "kind": "measured"}
        name = f"negawatt_{part}energy_joules_total"
        found: float | None = self._registry.get_sample_value(name, labels)
        return found


class OpenTelemetryRig:
    def __init__(self, folder: Path) -> None:
        sdk: Any = import_module("opentelemetry.sdk.metrics")
        self._reader = import_module("opentelemetry.sdk.metrics.export").InMemoryMetricReader()
        provider = sdk.MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False)
        self.tracker = negawatt.tracker("opentelemetry", provider=provider)

    def joules(self, window: str, boundary: str) -> float | None:
        part = "" if boundary == EVERYTHING else "boundary."
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for metric in resource.scope_metrics[0].metrics:
                for point in metric.data.data_points:
                    about = point.attributes
                    where = about["negawatt.window"], about.get("negawatt.boundary")
                    if metric.name == f"negawatt.{part}energy" and where == (window, boundary):
                        value: float = point.value
                        return value
        return None


RIGS: dict[str, Callable[[Path], Rig]] = {
    "tensorboard": TensorBoardRig,
    "mlflow": MLflowRig,
    "prometheus": PrometheusRig,
    "opentelemetry": OpenTelemetryRig,
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    try:
        made = RIGS[request.param](tmp_path)
    except (ImportError, RuntimeUnavailable) as missing:
        pytest.skip(f"{missing}; pip install 'negawatt[{request.param}]'")
    yield made
    made.tracker.close()


def test_it_is_the_then_of_a_window(rig: Rig) -> None:
    World().spend("work", 10.0, rig.tracker.record)
    assert rig.joules("work", EVERYTHING) == pytest.approx(30.0)
    assert rig.joules("work", "package:0") == pytest.approx(10.0)
    assert rig.joules("work", "gpu:0") == pytest.approx(20.0)


def test_windows_of_one_name_are_all_kept_and_those_of_another_apart(rig: Rig) -> None:
    world = World()
    for name, joules in (("a", 1.0), ("b", 5.0), ("a", 2.0)):
        world.spend(name, joules, rig.tracker.record)
    assert rig.joules("a", "package:0") == pytest.approx(3.0)
    assert rig.joules("b", "package:0") == pytest.approx(5.0)


def test_windows_added_up_are_taken_too(rig: Rig) -> None:
    world = World()
    spans = [world.spend("step", 4.0, lambda window: None).result for _ in range(3)]
    rig.tracker.record(spans[0] + spans[1] + spans[2])
    assert rig.joules("step", "package:0") == pytest.approx(12.0)


def test_what_is_unknown_is_absent_and_never_zero(rig: Rig) -> None:
    world = World()
    with world.measure("work", rig.tracker.record):
        world.work(10.0)
        world.gpu.broken = True
    assert rig.joules("work", "package:0") == pytest.approx(10.0)
    assert rig.joules("work", "gpu:0") is None


def test_a_name_with_anything_in_it_is_taken(rig: Rig) -> None:
    World().spend("épreuve #3: «a\nb»", 10.0, rig.tracker.record)
    World().spend("work", 5.0, rig.tracker.record)
    assert rig.joules("work", "package:0") == pytest.approx(5.0)


def test_windows_may_close_in_several_threads(rig: Rig) -> None:
    world = World()
    windows = [world.spend("work", 1.0, lambda window: None) for _ in range(8)]
    threads = [threading.Thread(target=rig.tracker.record, args=(w,)) for w in windows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rig.joules("work", "package:0") == pytest.approx(8.0)


def test_closing_twice_is_harmless_and_keeps_what_was_written(rig: Rig) -> None:
    World().spend("work", 10.0, rig.tracker.record)
    held = rig.joules("work", EVERYTHING)
    rig.tracker.close()
    rig.tracker.close()
    if not isinstance(rig, PrometheusRig):  # there is nothing to pull from a closed door
        assert rig.joules("work", EVERYTHING) == held


# wandb hands on what it does not know to wandb.init
@pytest.mark.parametrize("name", [n for n in registry.names(registry.TRACKERS) if n != "wandb"])
def test_an_option_that_is_not_one_is_refused_before_anything_opens(name: str) -> None:
    with pytest.raises(UsageError, match="colour"):
        negawatt.tracker(name, colour="green")


def test_a_tracker_nobody_brings_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="tensorbord") as raised:
        negawatt.tracker("tensorbord")
    assert "tensorboard" in raised.value.fix


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("tensorboard", "tensorboard.summary"),
        ("wandb", "wandb"),
        ("mlflow", "mlflow"),
        ("prometheus", "prometheus_client"),
        ("opentelemetry", "opentelemetry.metrics"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RuntimeUnavailable) as raised:
        negawatt.tracker(name)
    assert raised.value.fix == f"pip install 'negawatt[{name}]'"
