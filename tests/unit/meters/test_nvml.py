from __future__ import annotations

import sys

import pytest
from nvml_library import (
    GPU_IS_LOST,
    LIBRARY_NOT_FOUND,
    NOT_SUPPORTED,
    Gpu,
    Library,
    NVMLError,
    Ran,
)

from negawatt.adapters.meters import nvml
from negawatt.core.errors import MeterUnavailable
from negawatt.meters.attribute import ProcessGauge
from negawatt.meters.inventory import as_meters


def test_a_board_cut_into_slices_is_told_whole_and_says_so() -> None:
    (counter,) = nvml.discover(Library(Gpu(5_000, mig=True)))
    (gauge,) = as_meters(nvml.discover(Library(Gpu(NVMLError(NOT_SUPPORTED), mig=True))))
    (whole,) = nvml.discover(Library(Gpu(5_000)))
    assert (counter.boundary, whole.label) == ("gpu:0", "")
    for meter in (counter, gauge):
        assert "MIG slices share it, and how is unknown" in meter.label


def test_a_virtual_gpu_is_unknown_whatever_it_says() -> None:
    with pytest.raises(MeterUnavailable, match="virtual GPU") as raised:
        nvml.discover(Library(Gpu(5_000, virtualization=2)))
    assert "on the host" in raised.value.fix
    assert nvml.discover(Library(Gpu(5_000, virtualization=1)))  # passed through whole


def test_a_counter_is_read_in_millijoules() -> None:
    gpu = Gpu(energy_mj=5_000)
    (meter,) = nvml.discover(Library(gpu))
    assert isinstance(meter, nvml.NvmlCounter)
    before = meter.energy()
    gpu.energy_mj = 12_500
    assert (meter.energy() - before).value == pytest.approx(7.5)
    assert (meter.name, meter.boundary) == ("nvml:0", "gpu:0")


def test_a_board_without_a_counter_is_a_gauge_in_milliwatts() -> None:
    (gauge,) = nvml.discover(Library(Gpu(NVMLError(NOT_SUPPORTED), power_mw=41_500)))
    assert isinstance(gauge, nvml.NvmlGauge)
    assert gauge.power().value == pytest.approx(41.5)
    assert gauge.limit.value == pytest.approx(300.0)


def test_a_board_that_tells_no_limit_is_sampled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def untold(self: Library, gpu: Gpu) -> int:
        raise NVMLError(NOT_SUPPORTED)

    monkeypatch.setattr(Library, "nvmlDeviceGetEnforcedPowerLimit", untold)
    (meter,) = as_meters(nvml.discover(Library(Gpu(NVMLError(NOT_SUPPORTED), power_mw=41_500))))
    meter.energy()
    assert meter.energy().value >= 0


def test_every_board_has_a_boundary_of_its_own() -> None:
    meters = nvml.discover(Library(Gpu(1), Gpu(NVMLError(NOT_SUPPORTED)), Gpu(1)))
    assert [meter.boundary for meter in meters] == ["gpu:0", "gpu:1", "gpu:2"]


def test_a_board_that_says_nothing_makes_the_sum_unknown() -> None:
    dumb = Gpu(NVMLError(NOT_SUPPORTED), NVMLError(NOT_SUPPORTED))
    with pytest.raises(MeterUnavailable, match="GPU 1 tells no energy"):
        nvml.discover(Library(Gpu(1), dumb))


def test_a_lost_board_is_unavailable_not_zero() -> None:
    gpu = Gpu(1)
    (meter,) = nvml.discover(Library(gpu))
    gpu.energy_mj = NVMLError(GPU_IS_LOST)
    with pytest.raises(MeterUnavailable, match="GPU 0 did not answer"):
        meter.energy()


def test_a_gauge_that_fails_is_unavailable_not_zero() -> None:
    gpu = Gpu(NVMLError(NOT_SUPPORTED))
    (gauge,) = nvml.discover(Library(gpu))
    gpu.power_mw = NVMLError(GPU_IS_LOST)
    with pytest.raises(MeterUnavailable):
        gauge.power()


def test_a_driver_reloaded_in_between_makes_the_window_unknown() -> None:
    gpu = Gpu(9_000)
    (meter,) = nvml.discover(Library(gpu))
    meter.energy()
    gpu.energy_mj = 10
    with pytest.raises(MeterUnavailable, match="reloaded"):
        meter.energy()
    gpu.energy_mj = 30
    assert meter.energy().value == pytest.approx(0.03)  # the next window is fine again


def test_no_driver_and_no_gpu_each_say_what_to_do() -> None:
    for library in (Library(init=NVMLError(LIBRARY_NOT_FOUND)), Library()):
        with pytest.raises(MeterUnavailable) as raised:
            nvml.discover(library)
        assert "nvidia-smi" in raised.value.fix


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MeterUnavailable) as raised:
        nvml.discover()
    assert "pip install 'negawatt[nvml]'" in raised.value.fix


def test_the_installed_package_is_found_by_its_import_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Library(Gpu(2_000)))
    assert [meter.name for meter in nvml.discover()] == ["nvml:0"]


def test_processes_on_a_board_are_told_once_and_an_idle_board_has_none() -> None:
    gpu = Gpu(1)
    (meter,) = nvml.discover(Library(gpu))
    assert isinstance(meter, nvml.NvmlCounter)
    assert isinstance(meter, ProcessGauge)
    gpu.ran = [Ran(7, 1_000, 60), Ran(9, 1_000, 30)]
    assert meter.processes() == {7: 60.0, 9: 30.0}
    assert meter.processes() == {}
    gpu.ran = [*gpu.ran, Ran(7, 2_000, 55)]
    assert meter.processes() == {7: 55.0}


def test_a_driver_that_does_not_tell_processes_is_unavailable_not_idle() -> None:
    (meter,) = nvml.discover(Library(Gpu(1)))
    assert isinstance(meter, nvml.NvmlCounter)
    with pytest.raises(MeterUnavailable):
        meter.processes()
