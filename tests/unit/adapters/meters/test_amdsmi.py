from __future__ import annotations

import sys
from pathlib import Path

import pytest
from meter_rigs import AmdGpu, AmdLibrary

from negawatt.adapters.meters.amdsmi import AmdCounter, AmdGauge, discover
from negawatt.core.errors import MeterUnavailable


def test_a_count_is_read_with_the_counters_own_resolution() -> None:
    gpu = AmdGpu(1000)
    (meter,) = discover(AmdLibrary(gpu))
    assert isinstance(meter, AmdCounter)
    before = meter.energy()
    gpu.count = 1_001_000
    assert (meter.energy() - before).value == pytest.approx(15.259)
    assert meter.resolution_j == pytest.approx(15.259e-6)
    assert (meter.name, meter.boundary) == ("amdsmi:0000:05:00.0", "gpu:0000:05:00.0")


@pytest.mark.parametrize("cap", [300_000_000, 300])  # newer versions tell µW, older ones W
def test_a_board_without_a_counter_is_a_gauge(cap: int) -> None:
    (gauge,) = discover(AmdLibrary(AmdGpu(None, watts=41, cap=cap)))
    assert isinstance(gauge, AmdGauge)
    assert (gauge.power().value, gauge.limit.value) == (41.0, pytest.approx(300.0))


def test_partitions_of_a_board_are_one_board_and_it_says_so() -> None:
    parts = [AmdGpu(1000, bdf=f"0000:05:00.{function}") for function in range(8)]
    whole = AmdGpu(1000, bdf="0000:26:00.0")
    meters = discover(AmdLibrary(*parts, whole))
    assert [meter.boundary for meter in meters] == ["gpu:0000:05:00.0", "gpu:0000:26:00.0"]
    assert ["partitions share it" in meter.label for meter in meters] == [True, False]


def test_the_second_die_of_a_board_is_counted_by_the_first() -> None:
    first, second = AmdGpu(1000), AmdGpu(0, watts=0, bdf="0000:06:00.0")
    assert [meter.boundary for meter in discover(AmdLibrary(first, second))] == ["gpu:0000:05:00.0"]


def test_graphics_inside_the_processor_are_in_its_package() -> None:
    assert discover(AmdLibrary(AmdGpu(None, watts=12, cap=None))) == []


@pytest.mark.parametrize("watts", ["N/A", 0xFFFF])
def test_a_board_that_says_nothing_makes_the_sum_unknown(watts: object) -> None:
    silent = AmdGpu(None, watts=watts, bdf="0000:26:00.0")
    with pytest.raises(MeterUnavailable, match=r"26:00\.0 reports neither"):
        discover(AmdLibrary(AmdGpu(1000), silent))


def test_a_gauge_that_falls_silent_is_unknown() -> None:
    gpu = AmdGpu(None)
    (gauge,) = discover(AmdLibrary(gpu))
    assert isinstance(gauge, AmdGauge)
    gpu.watts = "N/A"
    with pytest.raises(MeterUnavailable):
        gauge.power()


def test_a_driver_loaded_anew_makes_the_window_unknown() -> None:
    gpu = AmdGpu(9000)
    (meter,) = discover(AmdLibrary(gpu))
    assert isinstance(meter, AmdCounter)
    meter.energy()
    gpu.count = 10
    with pytest.raises(MeterUnavailable, match="loaded anew"):
        meter.energy()


def test_a_machine_without_the_driver_is_not_asked(tmp_path: Path) -> None:
    assert discover(driver=tmp_path / "amdgpu") == []


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    with pytest.raises(MeterUnavailable) as raised:
        discover(driver=tmp_path)
    assert "pip install 'negawatt[amdsmi]'" in raised.value.fix


def test_a_package_without_its_library_is_told_and_kept_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # what the real package does where no libamd_smi.so is found
    (tmp_path / "amdsmi.py").write_text("print('Unable to find'); {}['libamd_smi.so']\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    with pytest.raises(MeterUnavailable, match="finds no AMD SMI library"):
        discover(driver=tmp_path)
    assert capsys.readouterr().out == ""
