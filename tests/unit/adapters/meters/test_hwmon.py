from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from negawatt.adapters.meters.hwmon import HwmonCounter, HwmonGauge, discover
from negawatt.core.errors import MeterUnavailable
from negawatt.meters.boundary import outermost

AddChip = Callable[..., Path]


@pytest.fixture
def chip(tmp_path: Path) -> AddChip:
    """Adds a chip the way the kernel lays it out, device link included; returns its folder."""

    def add(name: str, files: Mapping[str, object], *, device: str = "0000:03:00.0") -> Path:
        number = len(list(tmp_path.glob("hwmon*")))
        folder, home = tmp_path / f"hwmon{number}", tmp_path / "devices" / device
        folder.mkdir()
        home.mkdir(parents=True, exist_ok=True)
        (folder / "device").symlink_to(home)
        (folder / "name").write_text(f"{name}\n")
        for file, value in files.items():
            (folder / file).write_text(f"{value}\n")
        return folder

    return add


def test_a_counter_is_read_in_microjoules(chip: AddChip, tmp_path: Path) -> None:
    folder = chip("amd_energy", {"energy1_input": 5_000_000, "energy1_label": "Esocket0"})
    (meter,) = discover(tmp_path)
    assert isinstance(meter, HwmonCounter)
    before = meter.energy()
    (folder / "energy1_input").write_text("12500000\n")
    assert (meter.energy() - before).value == pytest.approx(7.5)
    assert (meter.name, meter.boundary) == ("hwmon:hwmon0/Esocket0", "package:0")


def test_a_counter_that_starts_anew_makes_the_window_unknown(chip: AddChip, tmp_path: Path) -> None:
    folder = chip("xe", {"energy1_input": 9_000_000, "energy1_label": "card"})
    (meter,) = discover(tmp_path)
    assert isinstance(meter, HwmonCounter)
    meter.energy()
    (folder / "energy1_input").write_text("10\n")
    with pytest.raises(MeterUnavailable, match="loaded anew"):
        meter.energy()
    assert meter.energy().value == pytest.approx(1e-5)  # the next window is fine again


def test_a_server_board_is_the_whole_machine(chip: AddChip, tmp_path: Path) -> None:
    chip("power_meter", {"power1_average": 184_000_000, "power1_max": 900_000_000})
    (gauge,) = discover(tmp_path)
    assert isinstance(gauge, HwmonGauge)
    assert (gauge.power().value, gauge.limit.value) == (pytest.approx(184.0), pytest.approx(900.0))
    assert gauge.boundary == "system"


def test_a_jetson_is_volts_times_amperes(chip: AddChip, tmp_path: Path) -> None:
    chip(
        "ina3221",
        {
            "in1_input": 19_000, "curr1_input": 400, "in1_label": "VDD_IN",
            "in2_input": 19_000, "curr2_input": 100, "in2_label": "VDD_CPU_GPU_CV",
            "in4_input": 2, "in7_input": 3, "in7_label": "sum of shunt voltages",
        },
    )  # fmt: skip
    (gauge,) = discover(tmp_path)
    assert isinstance(gauge, HwmonGauge)
    assert gauge.power().value == pytest.approx(7.6)
    assert gauge.boundary == "system"


def test_rails_without_a_total_are_shown_and_never_added(chip: AddChip, tmp_path: Path) -> None:
    chip(
        "ina3221",
        {
            "in1_input": 5_000, "curr1_input": 400, "in1_label": "VDD_GPU_SOC",
            "in2_input": 5_000, "curr2_input": 100, "in2_label": "VDD_CPU_CV",
        },
    )  # fmt: skip
    boundaries = [meter.boundary for meter in discover(tmp_path)]
    assert boundaries == ["rail:ina3221/VDD_GPU_SOC", "rail:ina3221/VDD_CPU_CV"]
    assert outermost(boundaries) == ()


def test_older_kernels_keep_the_files_on_the_device(chip: AddChip, tmp_path: Path) -> None:
    folder = chip("power_meter", {})
    (folder / "device" / "power1_average").write_text("61000000\n")
    (folder / "device" / "power1_oem_info").write_text("Grace Power Socket 1\n")
    (gauge,) = discover(tmp_path)
    assert gauge.boundary == "package:1"


