"""Meters that publish to an MQTT broker (package `paho-mqtt`): `mqtt://BROKER/TOPIC`.

Understood are `tele/NAME/SENSOR` of Tasmota, `NAME/status/switch:0` and `shellies/NAME/relay/0/power`
of Shelly, and any other object with `power` in watts and `energy` in kilowatt-hours (Zigbee2MQTT).
A message is believed for `max_age` seconds, half a minute unless the address says otherwise.
"""

from __future__ import annotations

import importlib
import json
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from negawatt.adapters.meters.address import Address, addresses
from negawatt.adapters.meters.checked import number
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge, Sample, meter_at
from negawatt.adapters.meters.tasmota import sample as tasmota_sample
from negawatt.core.clock import Clock, SystemClock
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import J_PER_KWH

_MAX_AGE_S = 30.0
_PATIENCE_S = 15.0  # for the first message: a plug speaks every ten seconds, if told to
_STEP_J = 0.001 * J_PER_KWH

#: The module `paho.mqtt.client`, imported when a meter is named.
Paho = Any


def understood(topic: str, payload: bytes, who: str) -> Sample:
    """What a message says.

    Raises:
        MeterUnavailable: it is neither a number nor an object that is known.

    >>> understood("shellies/plug/relay/0/power", b"41.5", "the plug")
    Sample(power=41.5, energy=None)
    >>> understood("zigbee2mqtt/plug", b'{"power": 40, "energy": 0.5}', "the plug")
    Sample(power=40, energy=1800000.0)
    """
    try:
        told = json.loads(payload)
    except ValueError as error:
        raise _strange(topic, who) from error
    if not isinstance(told, Mapping):
        return _bare(topic, told, who)
    if "ENERGY" in told:
        return tasmota_sample(told["ENERGY"], who)
    if "aenergy" in told or "apower" in told:
        total = (told.get("aenergy") or {}).get("total")
        return Sample(told.get("apower"), None if total is None else number(total, who) * 3600.0)
    if "power" in told or "energy" in told:
        total = told.get("energy")
        energy = None if total is None else number(total, who) * J_PER_KWH
        return Sample(told.get("power"), energy)
    raise _strange(topic, who)


def _bare(topic: str, told: object, who: str) -> Sample:
    """A message that is a number: what it counts is in the topic."""
    if topic.endswith("/power"):
        return Sample(power=told)
    if topic.startswith("shellies/") and topic.endswith("/energy"):
        return Sample(energy=number(told, who) * 60.0)  # watt-minutes
    raise _strange(topic, who)


def _strange(topic: str, who: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"{who}: the messages on {topic} are of no form that is known here",
        fix="name the topic of a meter, such as tele/NAME/SENSOR or NAME/status/switch:0",
    )


class _Listener:
    """The last message on one topic. A thread of paho's own waits for it."""

    def __init__(self, paho: Paho, address: Address, clock: Clock) -> None:
        self._address, self._clock = address, clock
        self.max_age_s = number(
            address.options.get("max_age", str(_MAX_AGE_S)), f"{address.name}, max_age"
        )
        self._changed = threading.Condition()
        self._last: tuple[float, str, bytes] | None = None
        self._refused = ""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if address.user:
            client.username_pw_set(address.user, address.password)
        if address.transport == "tls":
            client.tls_set()
        client.on_connect, client.on_message = _weakly(self._welcomed), _weakly(self._heard)
        try:
            client.connect(address.host, address.port or (8883 if address.transport else 1883))
        except OSError as error:
            raise MeterUnavailable(
                f"the broker {address.host} does not answer ({error})",
                fix="see that it runs, and that its address, user and password are right",
            ) from error
        client.loop_start()
        self._ended = weakref.finalize(self, _end, client)

    def _welcomed(self, client: Any, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        with self._changed:
            self._refused = str(reason) if reason.is_failure else ""
            self._changed.notify_all()
        if not reason.is_failure:
            client.subscribe(self._address.path)

    def _heard(self, _client: Any, _data: Any, message: Any) -> None:
        with self._changed:
            self._last = (self._clock.monotonic(), message.topic, message.payload)
            self._changed.notify_all()

    def close(self) -> None:
        """Leave the broker."""
        self._ended()

    def ask(self, *, wait_s: float = 0.0) -> Sample:
        """What the last message said, if it is young enough.

        Raises:
            MeterUnavailable: there is none, it is too old, or it is not understood.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._last or self._refused, wait_s)
            last, refused = self._last, self._refused
        if last is None and refused:
            raise MeterUnavailable(
                f"the broker {self._address.host} refuses: {refused}",
                fix="name it with the user and the password that it knows: mqtt://USER:PASSWORD@…",
            )
        if last is None or self._clock.monotonic() - last[0] > self.max_age_s:
            raise MeterUnavailable(
                f"{self._address.name} has published nothing for {self.max_age_s:g} s",
                fix="let it publish more often (Tasmota: TelePeriod 10), or give max_age=SECONDS",
            )
        return understood(last[1], last[2], self._address.name)


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """The method for as long as its object lives, without keeping it alive."""
    held = weakref.WeakMethod(method)

    def call(*told: Any) -> None:
        alive = held()
        if alive is not None:
            alive(*told)

    return call


def _end(client: Any) -> None:
    client.disconnect()
    client.loop_stop()


def _library() -> Paho:
    try:
        return importlib.import_module("paho.mqtt.client")
    except ImportError as error:
        raise MeterUnavailable(
            "meters on MQTT are read through paho-mqtt, which is not installed",
            fix="pip install 'negawatt[mqtt]'",
        ) from error


def _meter(paho: Paho, address: Address, clock: Clock) -> OutsideGauge | OutsideCounter:
    if not address.path:
        raise MeterUnavailable(
            f"{address.name} names no topic", fix="name it as mqtt://BROKER/tele/NAME/SENSOR"
        )
    listener = _Listener(paho, address, clock)
    try:
        listener.ask(wait_s=min(_PATIENCE_S, listener.max_age_s))
        return meter_at(address, listener.ask, step_j=_STEP_J, lag_s=listener.max_age_s)
    except MeterUnavailable:
        listener.close()
        raise


def discover(clock: Clock | None = None) -> list[OutsideGauge | OutsideCounter]:
    """The meters on a broker that are named in the settings.

    Raises:
        MeterUnavailable: no outside meter is named, paho-mqtt is not installed, or no broker or
            meter answers.
    """
    named = addresses("mqtt")
    if not named:
        return []
    paho, clock = _library(), clock or SystemClock()
    return [_meter(paho, address, clock) for address in named]
