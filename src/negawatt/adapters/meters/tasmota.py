"""Plugs that run Tasmota, over HTTP: `tasmota://HOST`.

`Status 8` tells the power, and the energy in kilowatt-hours with three places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from negawatt.adapters.meters.address import Address, addresses
from negawatt.adapters.meters.checked import number
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge, Sample, meter_at
from negawatt.adapters.meters.web import Web
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import J_PER_KWH

_STEP_J = 0.001 * J_PER_KWH
_LAG_S = 10.0  # between two updates of its count, at most


def sample(energy: Mapping[str, Any], who: str) -> Sample:
    """What an `ENERGY` object says; the phases of a larger meter are added.

    >>> sample({"Power": [40, 2], "Total": 1.5}, "the plug")
    Sample(power=42.0, energy=5400000.0)
    """
    power, total = energy.get("Power"), energy.get("Total")
    if isinstance(power, list):
        power = sum(number(phase, who) for phase in power)
    if isinstance(total, list):
        total = sum(number(phase, who) for phase in total)
    return Sample(power, None if total is None else number(total, who) * J_PER_KWH)


def _ask(web: Web) -> Sample:
    address = web.address
    proof = f"user={quote(address.user)}&password={quote(address.password)}&" * bool(address.user)
    answer = web.get(f"/cm?{proof}cmnd=Status%208")
    if "WARNING" in answer:
        raise MeterUnavailable(
            f"{address.name} wants a user and a password, or refuses those given",
            fix=f"name it as tasmota://admin:PASSWORD@{address.host}",
        )
    sensors = answer.get("StatusSNS") or {}
    if "ENERGY" not in sensors:
        raise MeterUnavailable(
            f"{address.name} answers, and meters no energy",
            fix="take a plug with a power meter, or choose its module in Tasmota's configuration",
        )
    return sample(sensors["ENERGY"], address.name)


def _meter(address: Address) -> OutsideGauge | OutsideCounter:
    web = Web(address)
    return meter_at(address, lambda: _ask(web), step_j=_STEP_J, lag_s=_LAG_S)


def discover() -> list[OutsideGauge | OutsideCounter]:
    """The Tasmota meters that are named in the settings.

    Raises:
        MeterUnavailable: no outside meter is named, or one of these cannot be read.
    """
    return [_meter(address) for address in addresses("tasmota")]
