"""The management controller of a server, through Redfish: `redfish://USER:PASSWORD@HOST`.

Newer ones tell the power and the energy of a chassis in `EnvironmentMetrics`, older ones the
power alone in `Power`. A controller is asked for the chassis that lies in no other; one that
has several is told which: `redfish://HOST/Chassis/NAME`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from negawatt.adapters.meters.address import Address, addresses
from negawatt.adapters.meters.checked import number
from negawatt.adapters.meters.outside import OutsideCounter, OutsideGauge, Sample, meter_at
from negawatt.adapters.meters.web import Web
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import J_PER_KWH, Watts

ROOT = "/redfish/v1"

_SESSIONS = f"{ROOT}/SessionService/Sessions"
_LARGEST = Watts(12_000.0)  # where no capacity is told: more than a server with eight GPUs
_STEP_J = 0.001 * J_PER_KWH  # of a count in kilowatt-hours
_LAG_S = 10.0

Node = Mapping[str, Any]


def _ended(web: Web, session: str) -> None:
    """A controller has room for a few sessions only."""
    try:
        web.ask("DELETE", session)
    except MeterUnavailable:
        return  # it will end by itself


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _Controller:
    """A controller and the way in: user and password, or a session that was opened with them."""

    web: Web

    def get(self, path: str) -> Node:
        node = self.web.get(path)
        if not isinstance(node, Mapping):
            raise _odd(self.web.address, f"answers {path} with no object")
        return node

    def log_in(self) -> None:
        """Open a session; it is closed with the program."""
        address = self.web.address
        self.web.headers.pop("X-Auth-Token", None)  # that of a session which has ended
        pair = {"UserName": address.user, "Password": address.password}
        answer = self.web.ask("POST", _SESSIONS, body=pair)
        token = answer.headers.get("x-auth-token")
        if token is None:
            raise _odd(address, f"opens no session (it answers {answer.status})")
        self.web.headers["X-Auth-Token"] = token
        self.web.renew = self.log_in
        place = answer.headers.get("location", "")
        own = Web(address, secure=self.web.secure, headers={"X-Auth-Token": token})
        weakref.finalize(self, _ended, own, place[place.find(ROOT) :])

    def chassis(self) -> Iterator[tuple[str, Node]]:
        """Every chassis that lies in no other, by its path."""
        wanted = self.web.address.path.removeprefix(ROOT.strip("/")).strip("/")
        if wanted:
            path = f"{ROOT}/{wanted}"
            yield path, self.get(path)
            return
        for member in self.get(f"{ROOT}/Chassis").get("Members", ()):
            node = self.get(member["@odata.id"])
            if "ContainedBy" not in _part(node, "Links"):
                yield member["@odata.id"], node


def _odd(address: Address, what: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"{address.name} {what}",
        fix="see what a browser shows at https://HOST/redfish/v1/Chassis; firmware from before "
        "2016 may speak IPMI only: ipmi://",
    )


def _part(node: Node, key: str) -> Node:
    """An object inside another; an empty one where it is absent or null."""
    part: Node = node.get(key) or {}
    return part


def _reading(node: Node, key: str) -> object:
    return _part(node, key).get("Reading")


def _control(node: Node) -> Node:
    """The first power control of a chassis, which is that of the whole of it."""
    controls: Sequence[Node] = node.get("PowerControl") or ({},)
    return controls[0]


def _environment(node: Node, who: str) -> Sample:
    """What `EnvironmentMetrics` says: power, and energy in joules or kilowatt-hours."""
    joules, kwh = _reading(node, "EnergyJoules"), _reading(node, "EnergykWh")
    energy = None if joules is None else number(joules, who)
    if energy is None and kwh is not None:
        energy = number(kwh, who) * J_PER_KWH
    return Sample(_reading(node, "PowerWatts"), energy)


def _power(node: Node) -> Sample:
    """What `Power` says."""
    return Sample(_control(node).get("PowerConsumedWatts"))


def _ways(controller: _Controller, chassis: Node) -> Iterator[tuple[str, Callable[[Node], Sample]]]:
    """The resources of a chassis that may tell, the better one first."""
    who = controller.web.address.name
    for key, sample in (("EnvironmentMetrics", lambda n: _environment(n, who)), ("Power", _power)):
        link = _part(chassis, key).get("@odata.id")
        if link:
            yield link, sample


def _meter(address: Address) -> OutsideGauge | OutsideCounter:
    controller = _Controller(Web(address, secure=address.transport != "http"))
    if address.user and address.choice("auth", "basic", "session") == "session":
        controller.log_in()
    counting = address.choice("read", "power", "energy") == "energy"
    telling = []
    for path, chassis in controller.chassis():
        for link, sample in _ways(controller, chassis):
            node = controller.get(link)
            told = sample(node)
            if (told.energy if counting else told.power) is not None:
                telling.append((path, link, sample, node))
                break
    if not telling:
        raise _odd(address, f"tells the {'energy' if counting else 'power'} of no chassis")
    if len(telling) > 1:
        paths = ", ".join(path.removeprefix(f"{ROOT}/") for path, *_ in telling)
        raise MeterUnavailable(
            f"{address.name} tells of several chassis: {paths}",
            fix=f"name the one this machine is in: redfish://USER:PASSWORD@{address.host}/"
            f"{telling[0][0].removeprefix(f'{ROOT}/')}",
        )
    _, link, sample, node = telling[0]
    capacity = _control(node).get("PowerCapacityWatts")
    return meter_at(
        address,
        lambda: sample(controller.get(link)),
        step_j=1.0 if _reading(node, "EnergyJoules") is not None else _STEP_J,
        lag_s=_LAG_S,
        limit=Watts(number(capacity, address.name)) if capacity else _LARGEST,
    )


def discover() -> list[OutsideGauge | OutsideCounter]:
    """The controllers that are named in the settings.

    Raises:
        MeterUnavailable: one of them cannot be read, or an address is none.
    """
    return [_meter(address) for address in addresses("redfish")]
