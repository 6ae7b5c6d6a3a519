from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from negawatt.adapters.meters.rapl import discover
from negawatt.core.errors import MeterUnavailable

AddZone = Callable[..., Path]


def set_joules(folder: Path, joules: float) -> None:
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")


def test_a_wrapped_counter_goes_on_counting(zone: AddZone, tmp_path: Path) -> None:
    package = zone("intel-rapl:0", "package-0", 61.0, range_j=262143.328850)
    (meter,) = discover(tmp_path)
    before = meter.energy()
    set_joules(package, 4.0)
    assert (meter.energy() - before).value == pytest.approx(262086.33, abs=0.005)


def test_two_wraps_add_two_turns(zone: AddZone, tmp_path: Path) -> None:
    package = zone("intel-rapl:0", "package-0", 90.0, range_j=100.0)
    (meter,) = discover(tmp_path)
    before = meter.energy()
    for joules in (10.0, 95.0, 5.0):  # 20, 85 and 10 J later
        set_joules(package, joules)
        after = meter.energy()
    assert (after - before).value == pytest.approx(115.0)


def test_a_counter_without_a_range_that_runs_backwards_is_unknown(
    zone: AddZone, tmp_path: Path
) -> None:
    package = zone("intel-rapl:0", "package-0", 90.0, range_j=0.0)
    (meter,) = discover(tmp_path)
    set_joules(package, 4.0)
    with pytest.raises(MeterUnavailable, match="where it wraps"):
        meter.energy()


def test_the_poll_is_short_enough_to_see_every_turn(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", 1.0, range_j=65712.0)
    (meter,) = discover(tmp_path)
    assert meter.poll_every_s * 2000.0 < 65712.0


def test_packages_and_their_memory_are_found_and_psys_is_left_out(
    zone: AddZone, tmp_path: Path
) -> None:
    zone("intel-rapl:0", "package-0", 10.0)
    zone("intel-rapl:0/intel-rapl:0:0", "core", 5.0)
    zone("intel-rapl:0/intel-rapl:0:1", "dram", 2.0)
    zone("intel-rapl:1", "package-1", 2000.0)
    zone("intel-rapl:1:0", "dram", 3.0)  # some kernels list sub-zones beside their parent
    zone("intel-rapl:2", "psys", 40.0)
    assert [(meter.name, meter.boundary) for meter in discover(tmp_path)] == [
        ("rapl:package-0", "package:0"),
        ("rapl:dram-0", "dram:0"),
        ("rapl:package-1", "package:1"),
        ("rapl:dram-1", "dram:1"),
    ]


def test_psys_is_used_where_there_is_no_package(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "psys", 40.0)
    assert [meter.boundary for meter in discover(tmp_path)] == ["psys"]


def test_a_package_seen_through_two_drivers_counts_once(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", 5000.0)
    zone("intel-rapl-mmio:0", "package-0", 300.0)
    meters = discover(tmp_path)
    assert [meter.energy().value for meter in meters] == [5000.0]


def test_dies_that_mirror_one_socket_counter_count_once(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0-die-0", 68000.0)
    zone("intel-rapl:1", "package-0-die-1", 68000.002)
    assert [meter.boundary for meter in discover(tmp_path)] == ["package:0"]


def test_dies_with_counters_of_their_own_all_count(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0-die-0", 68000.0)
    zone("intel-rapl:1", "package-0-die-1", 51000.0)
    zone("intel-rapl:1:0", "dram", 700.0)
    assert [meter.boundary for meter in discover(tmp_path)] == [
        "package:0/die:0",
        "package:0/die:1",
        "dram:0/die:1",
    ]


def test_dies_just_after_a_start_are_close_and_still_two(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0-die-0", 1.0)
    zone("intel-rapl:1", "package-0-die-1", 2.0)
    assert [meter.boundary for meter in discover(tmp_path)] == [
        "package:0/die:0",
        "package:0/die:1",
    ]


def test_a_busy_socket_counter_moves_between_the_reads_of_its_dies(
    zone: AddZone, tmp_path: Path
) -> None:
    dies = [zone(f"intel-rapl:{n}", f"package-0-die-{n}", 500.0) for n in range(4)]
    flowed = iter(range(500, 600))

    def moving(path: Path) -> str:
        if path.name == "energy_uj":
            assert path.parent in dies
            return str(next(flowed) * 1_000_000)  # a joule from one read to the next
        return path.read_text()

    assert [meter.boundary for meter in discover(tmp_path, read=moving)] == ["package:0"]


def test_memory_with_a_limit_and_no_counter_is_left_out(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", 10.0)
    memory = zone("intel-rapl:0/intel-rapl:0:0", "dram", 2.0)
    (memory / "energy_uj").unlink()
    assert [meter.boundary for meter in discover(tmp_path)] == ["package:0"]


def test_without_a_range_a_counter_is_read_until_it_falls(zone: AddZone, tmp_path: Path) -> None:
    package = zone("intel-rapl:0", "package-0", 10.0)
    (package / "max_energy_range_uj").unlink()
    (meter,) = discover(tmp_path)
    assert meter.poll_every_s > 1.0
    set_joules(package, 12.5)
    assert meter.energy().value == pytest.approx(12.5)
    set_joules(package, 4.0)
    with pytest.raises(MeterUnavailable, match="where it wraps"):
        meter.energy()


def test_two_sockets_that_agree_by_chance_are_two(zone: AddZone, tmp_path: Path) -> None:
    zone("intel-rapl:0", "package-0", 68000.0)
    zone("intel-rapl:1", "package-1", 68000.0)
    assert [meter.boundary for meter in discover(tmp_path)] == ["package:0", "package:1"]


def test_a_counter_kept_to_root_is_unavailable_and_says_how_to_open_it(
    zone: AddZone, tmp_path: Path
) -> None:
    zone("intel-rapl:0", "package-0", 10.0)

    def forbidden(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_text()

    with pytest.raises(MeterUnavailable, match="may not read") as raised:
        discover(tmp_path, read=forbidden)
    assert "sudo chmod a+r" in raised.value.fix
    assert "/etc/udev/rules.d/" in raised.value.fix
    assert "groupadd" in raised.value.fix


@pytest.mark.parametrize("text", ["", "n/a\n"])
def test_a_counter_that_is_no_number_is_unavailable(
    zone: AddZone, tmp_path: Path, text: str
) -> None:
    package = zone("intel-rapl:0", "package-0", 10.0)
    (package / "energy_uj").write_text(text)
    with pytest.raises(MeterUnavailable, match="cannot be read"):
        discover(tmp_path)


def test_a_counter_that_vanishes_is_unavailable(zone: AddZone, tmp_path: Path) -> None:
    package = zone("intel-rapl:0", "package-0", 10.0)
    (meter,) = discover(tmp_path)
    (package / "energy_uj").unlink()
    with pytest.raises(MeterUnavailable):
        meter.energy()


@pytest.mark.parametrize("folder", ["", "nothing-here"])
def test_no_counter_is_an_error_with_a_fix(tmp_path: Path, folder: str) -> None:
    with pytest.raises(MeterUnavailable) as raised:
        discover(tmp_path / folder)
    assert raised.value.fix