def test_parts_of_a_socket_lie_inside_it(chip: AddChip, tmp_path: Path) -> None:
    for label in ("Module Power Socket 0", "Grace Power Socket 0", "CPU Power Socket 0"):
        chip("power_meter", {"power1_average": 50_000_000, "power1_oem_info": label})
    boundaries = [meter.boundary for meter in discover(tmp_path)]
    assert boundaries == ["package:0", "core:0"]  # the module's, GPU included, is but a rail
    assert outermost(boundaries) == ("package:0",)


def test_a_graphics_card_is_named_by_its_place_and_counted_once(
    chip: AddChip, tmp_path: Path
) -> None:
    files = {"energy1_label": "card", "energy2_label": "pkg", "power1_label": "card"}
    readings = {"energy1_input": 10, "energy2_input": 9, "power1_input": 8}
    chip("xe", files | readings, device="0000:0b:00.0")
    meters = discover(tmp_path)
    assert [meter.boundary for meter in meters] == ["gpu:0000:0b:00.0", "gpu:0000:0b:00.0/package"]
    assert outermost(meter.boundary for meter in meters) == ("gpu:0000:0b:00.0",)
    assert all(isinstance(meter, HwmonCounter) for meter in meters)


def test_graphics_on_the_processor_are_not_a_card(chip: AddChip, tmp_path: Path) -> None:
    chip("amdgpu", {"power1_average": 9_000_000, "power1_label": "PPT"}, device="0000:c1:00.0")
    assert [meter.boundary for meter in discover(tmp_path)] == ["rail:amdgpu/PPT"]
    chip(
        "amdgpu",
        {"power1_average": 9_000_000, "power1_label": "PPT", "power1_cap": 230_000_000},
        device="0000:03:00.0",
    )
    (gauge,) = discover(tmp_path)
    assert isinstance(gauge, HwmonGauge)
    assert (gauge.boundary, gauge.limit.value) == ("gpu:0000:03:00.0", pytest.approx(230.0))


def test_two_that_both_claim_the_whole_are_left_out(chip: AddChip, tmp_path: Path) -> None:
    for watts in (100, 110):
        chip("power_meter", {"power1_average": watts * 1_000_000})
    assert discover(tmp_path) == []


@pytest.mark.parametrize("text", ["", "n/a", "nan", "-5000000", "0"])
def test_what_cannot_be_true_is_unknown(chip: AddChip, tmp_path: Path, text: str) -> None:
    folder = chip("power_meter", {"power1_average": 100_000_000})
    (gauge,) = discover(tmp_path)
    assert isinstance(gauge, HwmonGauge)
    (folder / "power1_average").write_text(f"{text}\n")
    with pytest.raises(MeterUnavailable) as raised:
        gauge.power()
    assert raised.value.fix


def test_a_sensor_kept_to_root_says_how_to_open_it(chip: AddChip, tmp_path: Path) -> None:
    chip("xe", {"energy1_input": 10, "energy1_label": "card"})

    def forbidden(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with pytest.raises(MeterUnavailable, match="may not read") as raised:
        discover(tmp_path, read=forbidden)
    assert "sudo chmod a+r" in raised.value.fix
    assert "/etc/udev/rules.d/" in raised.value.fix


def test_a_rail_that_is_switched_off_is_left_out(chip: AddChip, tmp_path: Path) -> None:
    chip(
        "ina3221",
        {
            "in1_input": 5_000, "curr1_input": 400, "in1_label": "VDD_GPU_SOC",
            "in2_input": 5_000, "curr2_input": 100, "in2_label": "unused",
        },
    )  # fmt: skip

    def asleep(path: Path) -> str:
        if path.name == "in2_input":
            raise OSError(errno.ENODATA, "No data available", str(path))
        return path.read_text()

    assert [m.boundary for m in discover(tmp_path, read=asleep)] == ["rail:ina3221/VDD_GPU_SOC"]


def test_fans_and_temperatures_are_no_meters(chip: AddChip, tmp_path: Path) -> None:
    chip("nvme", {"temp1_input": 40_000, "in0_input": 12_000, "curr1_input": 3})
    assert discover(tmp_path) == []
    assert discover(tmp_path / "nothing-here") == []
