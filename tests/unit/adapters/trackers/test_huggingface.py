"""The Trainer's callback, in real runs of a model small enough to train in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spent import World

import negawatt
from negawatt.adapters.trackers.huggingface import EnergyCallback
from negawatt.core.errors import UsageError

pytest.importorskip(
    "accelerate", reason="the Trainer needs accelerate: pip install 'negawatt[huggingface]'"
)


class Line(torch.nn.Module):
    """y = a x + b, and every pass is a piece of work in a made-up world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.world = world
        self.passes_left = 10**6

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        self.passes_left -= 1
        if self.passes_left < 0:
            raise ZeroDivisionError
        self.world.work(8.0 if self.training else 2.0)
        out = self.linear(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


DATA = [{"x": torch.tensor([float(n)]), "labels": torch.tensor([2.0 * n])} for n in range(8)]
MakeTrainer = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path) -> MakeTrainer:
    from transformers import Trainer, TrainingArguments

    def trainer(world: World, *callbacks: Any, **options: Any) -> Any:
        given = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "logging_steps": 2}
        given |= {"per_device_eval_batch_size": 4, "report_to": [], "disable_tqdm": True}
        given |= {"save_strategy": "no", "use_cpu": True, "dataloader_pin_memory": False}
        arguments = TrainingArguments(str(tmp_path), **(given | options))
        return Trainer(
            Line(world),
            arguments,
            train_dataset=DATA,
            eval_dataset=DATA,
            callbacks=list(callbacks),
        )

    return trainer


def history(trainer: Any, key: str) -> list[float]:
    return [entry[key] for entry in trainer.state.log_history if key in entry]


def test_steps_epochs_and_the_run_are_in_the_logs(make: MakeTrainer) -> None:
    world = World()
    trainer = make(world, EnergyCallback(world.measure))
    trainer.train()
    # two steps an epoch, two epochs: a step is one pass of 8 J of package and 16 J of GPU
    assert history(trainer, "step_energy_J") == pytest.approx([24.0, 24.0])
    assert history(trainer, "step_energy_package_0_J") == pytest.approx([8.0, 8.0])
    assert history(trainer, "step_energy_kind") == [0, 0]
    assert history(trainer, "step_cpu_s") == pytest.approx([0.5, 0.5])
    assert history(trainer, "epoch_energy_J") == pytest.approx([48.0, 48.0])
    assert history(trainer, "train_energy_J") == pytest.approx([96.0])
    (low,), (high,) = (
        history(trainer, "train_energy_low_J"),
        history(trainer, "train_energy_high_J"),
    )
    assert low < 96.0 < high
    assert [window.name for window in world.seen] == [*["step", "step", "epoch"] * 2, "train"]


def test_an_evaluation_is_measured_apart_from_the_steps(make: MakeTrainer) -> None:
    world = World()
    trainer = make(
        world, EnergyCallback(world.measure), eval_strategy="steps", eval_steps=2, max_steps=4
    )
    trainer.train()
    assert history(trainer, "eval_energy_package_0_J") == pytest.approx([4.0, 4.0])
    assert history(trainer, "step_energy_package_0_J") == pytest.approx([8.0, 8.0])
    for entry in trainer.state.log_history:
        assert ("eval_loss" in entry) == ("eval_energy_J" in entry)


def test_an_evaluation_before_and_after_each_epoch(make: MakeTrainer) -> None:
    world = World()
    trainer = make(world, EnergyCallback(world.measure), eval_strategy="epoch", eval_on_start=True)
    trainer.train()
    assert history(trainer, "eval_energy_package_0_J") == pytest.approx([4.0, 4.0, 4.0])
    assert history(trainer, "epoch_energy_package_0_J") == pytest.approx([16.0, 16.0])


def test_gradient_accumulation_is_one_step(make: MakeTrainer) -> None:
    world = World()
    trainer = make(
        world,
        EnergyCallback(world.measure),
        gradient_accumulation_steps=2,
        num_train_epochs=1,
        logging_steps=1,
    )
    trainer.train()
    assert history(trainer, "step_energy_package_0_J") == pytest.approx([16.0])


def test_a_counter_that_breaks_is_absent_and_never_zero(make: MakeTrainer) -> None:
    world = World()
    world.gpu.broken = True
    trainer = make(world, EnergyCallback(world.measure))
    trainer.train()
    assert history(trainer, "step_energy_package_0_J") == pytest.approx([8.0, 8.0])
    assert not [key for entry in trainer.state.log_history for key in entry if "gpu" in key]


def test_a_run_that_broke_off_leaves_nothing_in_the_next(make: MakeTrainer) -> None:
    world = World()
    trainer = make(world, EnergyCallback(world.measure))
    trainer.model.passes_left = 3
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    trainer.model.passes_left = 10**6
    trainer.train()
    assert history(trainer, "train_energy_package_0_J") == pytest.approx([32.0])
    assert history(trainer, "epoch_energy_package_0_J") == pytest.approx([16.0, 16.0])


def test_in_front_the_reporters_see_it_too(make: MakeTrainer) -> None:
    from transformers import TrainerCallback

    seen: list[dict[str, float]] = []

    class Reporter(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            seen.append(dict(logs))

    world = World()
    energy = EnergyCallback(world.measure)
    trainer = make(world, Reporter(), energy, eval_strategy="epoch")
    energy.lead(trainer)
    trainer.train()
    assert len([logs for logs in seen if "step_energy_J" in logs]) == 2
    assert len([logs for logs in seen if "eval_energy_J" in logs]) == 2


def test_it_cannot_lead_a_trainer_it_is_not_in(make: MakeTrainer) -> None:
    world = World()
    with pytest.raises(UsageError, match="does not have"):
        EnergyCallback(world.measure).lead(make(world))


def test_through_the_door_with_the_meters_of_this_machine(make: MakeTrainer) -> None:
    closed: list[str] = []
    energy = negawatt.callback("huggingface", then=lambda window: closed.append(window.name))
    trainer = make(World(), energy)
    with negawatt.measure("training") as whole:
        trainer.train()
    (train,) = history(trainer, "train_energy_J")
    assert 0 < train <= whole.energy.high
    assert set(whole.parts) == {"train", "train/epoch", "train/epoch/step"}
    assert closed.count("step") == 4
