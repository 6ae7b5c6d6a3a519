"""TensorBoard's event files, read back with its own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spent import World

import negawatt

reader: Any = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="tensorboard is not installed: pip install 'negawatt[tensorboard]'",
)


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Every scalar in a folder of event files, by name and step."""
    events = reader.EventAccumulator(str(folder), size_guidance={reader.TENSORS: 0})
    events.Reload()
    plain = {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }
    tensors = {
        name: {event.step: event.tensor_proto.float_val[0] for event in events.Tensors(name)}
        for name in events.Tags()["tensors"]
    }
    return {**plain, **tensors}


def test_each_window_is_a_step_of_each_figure(tmp_path: Path) -> None:
    world, tracker = World(), negawatt.tracker("tensorboard", folder=tmp_path)
    for joules in (10.0, 20.0):
        world.spend("epoch", joules, tracker.record)
    tracker.close()
    tracker.close()
    got = scalars(tmp_path)
    assert got["negawatt/epoch/energy_J"] == pytest.approx({0: 30.0, 1: 60.0})
    assert got["negawatt/epoch/energy_package_0_J"] == pytest.approx({0: 10.0, 1: 20.0})
    assert got["negawatt/epoch/energy_kind"] == {0: 0.0, 1: 0.0}
    assert got["negawatt/epoch/cpu_s"] == {0: 0.5, 1: 0.5}
    low, high = got["negawatt/epoch/energy_low_J"], got["negawatt/epoch/energy_high_J"]
    assert low[0] < 30.0 < high[0]


def test_a_counter_that_was_lost_leaves_a_hole_and_no_zero(tmp_path: Path) -> None:
    world, tracker = World(), negawatt.tracker("tensorboard", folder=tmp_path)
    for broken in (False, True, False):
        with world.measure("epoch", tracker.record):
            world.work(10.0)
            world.gpu.broken = broken
        world.gpu.broken = False
    tracker.close()
    assert sorted(scalars(tmp_path)["negawatt/epoch/energy_gpu_0_J"]) == [0, 2]


def test_the_step_may_be_given(tmp_path: Path) -> None:
    world, tracker = World(), negawatt.tracker("tensorboard", folder=tmp_path, prefix="")
    for step in (100, None, 300):
        tracker.record(world.spend("epoch", 1.0, lambda window: None), step=step)
    tracker.close()
    assert sorted(scalars(tmp_path)["epoch/energy_J"]) == [100, 101, 300]


def test_a_writer_of_torch_is_used_and_left_open(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        tracker = negawatt.tracker("tensorboard", writer=writer)
        World().spend("epoch", 10.0, tracker.record)
        tracker.close()
        writer.add_scalar("loss", 0.5, 0)
    assert scalars(tmp_path)["negawatt/epoch/energy_J"] == pytest.approx({0: 30.0})
    assert scalars(tmp_path)["loss"] == {0: 0.5}
