from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from negawatt.adapters.meters.replay import ReplayMeter
from negawatt.core.errors import MeterUnavailable, UsageError


def test_a_recording_is_played_from_its_first_reading(clock: Any) -> None:
    clock.advance(1000.0)
    meter = ReplayMeter([50.0, 60.0, 70.0], [1.0, 21.0, 22.0], boundary="wall", clock=clock)
    assert meter.energy().value == 1.0
    clock.advance(5.0)
    assert meter.energy().value == pytest.approx(11.0)
    clock.advance(15.0)
    assert meter.energy().value == pytest.approx(22.0)


def test_past_its_end_a_recording_is_unavailable(clock: Any) -> None:
    meter = ReplayMeter([0.0, 1.0], [0.0, 1.0], boundary="wall", clock=clock)
    meter.energy()
    clock.advance(1.5)
    with pytest.raises(MeterUnavailable, match="ends after 1 s"):
        meter.energy()


def test_a_recording_is_read_from_a_file(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "lunch.csv"
    path.write_text("seconds,joules\n0,10\n2,14\n")
    meter = ReplayMeter.from_csv(path, boundary="package:0", clock=clock)
    assert (meter.name, meter.boundary) == ("replay:lunch", "package:0")
    meter.energy()
    clock.advance(1.0)
    assert meter.energy().value == pytest.approx(12.0)


@pytest.mark.parametrize("text", ["", "time,joules\n0,1\n1,2\n", "seconds,joules\n0,one\n"])
def test_a_file_that_is_no_recording_is_unavailable(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises((MeterUnavailable, UsageError)):
        ReplayMeter.from_csv(path, boundary="wall")


@pytest.mark.parametrize(
    ("times", "joules"),
    [([0.0], [1.0]), ([0.0, 1.0], [1.0]), ([0.0, 0.0], [1.0, 2.0]), ([0.0, 1.0], [2.0, 1.0])],
)
def test_readings_that_run_backwards_are_refused(times: list[float], joules: list[float]) -> None:
    with pytest.raises(UsageError):
        ReplayMeter(times, joules, boundary="wall")
