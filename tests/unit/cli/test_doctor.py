from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from negawatt.cli.doctor import _Screen, command
from negawatt.core.estimate import Estimate
from negawatt.meters.checkup import Ability, Checkup, Extra, Live, examine
from negawatt.meters.inventory import Inventory, Missing

FIX = "sudo chmod a+r /sys/class/powercap/*/energy_uj\n  for good: write [a rule] into " + "x" * 90


@pytest.fixture(scope="module")
def bare() -> Checkup:
    missing = (Missing("rapl", "only root may read it", FIX),)
    return examine(found=Inventory(meters=(), missing=missing))


def screen(found: Checkup, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(file=stream, highlight=False, soft_wrap=True, width=80)
    _Screen(console, found).show()
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_what_is_missing_comes_with_the_command_that_brings_it(bare: Checkup) -> None:
    text = screen(bare)
    assert "only root may read it" in text
    for line in FIX.replace("for good: ", "").splitlines():  # unbroken, to be pasted
        assert any(line.strip() in row for row in text.splitlines())


def test_the_band_is_drawn_to_scale(bare: Checkup) -> None:
    rest, full = (row for row in screen(bare).splitlines() if "├" in row)
    assert rest.index("├") < rest.index("●") < rest.index("┤") < full.index("┤")
    assert "modelled" in rest


def test_the_band_says_how_often_it_holds(bare: Checkup) -> None:
    assert "covers 90% of servers" in screen(replace(bare, covers=0.9))
    assert "not tried" in screen(replace(bare, covers=None))


def test_a_machine_with_counters_shows_their_power_and_no_band(bare: Checkup) -> None:
    power = Estimate.exact(23.4, unit="W", source="rapl:package-0")
    live = (Live("rapl:package-0", "package:0", power),)
    text = screen(replace(bare, meters=live, missing=(), measures_cpu=True))
    assert "23.4 W" in text
    assert "modelled" not in text
    assert "Joules are measured here." in text


def test_a_failing_meter_a_poor_cpu_and_a_missing_extra_are_told(bare: Checkup) -> None:
    text = screen(
        replace(
            bare,
            unread=("nvml:0: fell off the bus",),
            abilities=(Ability("8-bit products", ()),),
            extras=(Extra("openvino", ("openvino",), "pip install 'negawatt[openvino]'"),),
            cpu_known=False,
        )
    )
    assert "fell off the bus" in text
    assert "none, done the slow way" in text
    assert "pip install 'negawatt[openvino]'" in text
    assert "a stand-in" in text


def test_large_pages_that_are_switched_off_come_with_the_command(bare: Checkup) -> None:
    def told(given: str) -> str:
        return screen(replace(bare, machine=replace(bare.machine, large_pages=given)))

    assert "sudo sh -c 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled'" in told(
        "never"
    )
    assert "✓ large pages" in told("madvise")
    assert "large pages" not in told("")


def test_a_terminal_without_drawing_signs_gets_plain_ones(bare: Checkup) -> None:
    text = screen(bare, encoding="ascii")
    assert "|--" in text
    assert "x rapl" in text


OUTSIDE = "export NEGAWATT_OUTSIDE_METERS=shelly://HOST"
NAMES = (
    "amdsmi", "jupyter", "keras", "lightning", "mlflow", "nvml", "opentelemetry", "prometheus",
    "tensorboard", "wandb",
)  # fmt: skip


@pytest.fixture
def guest(bare: Checkup) -> Checkup:
    """A virtual machine in a container, where nothing can be read and most extras are absent."""
    extras = [Extra(name, (name,), f"pip install 'negawatt[{name}]'") for name in NAMES]
    return replace(
        bare,
        machine=replace(
            bare.machine,
            cpu=replace(bare.machine.cpu, name="AMD EPYC"),
            virtual=True,
            threads_usable=2,
            threads_present=2,
            limits=replace(bare.machine.limits, cpus=2.0, memory_bytes=25_300_000_000),
        ),
        cpu_entry="epyc-turin",
        cpu_known=True,
        measures_cpu=False,
        covers=0.9,
        missing=(
            Missing(
                "modbus, mqtt, shelly, tasmota",
                "no meter outside this machine is named, and none is contacted",
                f"if a plug meters it: {OUTSIDE}; for others see docs/how-to/outside-meters.md",
            ),
            Missing(
                "nvml",
                "NVIDIA GPUs are read through nvidia-ml-py, which is not installed",
                "if this machine has one: pip install 'negawatt[nvml]'",
            ),
            Missing(
                "rapl",
                "this is a virtual machine, and its hypervisor hides the energy counters",
                "run on the host or on a bare-metal instance; here joules stay modelled",
            ),
        ),
        abilities=(
            Ability("wide vectors", ("avx512f", "avx2")),
            Ability("8-bit products", ("avx512_vnni", "avx_vnni")),
            Ability("bfloat16 products", ("avx512_bf16",)),
            Ability("16-bit conversion", ("f16c",)),
        ),
        versions={
            "python": "3.11.7", "negawatt": "0.1.0", "torch": "2.13.0+cpu",
            "transformers": "5.23.0", "openvino": "2026.4.1", "numpy": "2.4.6",
        },
        extras=(*extras, Extra("trackers", NAMES[1:5], "pip install 'negawatt[trackers]'")),
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_it_is_one_screen(guest: Checkup, encoding: str) -> None:
    rows = screen(guest, encoding).splitlines()
    assert len(rows) <= 40
    assert max(len(row) for row in rows) <= 80
    text = " ".join(" ".join(rows).split())
    assert "amdsmi, jupyter, keras" in text
    assert "trackers" not in text
    assert "here joules stay modelled" in text
    assert rows[-1] == "  To do better: run on the host or on a bare-metal instance"
    assert any(OUTSIDE in row for row in rows)
    assert "2 of 2 threads" in text


def test_only_a_command_is_longer_than_the_screen(guest: Checkup) -> None:
    command = "sudo chmod a+r " + " ".join(f"/sys/class/powercap/intel-rapl:{n}" for n in range(9))
    prose = "why the kernel has done so since a certain version is a long story " * 3
    fix = f"until the next boot: {command}\n  {prose}"
    text = screen(replace(guest, missing=(Missing("rapl", prose, fix),)))
    long_rows = [row for row in text.splitlines() if len(row) > 80]
    assert [row.strip() for row in long_rows] == [command, command]  # as fix, and in short


def test_the_command_prints_the_screen() -> None:
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0
    for title in ("What can be measured", "This machine and its software", "In short"):
        assert title in result.output


def test_as_json_it_is_one_object() -> None:
    found = json.loads(CliRunner().invoke(command, ["--json"]).output)
    assert found["machine"]["threads_usable"] > 0
    assert found["rest"]["kind"] == "modelled"
    assert found["versions"]["python"]


def test_the_help_has_an_example() -> None:
    assert "negawatt doctor" in CliRunner().invoke(command, ["--help"]).output
