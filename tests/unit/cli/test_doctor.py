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
    for line in FIX.splitlines():  # unbroken, so that it can be pasted
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


def test_a_terminal_without_drawing_signs_gets_plain_ones(bare: Checkup) -> None:
    text = screen(bare, encoding="ascii")
    assert "|--" in text
    assert "x rapl" in text


def test_it_is_one_screen(bare: Checkup) -> None:
    names = ("amdsmi", "jupyter", "keras", "lightning", "mlflow", "nvml", "prometheus", "wandb")
    extras = [Extra(name, (name,), f"pip install 'negawatt[{name}]'") for name in names]
    all_of_them = Extra("trackers", names[1:5], "pip install 'negawatt[trackers]'")
    missing = (
        Missing(
            "modbus, mqtt, shelly, tasmota",
            "no meter is named, and none is contacted " * 2,
            "name one",
        ),
        Missing("rapl", "this is a virtual machine, and its hypervisor hides its counters", "move"),
        Missing("nvml", "the library of NVIDIA's boards is not installed", "install it"),
    )
    text = screen(replace(bare, extras=(*extras, all_of_them), missing=missing))
    assert len(text.splitlines()) <= 40
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "jupyter, keras" in text
    assert "trackers" not in text
    assert "To do better: move" in text


def test_the_command_prints_the_screen() -> None:
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0
    for title in ("What can be measured", "This machine", "Software", "In short"):
        assert title in result.output


def test_as_json_it_is_one_object() -> None:
    found = json.loads(CliRunner().invoke(command, ["--json"]).output)
    assert found["machine"]["threads_usable"] > 0
    assert found["rest"]["kind"] == "modelled"
    assert found["versions"]["python"]


def test_the_help_has_an_example() -> None:
    assert "negawatt doctor" in CliRunner().invoke(command, ["--help"]).output
