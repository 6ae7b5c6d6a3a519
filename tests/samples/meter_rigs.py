"""Meters together with the worlds they read, for the contract that every meter keeps.

Energy can be made to flow through a rig, and it can be broken.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from loopback import Device

from negawatt.adapters.meters import hwmon
from negawatt.core.protocols import PowerMeter
from negawatt.meters.inventory import as_meters

STEP_S, POWER_W = 0.5, 80.0


class HandClock:
    def __init__(self) -> None:
        self.wall_s = 100.0

    def monotonic(self) -> float:
        return self.wall_s

    def cpu(self) -> float:
        return 0.0

    def now(self) -> None:
        return None


class Rig:
    meter: PowerMeter
    clock: HandClock

    def flow(self) -> float:
        """Let energy flow for STEP_S at POWER_W and return how much it was. [J]"""
        raise NotImplementedError

    def break_it(self) -> None:
        """Make the hardware stop answering."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back whatever the fake holds."""

    def integrated(self, gauge: object) -> PowerMeter:
        """The gauge as a meter whose time is the rig's."""
        (meter,) = as_meters([gauge])
        meter._clock = self.clock
        return meter


class HwmonCounterRig(Rig):
    """The socket counter of a server, as a file of microjoules."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        chip = folder / "hwmon0"
        chip.mkdir()
        (chip / "name").write_text("amd_energy\n")
        (chip / "energy1_label").write_text("Esocket0\n")
        self.counter = chip / "energy1_input"
        self.counter.write_text("61000000\n")
        (self.meter,) = hwmon.discover(folder)

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        joules = STEP_S * POWER_W
        self.counter.write_text(f"{int(self.counter.read_text()) + round(joules * 1e6)}\n")
        return joules

    def break_it(self) -> None:
        self.counter.unlink()


class HwmonGaugeRig(Rig):
    """The input rail of a Jetson: millivolts and milliamperes."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        chip = folder / "hwmon3"
        chip.mkdir()
        (chip / "name").write_text("ina3221\n")
        (chip / "in1_label").write_text("VDD_IN\n")
        (chip / "in1_input").write_text("20000\n")
        self.current = chip / "curr1_input"
        self.current.write_text(f"{round(POWER_W / 20 * 1e3)}\n")
        self.meter = self.integrated(hwmon.discover(folder)[0])

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.current.unlink()


class PlugRig(Rig):
    """A plug on the network, asked for its power or for its count."""

    def __init__(
        self,
        adapter: ModuleType,
        device: Device,
        monkeypatch: pytest.MonkeyPatch,
        *,
        address: str = "{adapter}://{place}",
    ) -> None:
        self.clock, self.device = HandClock(), device
        device.watts = POWER_W
        name = adapter.__name__.rpartition(".")[2]
        place = address.format(adapter=name, place=device.place)
        monkeypatch.setenv("NEGAWATT_OUTSIDE_METERS", place)
        (found,) = adapter.discover()
        self.meter = found if hasattr(found, "energy") else self.integrated(found)

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        self.device.flow(STEP_S)
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.device.broken = True

    def close(self) -> None:
        self.device.close()
