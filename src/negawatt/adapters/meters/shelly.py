"""Shelly plugs and relays over HTTP: `shelly://HOST/CHANNEL`.

The first generation counts watt-minutes at `/status`; from the second on watt-hours, with three
places, at `/rpc/Switch.GetStatus` (`?component=pm1` for the models without a switch).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from negawatt.adapters.meters.address import Address, addresses
from negawatt.adapters.meters.checked import number
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge, Sample, meter_at
from negawatt.adapters.meters.web import Web
from negawatt.core.errors import MeterUnavailable

_J_PER_WATT_MINUTE = 60.0
_J_PER_WH = 3600.0
_LAG_S = 60.0  # its count may be carried forward once a minute only


def _wrong(address: Address, what: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"{address.name} {what}",
        fix="name a channel that meters, counted from 0: shelly://HOST/0",
    )


def _first(web: Web, channel: int) -> Sample:
    """The first generation: meters of relays, or of clamps, which count watt-hours."""
    status = web.get("/status")
    for key, unit in (("meters", _J_PER_WATT_MINUTE), ("emeters", _J_PER_WH)):
        listed = status.get(key) or []
        if channel < len(listed):
            meter = listed[channel]
            if meter.get("is_valid") is False:
                raise _wrong(web.address, "says itself that its reading is not valid")
            total = meter.get("total")
            energy = None if total is None else number(total, web.address.name) * unit
            return Sample(meter.get("power"), energy)
    raise _wrong(web.address, f"has no meter on channel {channel}")


def _later(web: Web, channel: int, component: str) -> Sample:
    """The second generation and those after it."""
    status = web.get(f"/rpc/{component}.GetStatus?id={channel}")
    total = (status.get("aenergy") or {}).get("total")
    energy = None if total is None else number(total, web.address.name) * _J_PER_WH
    return Sample(status.get("apower"), energy)


def _meter(address: Address) -> OutsideGauge | OutsideCounter:
    web = Web(address)
    channel = address.path or "0"
    if not channel.isdecimal():
        raise _wrong(address, f"has no channel {channel!r}")
    about: Mapping[str, Any] = web.get("/shelly")
    if "gen" not in about:
        return meter_at(
            address, lambda: _first(web, int(channel)), step_j=_J_PER_WATT_MINUTE, lag_s=_LAG_S
        )
    component = {"switch": "Switch", "pm1": "PM1"}[address.choice("component", "switch", "pm1")]
    step_j = 0.001 * _J_PER_WH
    return meter_at(
        address, lambda: _later(web, int(channel), component), step_j=step_j, lag_s=_LAG_S
    )


def discover() -> list[OutsideGauge | OutsideCounter]:
    """The Shelly meters that are named in the settings.

    Raises:
        MeterUnavailable: no outside meter is named, or one of these cannot be read.
    """
    return [_meter(address) for address in addresses("shelly")]
