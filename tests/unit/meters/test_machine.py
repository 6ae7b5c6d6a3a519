from __future__ import annotations

import os
from pathlib import Path

import pytest

from negawatt.meters import cgroup, machine
from negawatt.meters.band import band_of
from negawatt.meters.facts import Identity, facts_of

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu avx2 avx512_vnni amx_int8

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: another
"""
ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd4f
"""


def build(root: Path, cpuinfo: str, memory_kib: int = 8_000_000) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    (root / "proc/meminfo").write_text(f"MemTotal:       {memory_kib} kB\nMemFree: 1 kB\n")
    return root


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_bare_server_is_read_from_proc(tmp_path: Path) -> None:
    seen = machine.read(build(tmp_path, XEON), affinity=4)
    assert seen.cpu == Identity("Intel(R) Xeon(R) Platinum 8480+", "GenuineIntel", 6, 143)
    assert seen.features == ("amx_int8", "avx2", "avx512_vnni", "fpu")
    assert seen.threads_usable == 4
    assert seen.memory_usable == seen.memory_present == 8_000_000 * 1024
    assert not seen.virtual


@pytest.mark.parametrize("given", ["always", "madvise", "never"])
def test_who_gets_large_pages_is_read_from_the_brackets(tmp_path: Path, given: str) -> None:
    told = "always madvise never\n".replace(given, f"[{given}]")
    put(tmp_path / "sys/kernel/mm/transparent_hugepage/enabled", told)
    assert machine.read(build(tmp_path, XEON)).large_pages == given


def test_a_system_without_large_pages_says_nothing_of_them(tmp_path: Path) -> None:
    assert not machine.read(build(tmp_path, XEON)).large_pages


def test_a_guest_knows_that_it_is_one(tmp_path: Path) -> None:
    seen = machine.read(build(tmp_path, XEON.replace("fpu", "fpu hypervisor")), affinity=2)
    assert seen.virtual
    assert "virtual machine" in seen.share


def test_an_arm_server_is_known_by_its_part(tmp_path: Path) -> None:
    seen = machine.read(build(tmp_path, ARM), affinity=2)
    assert seen.cpu.part == "0xd4f"
    assert facts_of(seen.cpu).key == "graviton4"


def test_a_board_is_known_by_its_device_tree(tmp_path: Path) -> None:
    build(tmp_path, ARM.replace("0xd4f", "0xd0b"))
    put(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert facts_of(machine.identity(tmp_path)).key == "raspberry-pi-5"


def test_without_proc_the_system_is_asked(tmp_path: Path) -> None:
    seen = machine.read(tmp_path, affinity=1)
    assert seen.memory_present > 0
    assert seen.features == ()


def test_this_machine_can_be_read() -> None:
    seen = machine.here()
    assert 0 < seen.threads_usable <= seen.threads_present
    assert 0 < seen.memory_usable <= seen.memory_present


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, cgroup.Limits()),
        (
            {
                "proc/self/cgroup": "0::/kubepods/pod 1\n",
                "sys/fs/cgroup/kubepods/pod 1/cpu.max": "max 100000\n",
                "sys/fs/cgroup/kubepods/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/kubepods/pod 1/memory.max": "2000000000\n",
                "sys/fs/cgroup/memory.max": "max\n",
            },
            cgroup.Limits(cpus=1.5, memory_bytes=2_000_000_000),
        ),
        (  # inside a container the group's own path is not mounted, but its files are at the root
            {
                "proc/self/cgroup": "0::/../docker/abc\n",
                "sys/fs/cgroup/cpu.max": "50000 100000\n",
            },
            cgroup.Limits(cpus=0.5),
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
            },
            cgroup.Limits(cpus=2.0, memory_bytes=1_000_000),
        ),
    ],
    ids=["none", "v2", "v2 in a container", "v1"],
)
def test_the_tightest_limit_on_the_way_up_counts(
    tmp_path: Path, files: dict[str, str], expected: cgroup.Limits
) -> None:
    for name, text in files.items():
        put(tmp_path / name, text)
    assert cgroup.read(tmp_path) == expected


def test_limits_shrink_the_usable_share(tmp_path: Path) -> None:
    build(tmp_path, XEON)
    put(tmp_path / "proc/self/cgroup", "0::/\n")
    put(tmp_path / "sys/fs/cgroup/cpu.max", "150000 100000\n")
    put(tmp_path / "sys/fs/cgroup/memory.max", "1000000\n")
    seen = machine.read(tmp_path, affinity=4)
    assert seen.threads_usable == 1.5
    assert seen.memory_usable == 1_000_000
    assert "container" in seen.share


def test_a_share_relative_to_others_limits_nothing(tmp_path: Path) -> None:
    build(tmp_path, XEON)
    put(tmp_path / "proc/self/cgroup", "2:cpu:/job\n0::/job\n")
    put(tmp_path / "sys/fs/cgroup/job/cpu.weight", "10\n")
    put(tmp_path / "sys/fs/cgroup/cpu/job/cpu.shares", "128\n")
    put(tmp_path / "sys/fs/cgroup/job/cpu.max", "max 100000\n")
    assert machine.read(tmp_path, affinity=4).threads_usable == 4


def test_a_quota_above_the_threads_does_not_add_any(tmp_path: Path) -> None:
    build(tmp_path, XEON)
    put(tmp_path / "proc/self/cgroup", "0::/\n")
    put(tmp_path / "sys/fs/cgroup/cpu.max", "900000 100000\n")
    put(tmp_path / "sys/fs/cgroup/memory.max", "99000000000000\n")
    seen = machine.read(tmp_path, affinity=4)
    assert seen.threads_usable == 4
    assert seen.memory_usable == seen.memory_present


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system sets no affinity")
def test_a_set_of_cpus_is_respected() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})  # what a cpuset does to all of its processes
        seen = machine.read()
    finally:
        os.sched_setaffinity(0, allowed)
    assert seen.threads_usable <= 1
    assert seen.threads_present >= 1


def test_the_band_of_a_container_is_that_of_its_limits(tmp_path: Path) -> None:
    host = machine.read(build(tmp_path / "host", XEON, 8_000_000), affinity=8)
    root = build(tmp_path / "inside", XEON, 8_000_000)
    put(root / "proc/self/cgroup", "0::/pod\n")
    put(root / "sys/fs/cgroup/pod/cpu.max", "200000 100000\n")
    put(root / "sys/fs/cgroup/pod/memory.max", f"{2_000_000 * 1024}\n")
    inside = machine.read(root, affinity=8)
    assert (inside.threads_usable, inside.memory_usable) == (2.0, 2_000_000 * 1024)
    for all_of_it, part in (
        (band_of(host).rest, band_of(inside).rest),
        (band_of(host).full, band_of(inside).full),
    ):  # a quarter of the threads and of the memory
        assert part.value == pytest.approx(all_of_it.value / 4)
        assert (part.low, part.high) == pytest.approx((all_of_it.low / 4, all_of_it.high / 4))
