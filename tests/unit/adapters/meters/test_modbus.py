from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from modbus_meter import COUNT, ENERGY, POWER, ModbusMeter

from negawatt.adapters.meters import modbus
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]
Switch = Callable[[Any], Any]


def test_a_register_of_watts_is_a_gauge(name: Name, switched_on: Switch) -> None:
    meter = switched_on(ModbusMeter())
    name(f"modbus://{meter.place}/1/{POWER}?unit=W")
    (gauge,) = modbus.discover()
    assert isinstance(gauge, OutsideGauge)
    meter.watts = 231.5
    assert gauge.power().value == 231.5
    assert (gauge.name, gauge.boundary) == (f"modbus:{meter.place}/1/{POWER}", "wall")


@pytest.mark.parametrize(
    ("register", "step_j"),
    [
        (f"{ENERGY}?unit=kWh&table=input", 36_000.0),
        (f"{COUNT}?unit=Wh&scale=0.01&type=uint32&table=holding", 36.0),
    ],
)
def test_a_register_of_energy_is_a_counter_with_its_step(
    register: str, step_j: float, name: Name, switched_on: Switch
) -> None:
    meter = switched_on(ModbusMeter())
    name(f"modbus://{meter.place}/1/{register}")
    (counter,) = modbus.discover()
    assert isinstance(counter, OutsideCounter)
    before = counter.energy()
    meter.joules += 7200.0
    assert (counter.energy() - before).value == pytest.approx(7200.0, abs=1.0)
    assert counter.resolution_j == pytest.approx(step_j)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (f"1/{POWER}?unit=W&type=roman", "type=roman"),
        (f"1/{POWER}?unit=horses", "unit=horses"),
        (f"{POWER}", "no unit and register"),
        ("1/9000?unit=W", "does not tell register 9000"),
        (f"7/{POWER}?unit=W", "does not tell register"),
    ],
)
def test_a_map_that_does_not_fit_is_told(
    rest: str, said: str, name: Name, switched_on: Switch
) -> None:
    meter = switched_on(ModbusMeter())
    name(f"modbus://{meter.place}/{rest}")
    with pytest.raises(MeterUnavailable, match=said) as raised:
        modbus.discover()
    assert raised.value.fix


def test_negative_power_is_refused(name: Name, switched_on: Switch) -> None:
    meter = switched_on(ModbusMeter())
    meter.watts = -80.0
    name(f"modbus://{meter.place}/1/{POWER}?unit=W")
    with pytest.raises(MeterUnavailable, match="less than nothing"):
        modbus.discover()


def test_a_meter_that_comes_back_is_read_again(name: Name, switched_on: Switch) -> None:
    meter = switched_on(ModbusMeter())
    name(f"modbus://{meter.place}/1/{POWER}?unit=W")
    (gauge,) = modbus.discover()
    meter.broken = True
    with pytest.raises(MeterUnavailable):
        gauge.power()
    meter.broken = False
    assert gauge.power().value == 80.0


def test_a_missing_package_names_the_extra(name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymodbus.client", None)
    name("modbus://127.0.0.1/1/12")
    with pytest.raises(MeterUnavailable) as raised:
        modbus.discover()
    assert "pip install 'negawatt[modbus]'" in raised.value.fix
    name("shelly://desk")
    assert modbus.discover() == []  # and nobody who names no such meter needs it
