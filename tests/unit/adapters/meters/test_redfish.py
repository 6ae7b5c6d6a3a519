from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from loopback import Redfish

from negawatt.adapters.meters import redfish
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]
Switch = Callable[[Any], Any]


def address(device: Redfish, rest: str = "", pair: str = "monitor:s3cret@") -> str:
    return f"redfish+http://{pair}{device.place}{rest}"


@pytest.mark.parametrize(("modern", "limit"), [(False, 1600.0), (True, 12_000.0)])
def test_old_and_new_controllers_tell_the_power_of_the_machine(
    modern: bool, limit: float, name: Name, switched_on: Switch
) -> None:
    device = switched_on(Redfish(modern=modern))
    name(address(device))
    (gauge,) = redfish.discover()
    assert isinstance(gauge, OutsideGauge)
    device.watts = 231.0
    assert (gauge.power().value, gauge.limit.value) == (231.0, limit)
    assert gauge.boundary == "system"


def test_a_new_controller_counts_joules(name: Name, switched_on: Switch) -> None:
    device = switched_on(Redfish(modern=True))
    name(address(device, "?read=energy"))
    (meter,) = redfish.discover()
    assert isinstance(meter, OutsideCounter)
    before = meter.energy()
    device.joules += 1234.0
    assert (meter.energy() - before).value == pytest.approx(1234.0)


def test_an_old_controller_counts_nothing(name: Name, switched_on: Switch) -> None:
    name(address(switched_on(Redfish()), "?read=energy"))
    with pytest.raises(MeterUnavailable, match="energy of no chassis"):
        redfish.discover()


def test_what_lies_in_the_chassis_is_not_counted_again(name: Name, switched_on: Switch) -> None:
    device = switched_on(Redfish())
    device.chassis = ("Self", "GPU_Baseboard")
    name(address(device))
    assert len(redfish.discover()) == 1


def test_several_machines_in_one_controller_need_a_name(name: Name, switched_on: Switch) -> None:
    device = switched_on(Redfish())
    device.chassis, device.apart = ("Self", "Blade2"), True
    name(address(device))
    with pytest.raises(MeterUnavailable, match="Chassis/Self, Chassis/Blade2") as raised:
        redfish.discover()
    assert "/Chassis/Self" in raised.value.fix
    name(address(device, "/Chassis/Blade2"))
    (gauge,) = redfish.discover()
    assert gauge.name == f"redfish:{device.place}/Chassis/Blade2"


def test_a_session_is_opened_renewed_and_closed(name: Name, switched_on: Switch) -> None:
    device = switched_on(Redfish())
    device.sessions_only = True
    name(address(device))
    with pytest.raises(MeterUnavailable, match="wants a user"):
        redfish.discover()
    name(address(device, "?auth=session"))
    meters = redfish.discover()
    assert device.sessions
    device.sessions.clear()  # as a controller does after half an hour
    assert meters[0].power().value == 80.0
    assert len([one for one in device.asked if one.startswith("POST")]) == 2
    del meters[:]
    gc.collect()
    assert not device.sessions


@pytest.mark.parametrize("rest", ["", "?auth=session"])
def test_a_wrong_password_is_told_and_not_repeated(
    rest: str, name: Name, switched_on: Switch
) -> None:
    name(address(switched_on(Redfish()), rest, pair="monitor:guess@"))
    with pytest.raises(MeterUnavailable) as raised:
        redfish.discover()
    assert raised.value.fix
    assert "guess" not in str(raised.value)


def test_an_answer_without_encryption_is_refused(name: Name, switched_on: Switch) -> None:
    device = switched_on(Redfish())
    name(f"redfish://monitor:s3cret@{device.place}")  # HTTPS, and the fake speaks HTTP
    with pytest.raises(MeterUnavailable, match="does not answer"):
        redfish.discover()


def test_a_machine_that_draws_nothing_is_unknown(name: Name, switched_on: Switch) -> None:
    device = switched_on(Redfish())
    name(address(device))
    (gauge,) = redfish.discover()
    device.watts = 0
    with pytest.raises(MeterUnavailable, match="0 W"):
        gauge.power()
