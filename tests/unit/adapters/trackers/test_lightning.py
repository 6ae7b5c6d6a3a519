"""The Lightning callback, in real runs of a model of two numbers."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spent import World

from negawatt.adapters.trackers.lightning import callback

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library about itself, while it is imported
    pl: Any = pytest.importorskip(
        "lightning.pytorch",
        reason="lightning is not installed: pip install 'negawatt[lightning]'",
    )

pytestmark = pytest.mark.filterwarnings("ignore::Warning:lightning")
DATA = [(torch.tensor([float(n)]), torch.tensor([2.0 * n])) for n in range(8)]


class Line(pl.LightningModule):  # type: ignore[misc,name-defined]
    """y = a x + b, and every pass is a piece of work in a made-up world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.world = world

    def loss(self, batch: Any, joules: float) -> Any:
        self.world.work(joules)
        x, y = batch
        return ((self.linear(x) - y) ** 2).mean()

    def training_step(self, batch: Any, index: int) -> Any:
        return self.loss(batch, 8.0)

    def validation_step(self, batch: Any, index: int) -> Any:
        return self.loss(batch, 2.0)

    def test_step(self, batch: Any, index: int) -> Any:
        return self.loss(batch, 3.0)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.fixture
def loader() -> Any:
    return torch.utils.data.DataLoader(DATA, batch_size=4)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[World], Any]:
    from lightning.pytorch.loggers import CSVLogger

    def trainer(world: World) -> Any:
        return pl.Trainer(
            accelerator="cpu",
            max_epochs=2,
            log_every_n_steps=2,
            logger=CSVLogger(str(tmp_path), name="", version=""),
            callbacks=[callback(world.measure)],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )

    return trainer


def column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_steps_epochs_validations_and_the_run_are_logged(
    make: Any, loader: Any, tmp_path: Path
) -> None:
    world = World()
    trainer = make(world)
    trainer.fit(Line(world), loader, loader)
    assert column(tmp_path, "step_energy_package_0_J") == pytest.approx([8.0, 8.0])
    # a validation is inside its epoch
    assert column(tmp_path, "epoch_energy_package_0_J") == pytest.approx([20.0, 20.0])
    assert column(tmp_path, "eval_energy_package_0_J") == pytest.approx([4.0, 4.0])
    assert column(tmp_path, "train_energy_package_0_J") == pytest.approx([40.0])
    assert column(tmp_path, "train_energy_kind") == [0.0]
    (low,), (high,) = (column(tmp_path, f"train_energy_{end}_J") for end in ("low", "high"))
    assert low < 120.0 < high
    assert float(trainer.callback_metrics["epoch_energy_J"]) == pytest.approx(60.0)


def test_a_test_is_measured(make: Any, loader: Any, tmp_path: Path) -> None:
    world = World()
    (result,) = make(world).test(Line(world), loader, verbose=False)
    assert result["test_energy_package_0_J"] == pytest.approx(6.0)
    assert [window.name for window in world.seen] == ["test"]


def test_a_run_that_fails_closes_its_windows(make: Any, loader: Any) -> None:
    class Broken(Line):
        def validation_step(self, batch: Any, index: int) -> Any:
            raise ZeroDivisionError

    world, outer = World(), World()
    trainer = make(world)
    trainer.num_sanity_val_steps = 0
    with outer.measure("job") as job, pytest.raises(ZeroDivisionError):
        trainer.fit(Broken(world), loader, loader)
    assert [window.name for window in world.seen][-3:] == ["eval", "epoch", "train"]
    with outer.measure("after"):
        pass
    assert "after" not in job.parts
