from __future__ import annotations

from pathlib import Path

import pytest
from meter_rigs import laptop

from negawatt.adapters.meters.battery import BatteryCounter, BatteryGauge, discover
from negawatt.core.errors import MeterUnavailable


def test_power_is_told_in_microwatts(tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"power_now": 12_500_000, "energy_now": 40_000_000})
    (gauge,) = discover(battery.parent)
    assert isinstance(gauge, BatteryGauge)
    assert gauge.power().value == pytest.approx(12.5)
    assert (gauge.name, gauge.boundary) == ("battery:BAT0", "system")


def test_some_drivers_sign_what_flows_out(tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"current_now": -1_250_000, "voltage_now": 11_400_000})
    (gauge,) = discover(battery.parent)
    assert isinstance(gauge, BatteryGauge)
    assert gauge.power().value == pytest.approx(14.25)


def test_two_batteries_take_turns_and_make_one_sum(tmp_path: Path) -> None:
    first = laptop(tmp_path, files={"power_now": 7_000_000})
    second = laptop(tmp_path, name="BAT1", files={"power_now": 0, "status": "Not charging"})
    (gauge,) = discover(first.parent)
    assert isinstance(gauge, BatteryGauge)
    assert gauge.name == "battery:BAT0+BAT1"
    assert gauge.power().value == pytest.approx(7.0)
    (first / "status").write_text("Not charging\n")
    (second / "status").write_text("Discharging\n")
    (second / "power_now").write_text("6500000\n")
    assert gauge.power().value == pytest.approx(6.5)


def test_what_is_left_tells_what_was_drawn(tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"energy_now": 40_000_000})
    (meter,) = discover(battery.parent)
    assert isinstance(meter, BatteryCounter)
    before = meter.energy()
    (battery / "energy_now").write_text("39000000\n")
    assert (meter.energy() - before).value == pytest.approx(3600.0)  # one watt-hour
    assert meter.resolution_j == 36.0


def test_a_charge_is_worth_its_voltage(tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"charge_now": 4_000_000, "voltage_now": 12_000_000})
    (meter,) = discover(battery.parent)
    assert isinstance(meter, BatteryCounter)
    before = meter.energy()
    (battery / "charge_now").write_text("3000000\n")
    (battery / "voltage_now").write_text("11000000\n")
    assert (meter.energy() - before).value == pytest.approx(3600.0 * 11.5)  # 1 Ah
    (battery / "voltage_now").write_text("11500000\n")  # the load fell, and the voltage rose
    assert (meter.energy() - before).value == pytest.approx(3600.0 * 11.5)


def test_a_charge_between_two_reads_is_seen(tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"energy_now": 40_000_000})
    (meter,) = discover(battery.parent)
    (battery / "energy_now").write_text("41000000\n")
    with pytest.raises(MeterUnavailable, match="charged in between"):
        meter.energy()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("BAT0/status", "Charging"),
        ("BAT0/status", "Full"),
        ("AC/online", "1"),  # a weak charger feeds too while the battery discharges
        ("BAT0/power_now", "?"),
        ("BAT0/power_now", "0"),  # a running laptop draws something
    ],
)
def test_what_is_not_known_is_never_zero(file: str, text: str, tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"power_now": 12_500_000})
    (battery.parent / file).write_text(f"{text}\n")
    with pytest.raises(MeterUnavailable) as raised:
        discover(battery.parent)
    assert raised.value.fix


def test_a_charger_plugged_in_meanwhile_is_seen(tmp_path: Path) -> None:
    battery = laptop(tmp_path, files={"power_now": 12_500_000})
    (gauge,) = discover(battery.parent)
    (battery.parent / "AC" / "online").write_text("1\n")
    with pytest.raises(MeterUnavailable, match="AC feeds it"):
        gauge.power()  # type: ignore[union-attr]


def test_the_battery_of_a_mouse_is_not_the_machines(tmp_path: Path) -> None:
    battery = laptop(tmp_path, name="hid-mouse", files={"scope": "Device", "power_now": 1})
    assert discover(battery.parent) == []
    assert discover(tmp_path / "nothing-here") == []
