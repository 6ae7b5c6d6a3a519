from __future__ import annotations

import errno
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from meter_rigs import power_events

from negawatt.adapters.meters import perf_event
from negawatt.adapters.meters.perf_event import PerfMeter, discover, open_event
from negawatt.core.errors import MeterUnavailable

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="RAPL is of x86 processors, and this is none"
)


class Kernel:
    """Opens files in place of events, and remembers what for."""

    def __init__(self, folder: Path, *, refuse: int = 0) -> None:
        self.file, self.refuse = folder / "count", refuse
        self.file.write_bytes(bytes(8))
        self.opened: list[tuple[int, int, int]] = []

    def __call__(self, kind: int, config: int, cpu: int) -> int:
        if self.refuse:
            raise OSError(self.refuse, os.strerror(self.refuse))
        self.opened.append((kind, config, cpu))
        return os.open(self.file, os.O_RDONLY)


def no_powercap() -> Sequence[object]:
    raise MeterUnavailable("only root may read it", fix="become root")


def found(root: Path, kernel: Kernel, **layout: object) -> list[PerfMeter]:
    source, cpus = power_events(root, **layout)  # type: ignore[arg-type]
    return discover(
        source, cpus=cpus, powercap=no_powercap, opener=kernel, read=lambda fd: os.pread(fd, 8, 0)
    )


def test_a_count_is_scaled_to_joules(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    (meter,) = found(tmp_path, kernel, events="pkg")
    kernel.file.write_bytes((5 * 2**32).to_bytes(8, "little"))
    assert meter.energy().value == pytest.approx(5.0)
    assert kernel.opened == [(23, 2, 0)]


def test_packages_and_memory_are_found_and_psys_is_left_out(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    meters = found(tmp_path, kernel, packages=2, events="cores pkg ram gpu psys")
    assert [(meter.name, meter.boundary) for meter in meters] == [
        ("perf_event:package-0", "package:0"),
        ("perf_event:package-1", "package:1"),
        ("perf_event:dram-0", "dram:0"),
        ("perf_event:dram-1", "dram:1"),
    ]
    assert kernel.opened == [(23, 2, 0), (23, 2, 8), (23, 3, 0), (23, 3, 8)]


def test_dies_with_counters_of_their_own_all_count(tmp_path: Path) -> None:
    source, cpus = power_events(tmp_path, packages=2, events="pkg")
    (cpus / "cpu8" / "topology" / "physical_package_id").write_text("0\n")
    (cpus / "cpu8" / "topology" / "die_id").write_text("1\n")
    meters = discover(source, cpus=cpus, powercap=no_powercap, opener=Kernel(tmp_path))
    assert [meter.boundary for meter in meters] == ["package:0/die:0", "package:0/die:1"]


def test_psys_is_used_where_there_is_no_package(tmp_path: Path) -> None:
    meters = found(tmp_path, Kernel(tmp_path), packages=2, events="cores psys")
    assert [meter.boundary for meter in meters] == ["psys"]


def test_powercap_comes_first(tmp_path: Path) -> None:
    source, cpus = power_events(tmp_path)
    kernel = Kernel(tmp_path)
    assert discover(source, cpus=cpus, powercap=lambda: ["a meter"], opener=kernel) == []
    assert kernel.opened == []


def test_a_kernel_without_the_events_has_nothing_to_say(tmp_path: Path) -> None:
    assert discover(tmp_path / "power") == []


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EPERM])
def test_a_kernel_that_keeps_them_to_root_says_how_to_open_them(
    refusal: int, tmp_path: Path
) -> None:
    with pytest.raises(MeterUnavailable, match="not for this user") as raised:
        found(tmp_path, Kernel(tmp_path, refuse=refusal))
    assert "sudo sysctl kernel.perf_event_paranoid=0" in raised.value.fix
    assert "/etc/sysctl.d/" in raised.value.fix


def test_a_unit_that_is_not_known_is_refused(tmp_path: Path) -> None:
    source, cpus = power_events(tmp_path, events="pkg")
    (source / "events" / "energy-pkg.unit").write_text("Furlongs\n")
    with pytest.raises(MeterUnavailable, match="Furlongs"):
        discover(source, cpus=cpus, powercap=no_powercap, opener=Kernel(tmp_path))


def test_the_file_is_closed_with_the_meter(tmp_path: Path) -> None:
    fds: list[int] = []

    class Remembering(Kernel):
        def __call__(self, kind: int, config: int, cpu: int) -> int:
            fds.append(super().__call__(kind, config, cpu))
            return fds[-1]

    meters = found(tmp_path, Remembering(tmp_path), events="pkg")
    os.fstat(fds[0])
    meters.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[0])


def test_the_system_call_opens_a_real_counter() -> None:
    # the clock of one CPU stands in for its energy: the kernel counts nanoseconds of it
    try:
        fd = open_event(kind=1, config=0, cpu=0)
    except OSError as error:
        pytest.skip(f"this kernel opens no event for this user: {error}")
    meter = PerfMeter("perf_event:clock", "package:0", fd, 1e-9)
    before = meter.energy()
    until = time.perf_counter() + 0.01
    while time.perf_counter() < until:
        pass
    assert 0.005 < (meter.energy() - before).value < 5.0


def test_the_system_call_tells_why_it_is_refused() -> None:
    with pytest.raises(OSError, match=r"No such|denied|not permitted|not implemented"):
        open_event(kind=99_999, config=0, cpu=0)


def test_the_structure_is_as_long_as_it_says() -> None:
    packed = perf_event._ATTRIBUTES.pack(1, perf_event._ATTRIBUTES.size, 2)
    assert len(packed) == 64  # PERF_ATTR_SIZE_VER0
    assert packed[:16] == b"\x01\0\0\0\x40\0\0\0\x02\0\0\0\0\0\0\0"
