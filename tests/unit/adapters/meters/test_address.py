from __future__ import annotations

from collections.abc import Callable

import pytest

from negawatt.adapters.meters import redfish, shelly
from negawatt.adapters.meters.address import addresses
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]


def test_an_address_is_taken_apart(name: Name) -> None:
    name("redfish+http://mon%40itor:s%2Fcret@bmc.example:8443/Chassis/1/?verify=no")
    (address,) = addresses("redfish")
    assert (address.adapter, address.transport) == ("redfish", "http")
    assert (address.host, address.port, address.path) == ("bmc.example", 8443, "Chassis/1")
    assert (address.user, address.password) == ("mon@itor", "s/cret")
    assert address.options == {"verify": "no"}
    assert address.name == "redfish:bmc.example:8443/Chassis/1"
    assert address.boundary == "system"


def test_each_adapter_gets_its_own(name: Name) -> None:
    name("shelly://desk redfish://bmc")
    assert [address.host for address in addresses("shelly")] == ["desk"]
    assert addresses("tasmota") == []


def test_two_plugs_are_two_feeds_that_add(name: Name) -> None:
    name("shelly://left tasmota://right redfish://bmc")
    assert [address.boundary for address in addresses("shelly")] == ["wall:1"]
    assert [address.boundary for address in addresses("tasmota")] == ["wall:2"]
    name("shelly://left shelly://rack?boundary=rack:7")
    assert [address.boundary for address in addresses("shelly")] == ["wall", "rack:7"]


def test_nothing_named_is_nothing_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEGAWATT_OUTSIDE_METERS", raising=False)
    with pytest.raises(MeterUnavailable, match="none is contacted") as raised:
        shelly.discover()
    assert "NEGAWATT_OUTSIDE_METERS=shelly://" in raised.value.fix
    assert redfish.discover() == []


@pytest.mark.parametrize(
    "text", ["192.0.2.7", "perpetuum://x", "shelly://a:b:c", "shelly:///0", "shelly://u:s3cret@"]
)
def test_what_is_no_address_is_told_without_its_password(name: Name, text: str) -> None:
    name(text)
    with pytest.raises(MeterUnavailable, match="no address of a meter") as raised:
        shelly.discover()
    assert "shelly://" in raised.value.fix
    assert "s3cret" not in str(raised.value)


def test_an_option_that_is_not_known_names_those_that_are(name: Name) -> None:
    name("shelly://desk?read=tea")
    (address,) = addresses("shelly")
    with pytest.raises(MeterUnavailable) as raised:
        address.choice("read", "power", "energy")
    assert raised.value.fix == "give read=power or energy"
