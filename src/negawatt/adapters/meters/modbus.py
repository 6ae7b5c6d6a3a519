"""Meters in a switchboard, over Modbus TCP (package `pymodbus`).

    modbus://HOST:502/UNIT/REGISTER?type=float32&unit=W

A register map is in the meter's manual: the unit on the bus, the first register as it goes over
the wire (counted from 0), its type (`int16` to `uint64`, `float32`, `float64`), what one step of
it is worth (`unit=W`, `kW`, `Wh`, `kWh` or `J`, times `scale=0.1`), where it is (`table=input` or
`holding`) and which word comes first (`order=big` or `little`).
"""

from __future__ import annotations

import importlib
import threading
import weakref
from typing import Any

from negawatt.adapters.meters.address import Address, addresses
from negawatt.adapters.meters.checked import number
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge, Sample
from negawatt.core.errors import MeterUnavailable

_PATIENCE_S = 3.0
_WATTS = {"W": 1.0, "kW": 1e3}
_JOULES = {"J": 1.0, "Wh": 3600.0, "kWh": 3.6e6}
_TYPES = ("float32", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float64")
_FLOAT_STEP = 0.01  # of the unit: what meters that count in floating point resolve

#: The module `pymodbus.client`, imported when a meter is named.
Modbus = Any


class _Register:
    """One value in one meter, and a connection to it that is opened when it is needed."""

    def __init__(self, library: Modbus, address: Address) -> None:
        unit, register = _numbers(address)
        self._address, self._unit, self._register = address, unit, register
        self._order = address.choice("order", "big", "little")
        self._kind = address.choice("type", *_TYPES)
        self._client = library.ModbusTcpClient(
            address.host, port=address.port or 502, timeout=_PATIENCE_S, retries=1
        )
        weakref.finalize(self, self._client.close)
        self._type = self._client.DATATYPE[self._kind.upper()]
        table = address.choice("table", "input", "holding")
        self._read = getattr(self._client, f"read_{table}_registers")
        self._lock = threading.Lock()

    @property
    def whole(self) -> bool:
        """True when the value has no places after the point."""
        return "int" in self._kind

    def value(self) -> float:
        """The value as the meter keeps it.

        Raises:
            MeterUnavailable: no answer, or one that refuses.
        """
        failure: object
        with self._lock:
            try:
                answer = self._read(self._register, count=self._type.value[1], device_id=self._unit)
                failure = answer if answer.isError() else None
            except Exception as error:  # noqa: BLE001  # pymodbus raises its own, and OSError
                self._client.close()
                failure = error
        if failure is not None:
            raise MeterUnavailable(
                f"{self._address.name} does not tell register {self._register}: {failure}",
                fix="see that host, unit and register are those of the manual; many manuals count "
                "registers from 1 or from 30001, where this counts from 0",
            )
        found = self._client.convert_from_registers(
            answer.registers, self._type, word_order=self._order
        )
        return number(found, self._address.name)


def _numbers(address: Address) -> tuple[int, int]:
    """Unit and register."""
    parts = address.path.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise MeterUnavailable(
            f"{address.name} names no unit and register",
            fix="name it as modbus://HOST/UNIT/REGISTER?type=float32&unit=W",
        )
    return int(parts[0]), int(parts[1])


def _library() -> Modbus:
    try:
        return importlib.import_module("pymodbus.client")
    except ImportError as error:
        raise MeterUnavailable(
            "meters on Modbus are read through pymodbus, which is not installed",
            fix="pip install 'negawatt[modbus]'",
        ) from error


def _meter(library: Modbus, address: Address) -> OutsideGauge | OutsideCounter:
    register = _Register(library, address)
    unit = address.choice("unit", *_WATTS, *_JOULES)
    scale = number(address.options.get("scale", "1"), f"{address.name}, scale")
    worth = scale * (_WATTS | _JOULES)[unit]
    name, boundary = address.name, address.boundary
    if unit in _WATTS:
        gauge = OutsideGauge(name, boundary, lambda: Sample(power=register.value() * worth))
        gauge.power()
        return gauge
    step_j = worth if register.whole else _FLOAT_STEP * worth
    counter = OutsideCounter(
        name, boundary, lambda: Sample(energy=register.value() * worth), step_j=step_j
    )
    counter.energy()
    return counter


def discover() -> list[OutsideGauge | OutsideCounter]:
    """The Modbus meters that are named in the settings.

    Raises:
        MeterUnavailable: no outside meter is named, pymodbus is not installed, or a meter cannot
            be read.
    """
    named = addresses("modbus")
    if not named:
        return []
    library = _library()
    return [_meter(library, address) for address in named]
