from __future__ import annotations

import gc
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mqtt_broker import Broker

from negawatt.adapters.meters import mqtt
from negawatt.adapters.meters.mqtt import understood
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]
Switch = Callable[[Any], Any]

#: What three makes of plug publish, and the watts and joules in it.
MESSAGES = [
    ("tele/desk/SENSOR", {"Time": "T", "ENERGY": {"Total": 1.5, "Power": 62}}, 62, 5.4e6),
    (
        "shellyplus/status/switch:0",
        {"id": 0, "output": True, "apower": 61.5, "aenergy": {"total": 10.5}},
        61.5,
        37_800.0,
    ),
    ("zigbee2mqtt/desk", {"power": 40, "energy": 0.5, "state": "ON"}, 40, 1.8e6),
    ("shellies/desk/relay/0/power", 41.5, 41.5, None),
    ("shellies/desk/relay/0/energy", 90, None, 5400.0),
]


@pytest.mark.parametrize(("topic", "message", "watts", "joules"), MESSAGES)
def test_each_make_is_understood(
    topic: str, message: object, watts: float | None, joules: float | None
) -> None:
    told = understood(topic, json.dumps(message).encode(), "the plug")
    assert told.power == watts
    assert told.energy == (None if joules is None else pytest.approx(joules))


@pytest.mark.parametrize("payload", [b"", b"on", b"[1]", b"{}", b'{"state": "ON"}', b"null"])
def test_other_messages_are_refused(payload: bytes) -> None:
    with pytest.raises(MeterUnavailable, match="no form that is known"):
        understood("home/desk", payload, "the plug")


def test_a_plug_is_heard_through_its_broker(name: Name, switched_on: Switch) -> None:
    broker = switched_on(Broker(user="reader", password="s3cret"))  # noqa: S106
    broker.publish("zigbee2mqtt/desk", '{"power": 40, "energy": 0.5}')
    name(f"mqtt://reader:s3cret@{broker.place}/zigbee2mqtt/desk")
    meters = mqtt.discover()
    assert isinstance(meters[0], OutsideGauge)
    assert meters[0].power().value == 40.0
    assert (meters[0].name, meters[0].boundary) == (f"mqtt:{broker.place}/zigbee2mqtt/desk", "wall")
    name(f"mqtt://reader:s3cret@{broker.place}/zigbee2mqtt/desk?read=energy")
    (counter,) = mqtt.discover()
    assert isinstance(counter, OutsideCounter)
    assert counter.energy().value == pytest.approx(1.8e6)
    assert counter.resolution_j == pytest.approx(3600.0 + 30 * 40)  # and as late as it may be


def test_the_thread_ends_with_the_meter(name: Name, switched_on: Switch) -> None:
    broker = switched_on(Broker())
    broker.publish("zigbee2mqtt/desk", '{"power": 40}')
    name(f"mqtt://{broker.place}/zigbee2mqtt/desk")
    meters = mqtt.discover()
    running = [thread.name for thread in threading.enumerate() if "paho" in thread.name]
    assert running
    meters.clear()
    gc.collect()
    assert not [thread.name for thread in threading.enumerate() if "paho" in thread.name]


def test_a_wrong_password_is_told(name: Name, switched_on: Switch) -> None:
    broker = switched_on(Broker(user="reader", password="s3cret"))  # noqa: S106
    name(f"mqtt://reader:guess@{broker.place}/zigbee2mqtt/desk")
    with pytest.raises(MeterUnavailable, match="refuses: Not authorized"):
        mqtt.discover()


def test_a_plug_that_says_nothing_is_unknown(name: Name, switched_on: Switch) -> None:
    broker = switched_on(Broker())
    name(f"mqtt://{broker.place}/tele/desk/SENSOR?max_age=0.1")
    with pytest.raises(MeterUnavailable, match=r"nothing for 0\.1 s") as raised:
        mqtt.discover()
    assert "TelePeriod" in raised.value.fix


def test_a_broker_that_is_not_there_is_told(name: Name) -> None:
    broker = Broker()
    broker.close()
    name(f"mqtt://{broker.place}/tele/desk/SENSOR")
    with pytest.raises(MeterUnavailable, match="does not answer"):
        mqtt.discover()
    name(f"mqtt://{broker.place}")
    with pytest.raises(MeterUnavailable, match="names no topic"):
        mqtt.discover()


def test_a_missing_package_names_the_extra(name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    name("mqtt://127.0.0.1/tele/desk/SENSOR")
    with pytest.raises(MeterUnavailable) as raised:
        mqtt.discover()
    assert "pip install 'negawatt[mqtt]'" in raised.value.fix
