from __future__ import annotations

from pathlib import Path

from negawatt.core.quantities import Joules
from negawatt.meters import machine
from negawatt.meters.checkup import abilities_of, examine, extras_of, versions
from negawatt.meters.inventory import Inventory, Missing


class Counter:
    name, boundary = "rapl:package-0", "package:0"

    def __init__(self) -> None:
        self.joules = 0.0

    def energy(self) -> Joules:
        self.joules += 3.0
        return Joules(self.joules)


def test_without_meters_the_band_is_told() -> None:
    missing = (Missing("rapl", "hidden", "go elsewhere"),)
    found = examine(found=Inventory(meters=(), missing=missing))
    assert not found.measures_cpu
    assert found.missing == missing
    assert 0 < found.rest.low < found.full.high
    assert found.per_cpu_second.unit == "J/s"


def test_a_meter_is_watched_for_a_moment() -> None:
    found = examine(found=Inventory(meters=(Counter(),)))
    (live,) = found.meters
    assert found.measures_cpu
    assert (live.boundary, live.power.unit) == ("package:0", "W")
    assert 0 < live.power.value <= 10.0  # 3 J over a third of a second


def test_the_disk_is_that_of_the_folder(tmp_path: Path) -> None:
    found = examine(seen=machine.here(), found=Inventory(meters=()), folder=tmp_path)
    assert found.disk.folder == tmp_path
    assert 0 < found.disk.free_bytes <= found.disk.total_bytes


def test_abilities_name_what_brings_them() -> None:
    abilities = {each.name: each.present for each in abilities_of(("avx2", "avx_vnni", "sse"))}
    assert abilities["wide vectors"] == ("avx2",)
    assert abilities["8-bit products"] == ("avx_vnni",)
    assert abilities["bfloat16 products"] == ()


def test_extras_with_something_missing_are_told_with_the_line_to_type() -> None:
    (extra,) = extras_of(
        [
            "click>=8",
            'click>=8; extra == "complete"',
            "surely-not-there[x]>=1; extra == 'gpu'",
            'also-not-there; python_version < "4" and extra == "gpu"',
            'negawatt[gpu]; extra == "all"',
            'surely-not-there; extra == "dev"',
        ]
    )
    assert extra.name == "gpu"
    assert extra.lacks == ("surely-not-there", "also-not-there")
    assert extra.install == "pip install 'negawatt[gpu]'"


def test_versions_are_told_without_importing_anything_heavy() -> None:
    assert {"python", "negawatt", "numpy"} <= set(versions())
