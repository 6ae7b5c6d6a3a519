"""The meter that the how-to builds works, and keeps its own rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from negawatt.core.errors import MeterUnavailable
from negawatt.meters.integrate import PowerGauge
from negawatt.meters.inventory import as_meters

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-power-meter.md"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "battery"}
    exec(compile(code, str(PAGE), "exec"), namespace)  # noqa: S102  # the page is ours
    return namespace


@pytest.fixture
def battery(tmp_path: Path) -> Path:
    folder = tmp_path / "BAT0"
    folder.mkdir()
    (folder / "status").write_text("Discharging\n")
    (folder / "power_now").write_text("12500000\n")
    return folder


def test_it_finds_a_battery_and_reads_it(example: dict[str, Any], battery: Path) -> None:
    (gauge,) = example["discover"](battery.parent)
    assert isinstance(gauge, PowerGauge)
    assert gauge.power().value == pytest.approx(12.5)
    (meter,) = as_meters([gauge])
    assert (meter.name, meter.boundary) == ("battery:BAT0", "system")


@pytest.mark.parametrize(("name", "text"), [("status", "Charging\n"), ("power_now", "?\n")])
def test_unknown_is_never_zero(
    example: dict[str, Any], battery: Path, name: str, text: str
) -> None:
    (battery / name).write_text(text)
    with pytest.raises(MeterUnavailable):
        example["discover"](battery.parent)


def test_no_battery_is_told(example: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="no battery"):
        example["discover"](tmp_path)
