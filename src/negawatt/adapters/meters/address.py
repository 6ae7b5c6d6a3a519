"""Addresses of meters outside the machine, which nothing contacts unless they are named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from negawatt.core import registry
from negawatt.core.errors import MeterUnavailable

#: Holds one address or several, with spaces between.
VARIABLE = "NEGAWATT_OUTSIDE_METERS"

#: Adapters that look at a plug; several plugs feed one machine side by side.
PLUGS = frozenset({"modbus", "mqtt", "shelly", "tasmota"})

PAGE = "docs/how-to/outside-meters.md"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a meter is and how to ask it.

    Args:
        adapter: `shelly`, `redfish`: what stands before `://`, up to a plus sign.
        transport: What stands after the plus sign: `http` in `redfish+http`.
        host: Name or number; empty where the meter is in this machine.
        port: None for the usual one.
        path: What follows the host, without slashes at its ends.
        user: Empty when none is needed.
        password: Never part of a message or a name.
        options: What follows the question mark.
        boundary: What the meter includes.
    """

    adapter: str
    transport: str
    host: str
    port: int | None
    path: str
    user: str
    password: str
    options: Mapping[str, str]
    boundary: str

    @property
    def name(self) -> str:
        """Adapter, host and path: the name of the meter."""
        host = self.host if self.port is None else f"{self.host}:{self.port}"
        return f"{self.adapter}:{'/'.join(part for part in (host, self.path) if part)}"

    def choice(self, option: str, *among: str) -> str:
        """The value of an option that knows a few; the first when it is not given.

        Raises:
            MeterUnavailable: it is given another one.
        """
        given = self.options.get(option, among[0])
        if given not in among:
            raise MeterUnavailable(
                f"{self.name} is given {option}={given}", fix=f"give {option}={' or '.join(among)}"
            )
        return given


def _broken(text: str, why: str) -> MeterUnavailable:
    shown = text.rpartition("@")[2]  # never the password
    known = ", ".join(f"{name}://" for name in sorted(PLUGS | {"ipmi", "redfish", "apple"}))
    return MeterUnavailable(
        f"{VARIABLE} names {shown!r}, which is no address of a meter: {why}",
        fix=f"begin it with one of {known}; {PAGE} has an example of each",
    )


def _parse(text: str) -> Address:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _broken(text, str(error)) from error
    adapter, _, transport = parts.scheme.partition("+")
    if adapter not in registry.names(registry.METERS):
        raise _broken(text, "no adapter is called that")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Address(
        adapter=adapter,
        transport=transport,
        host=parts.hostname or "",
        port=port,
        path=unquote(parts.path).strip("/"),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        options=options,
        boundary=options.get("boundary", "wall" if adapter in PLUGS else "system"),
    )


def addresses(adapter: str) -> list[Address]:
    """The addresses that are for one adapter; none when all are for others.

    Plugs without a boundary of their own are feeds of one machine, and add: `wall:1`, `wall:2`.

    Raises:
        MeterUnavailable: one cannot be read, or none is named at all and a plug could be.
    """
    given = os.environ.get(VARIABLE, "").split()
    if not given and adapter in PLUGS:
        raise MeterUnavailable(
            "no meter outside this machine is named, and none is contacted",
            fix=f"if a plug meters it: export {VARIABLE}=shelly://HOST; for others see {PAGE}",
        )
    found = [_parse(text) for text in given]
    walls = [address for address in found if address.boundary == "wall"]
    if len(walls) > 1:
        feeds = {id(wall): f"wall:{number}" for number, wall in enumerate(walls, 1)}
        found = [replace(one, boundary=feeds.get(id(one), one.boundary)) for one in found]
    for address in found:
        if address.adapter == adapter and adapter in PLUGS | {"redfish"} and not address.host:
            raise _broken(f"{adapter}://", "it names no host")
    return [address for address in found if address.adapter == adapter]
