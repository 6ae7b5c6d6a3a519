from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from loopback import Device

Name = Callable[[str], None]


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Name:
    """Names outside meters as a user would."""

    def name(addresses: str) -> None:
        monkeypatch.setenv("NEGAWATT_OUTSIDE_METERS", addresses)

    return name


@pytest.fixture
def switched_on() -> Iterator[Callable[[Device], Device]]:
    """Switches a device off when the test is over."""
    devices: list[Device] = []

    def switch(device: Device) -> Device:
        devices.append(device)
        return device

    yield switch
    for device in devices:
        device.close()
