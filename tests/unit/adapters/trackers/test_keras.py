"""The Keras callback, in real runs on the PyTorch backend."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from spent import World

from negawatt.adapters.trackers.keras import callback

os.environ.setdefault("KERAS_BACKEND", "torch")
keras: Any = pytest.importorskip(
    "keras", reason="keras is not installed: pip install 'negawatt[keras]'"
)
if keras.backend.backend() != "torch":
    pytest.skip(f"keras runs on {keras.backend.backend()}, not torch", allow_module_level=True)

X = np.arange(8.0).reshape(8, 1)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def model(world: World) -> Any:
    class Line(keras.Model):  # type: ignore[misc,name-defined]
        """y = a x + b, and every pass is a piece of work in a made-up world."""

        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x: Any, training: Any = False) -> Any:
            world.work(8.0 if training else 2.0)
            return self.dense(x)

    line = Line()
    line.compile(optimizer="sgd", loss="mse", jit_compile=False, run_eagerly=True)
    line(X[:1])
    return line


def test_history_holds_steps_epochs_validation_and_interval(world: World, model: Any) -> None:
    ran = model.fit(
        X,
        2 * X,
        batch_size=4,
        epochs=2,
        validation_data=(X, 2 * X),
        callbacks=[callback(world.measure)],
        verbose=0,
    )
    history = ran.history
    assert history["step_energy_package_0_J"] == pytest.approx([8.0, 8.0])
    assert history["eval_energy_package_0_J"] == pytest.approx([4.0, 4.0])
    assert history["epoch_energy_package_0_J"] == pytest.approx([20.0, 20.0])
    assert history["epoch_energy_kind"] == [0, 0]
    for low, value, high in zip(
        *(history[f"epoch_energy{end}_J"] for end in ("_low", "", "_high")), strict=True
    ):
        assert low < value < high
    assert len(history["loss"]) == 2
    (train,) = [window for window in world.seen if window.name == "train"]
    assert train.energies["package:0"].value == pytest.approx(40.0)


def test_an_evaluation_by_itself_is_in_the_logs_of_later_callbacks(
    world: World, model: Any
) -> None:
    seen: list[Any] = []

    class Reporter(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_test_end(self, logs: Any = None) -> None:
            seen.append(logs)

    both = [callback(world.measure), Reporter()]
    model.evaluate(X, 2 * X, batch_size=4, callbacks=both, verbose=0)
    (logs,) = seen
    assert logs["eval_energy_package_0_J"] == pytest.approx(4.0)
    assert logs["loss"] > 0


def test_the_energy_can_stop_a_run(world: World, model: Any) -> None:
    class Budget(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = logs["epoch_energy_J"] > 0

    ran = model.fit(X, 2 * X, epochs=5, callbacks=[callback(world.measure), Budget()], verbose=0)
    assert len(ran.history["loss"]) == 1
