"""Shelly and Tasmota plugs, asked over HTTP on this machine's own address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from loopback import Device, FirstShelly, LaterShelly, Tasmota

from negawatt.adapters.meters import shelly, tasmota
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]
Switch = Callable[[Any], Any]


def test_power_is_told_in_watts(name: Name, switched_on: Switch) -> None:
    for kind, adapter in ((FirstShelly, shelly), (LaterShelly, shelly), (Tasmota, tasmota)):
        device = switched_on(kind())
        scheme = adapter.__name__.rpartition(".")[2]
        name(f"{scheme}://{device.place}")
        (gauge,) = adapter.discover()
        assert isinstance(gauge, OutsideGauge)
        device.watts = 61.5
        assert gauge.power().value == 61.5
        assert gauge.poll_every_s == 1.0
        assert (gauge.name, gauge.boundary) == (f"{scheme}:{device.place}", "wall")


@pytest.mark.parametrize(
    ("kind", "scheme", "joules", "step_j"),
    [
        (FirstShelly, "shelly", 120.0, 60.0),  # whole watt-minutes
        (LaterShelly, "shelly", 7.2, 3.6),  # thousandths of a watt-hour
        (Tasmota, "tasmota", 7200.0, 3600.0),  # of a kilowatt-hour
    ],
)
def test_a_count_says_how_coarse_it_is(
    kind: type[Device], scheme: str, joules: float, step_j: float,
    name: Name, switched_on: Switch,
) -> None:  # fmt: skip
    device = switched_on(kind())
    name(f"{scheme}://{device.place}?read=energy")
    (meter,) = {"shelly": shelly, "tasmota": tasmota}[scheme].discover()
    assert isinstance(meter, OutsideCounter)
    before = meter.energy()
    device.joules += joules
    assert (meter.energy() - before).value == pytest.approx(joules)
    assert meter.resolution_j >= step_j
    assert meter.resolution_j >= step_j + 80.0  # and how late: some seconds at this power


@pytest.mark.parametrize("kind", [FirstShelly, LaterShelly])
def test_a_shelly_is_asked_with_its_password(
    kind: type[Device], name: Name, switched_on: Switch
) -> None:
    device = switched_on(kind(user="admin", password="s3cret"))  # noqa: S106
    name(f"shelly://admin:s3cret@{device.place}")
    (gauge,) = shelly.discover()
    assert gauge.power().value == 80.0
    for wrong in (f"shelly://{device.place}", f"shelly://admin:guess@{device.place}"):
        name(wrong)
        with pytest.raises(MeterUnavailable, match="wants a user") as raised:
            shelly.discover()
        assert "guess" not in str(raised.value)


def test_a_tasmota_is_asked_with_its_password(name: Name, switched_on: Switch) -> None:
    device = switched_on(Tasmota(user="admin", password="s3 cret"))  # noqa: S106
    name(f"tasmota://admin:s3%20cret@{device.place}")
    (gauge,) = tasmota.discover()
    assert gauge.power().value == 80.0
    name(f"tasmota://{device.place}")
    with pytest.raises(MeterUnavailable, match="wants a user"):
        tasmota.discover()


def test_a_plug_that_meters_nothing_is_no_meter(name: Name, switched_on: Switch) -> None:
    device = switched_on(Tasmota())
    device.meters = False
    name(f"tasmota://{device.place}")
    with pytest.raises(MeterUnavailable, match="meters no energy"):
        tasmota.discover()


@pytest.mark.parametrize("channel", ["3", "left"])
def test_a_channel_that_is_not_there_is_unknown(
    channel: str, name: Name, switched_on: Switch
) -> None:
    device = switched_on(FirstShelly())
    name(f"shelly://{device.place}/{channel}")
    with pytest.raises(MeterUnavailable, match="channel"):
        shelly.discover()


def test_a_reading_the_plug_itself_doubts_is_unknown(name: Name, switched_on: Switch) -> None:
    device = switched_on(FirstShelly())
    name(f"shelly://{device.place}")
    (gauge,) = shelly.discover()
    device.valid = False
    with pytest.raises(MeterUnavailable, match="not valid"):
        gauge.power()


@pytest.mark.parametrize("watts", [0, -4.2, None, "much"])
def test_what_cannot_be_true_is_unknown(watts: object, name: Name, switched_on: Switch) -> None:
    device = switched_on(LaterShelly())
    name(f"shelly://{device.place}")
    (gauge,) = shelly.discover()
    device.watts = watts
    with pytest.raises(MeterUnavailable) as raised:
        gauge.power()
    assert raised.value.fix


def test_a_count_that_was_reset_makes_the_window_unknown(name: Name, switched_on: Switch) -> None:
    device = switched_on(Tasmota())
    name(f"tasmota://{device.place}?read=energy")
    (meter,) = tasmota.discover()
    device.joules = 0.0
    with pytest.raises(MeterUnavailable, match="reset"):
        meter.energy()


def test_the_phases_of_a_larger_meter_add() -> None:
    told = tasmota.sample({"Power": [100, 50, 7.5], "Total": [1.0, 0.5, 0.25]}, "the meter")
    assert (told.power, told.energy) == (157.5, pytest.approx(1.75 * 3.6e6))


def test_a_plug_that_is_switched_off_is_unavailable(name: Name, switched_on: Switch) -> None:
    device = FirstShelly()
    name(f"shelly://{device.place}")
    (gauge,) = shelly.discover()
    device.close()
    with pytest.raises(MeterUnavailable, match="does not answer"):
        gauge.power()


@pytest.mark.parametrize("content", [None, [], 7, "hello", {"StatusSNS": []}, {"meters": 3}])
@pytest.mark.parametrize(
    ("kind", "scheme"), [(FirstShelly, "shelly"), (LaterShelly, "shelly"), (Tasmota, "tasmota")]
)
def test_an_answer_of_another_form_is_unavailable_and_nothing_else(
    kind: type[Device],
    scheme: str,
    content: Any,
    name: Name,
    switched_on: Switch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = switched_on(kind())
    name(f"{scheme}://{device.place}")
    (gauge,) = {"shelly": shelly, "tasmota": tasmota}[scheme].discover()
    monkeypatch.setattr(device, "answer", lambda *asked: (200, {}, content))
    with pytest.raises(MeterUnavailable):
        gauge.power()
