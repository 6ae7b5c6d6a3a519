"""Meters together with the worlds they read, for the contract that every meter keeps.

Energy can be made to flow through a rig, and it can be broken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from loopback import Device

from negawatt.adapters.meters import (
    amdsmi,
    apple,
    battery,
    hwmon,
    ipmi,
    modbus,
    mqtt,
    perf_event,
)
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


def take_away(file: Path) -> None:
    """Remove a file as the kernel does: who holds it open reads nothing more from it."""
    file.write_bytes(b"")
    file.unlink()


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
        take_away(self.counter)


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
        take_away(self.current)


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


def power_events(root: Path, *, packages: int = 1, events: str = "pkg ram") -> tuple[Path, Path]:
    """The kernel's `power` event source, and the CPUs it counts on: 0, 8, 16, one a package."""
    source, cpus = root / "power", root / "cpu"
    (source / "events").mkdir(parents=True)
    (source / "type").write_text("23\n")
    (source / "cpumask").write_text(",".join(str(8 * n) for n in range(packages)) + "\n")
    for event, config in zip(("cores", "pkg", "ram", "gpu", "psys"), range(1, 6), strict=True):
        if event in events.split():
            file = source / "events" / f"energy-{event}"
            file.write_text(f"event=0x{config:02x}\n")
            file.with_name(f"{file.name}.scale").write_text("2.3283064365386962890625e-10\n")
            file.with_name(f"{file.name}.unit").write_text("Joules\n")
    for package in range(packages):
        topology = cpus / f"cpu{8 * package}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "die_id").write_text("0\n")
    return source, cpus


class PerfRig(Rig):
    """A package counter behind a file descriptor, in units of 2**-32 J."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.count = HandClock(), folder / "count"
        self.joules = 0.0
        self.write()
        source, cpus = power_events(folder, events="pkg")
        (self.meter,) = perf_event.discover(
            source,
            cpus=cpus,
            powercap=list,
            opener=lambda kind, config, cpu: os.open(self.count, os.O_RDONLY),
            read=lambda fd: os.pread(fd, 8, 0),
        )

    def write(self) -> None:
        self.count.write_bytes(round(self.joules * 2**32).to_bytes(8, "little"))

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        self.joules += STEP_S * POWER_W
        self.write()
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.count.write_bytes(b"")  # what a read of an event in error gives


def laptop(root: Path, *, files: Mapping[str, object], name: str = "BAT0") -> Path:
    """A battery that discharges, beside a charger that is not plugged in."""
    supplies = root / "power_supply"
    battery, charger = supplies / name, supplies / "AC"
    battery.mkdir(parents=True)
    charger.mkdir(exist_ok=True)
    (charger / "type").write_text("Mains\n")
    (charger / "online").write_text("0\n")
    for file, value in {"type": "Battery", "status": "Discharging", **files}.items():
        (battery / file).write_text(f"{value}\n")
    return battery


class BatteryGaugeRig(Rig):
    """A battery that tells current and voltage."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        microamperes = round(POWER_W / 16 * 1e6)
        self.battery = laptop(
            folder, files={"current_now": microamperes, "voltage_now": 16_000_000}
        )
        self.meter = self.integrated(battery.discover(self.battery.parent)[0])

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        return STEP_S * POWER_W

    def break_it(self) -> None:
        (self.battery / "status").write_text("Charging\n")


class BatteryCounterRig(Rig):
    """A battery that tells only what is left in it."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.left_j = HandClock(), 180_000.0
        self.battery = laptop(folder, files={"energy_now": 0})
        self.write()
        (self.meter,) = battery.discover(self.battery.parent)

    def write(self) -> None:
        hundredths = int(self.left_j / 36)
        (self.battery / "energy_now").write_text(f"{hundredths * 10_000}\n")

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        self.left_j -= STEP_S * POWER_W
        self.write()
        return STEP_S * POWER_W

    def break_it(self) -> None:
        (self.battery / "energy_now").unlink()


class AmdSmiException(Exception):
    pass


class AmdGpu:
    """What one processor answers; None in place of an answer is an error."""

    def __init__(
        self,
        count: int | None,
        *,
        watts: object = 80,
        cap: int | None = 750_000_000,
        bdf: str = "0000:05:00.0",
    ) -> None:
        self.count, self.watts, self.cap, self.bdf = count, watts, cap, bdf
        self.broken = False


class AmdLibrary(ModuleType):
    """`amdsmi` as far as it is used: its units, its spelling and its way of failing."""

    AmdSmiException = AmdSmiException
    resolution_uj = 15.259

    def __init__(self, *gpus: AmdGpu) -> None:
        super().__init__("amdsmi")
        self.gpus = gpus

    def amdsmi_init(self) -> None:
        pass

    def amdsmi_get_processor_handles(self) -> list[AmdGpu]:
        return list(self.gpus)

    def amdsmi_get_gpu_device_bdf(self, gpu: AmdGpu) -> str:
        return gpu.bdf

    def amdsmi_get_energy_count(self, gpu: AmdGpu) -> dict[str, float]:
        if gpu.broken or gpu.count is None:
            raise AmdSmiException("Error code:\n\t2 | AMDSMI_STATUS_NOT_SUPPORTED")
        return {
            "energy_accumulator": gpu.count,
            "counter_resolution": self.resolution_uj,
            "timestamp": 1,
        }

    def amdsmi_get_power_info(self, gpu: AmdGpu) -> dict[str, object]:
        if gpu.broken:
            raise AmdSmiException("Error code:\n\t34 | AMDSMI_STATUS_DRIVER_NOT_LOADED")
        return {
            "current_socket_power": "N/A",
            "average_socket_power": gpu.watts,
            "gfx_voltage": 818,
            "power_limit": 750,
        }

    def amdsmi_get_power_cap_info(self, gpu: AmdGpu) -> dict[str, int]:
        if gpu.cap is None:
            raise AmdSmiException("Error code:\n\t2 | AMDSMI_STATUS_NOT_SUPPORTED")
        return {"power_cap": gpu.cap, "max_power_cap": gpu.cap}


class AmdRig(Rig):
    """One board, with or without an energy counter."""

    def __init__(self, *, counts: bool) -> None:
        self.clock = HandClock()
        self.gpu = AmdGpu(1_000_000 if counts else None, watts=round(POWER_W))
        (found,) = amdsmi.discover(AmdLibrary(self.gpu))
        self.meter = found if counts else self.integrated(found)

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        if self.gpu.count is not None:
            self.gpu.count += round(STEP_S * POWER_W / (AmdLibrary.resolution_uj * 1e-6))
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.gpu.broken = True


class ModbusRig(PlugRig):
    """A register of a meter behind pymodbus's own server."""

    def __init__(self, register: str, patch: pytest.MonkeyPatch) -> None:
        from modbus_meter import ModbusMeter

        address = "{adapter}://{place}/1/" + register
        super().__init__(modbus, ModbusMeter(), patch, address=address)  # type: ignore[arg-type]


class MqttRig(Rig):
    """A Tasmota plug that publishes to a broker."""

    topic = "tele/desk/SENSOR"

    def __init__(self, patch: pytest.MonkeyPatch, *, options: str = "") -> None:
        from mqtt_broker import Broker

        self.clock, self.broker, self.joules = HandClock(), Broker(), 11_466_000.0
        self.publish()
        place = f"mqtt://{self.broker.place}/{self.topic}{options}"
        patch.setenv("NEGAWATT_OUTSIDE_METERS", place)
        (found,) = mqtt.discover(self.clock)
        self.listener = found._ask.__self__
        self.meter = found if hasattr(found, "energy") else self.integrated(found)

    def publish(self) -> None:
        energy = {"Total": round(self.joules / 3.6e6, 3), "Power": POWER_W, "Voltage": 230}
        self.broker.publish(self.topic, json.dumps({"Time": "2024-11-23", "ENERGY": energy}))

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        self.joules += STEP_S * POWER_W
        self.publish()
        with self.listener._changed:
            now = self.clock.wall_s
            assert self.listener._changed.wait_for(lambda: self.listener._last[0] == now, 5)
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.clock.wall_s += 60.0  # the plug has fallen silent

    def close(self) -> None:
        self.listener.close()
        self.broker.close()


def program(folder: Path, name: str, script: str, patch: pytest.MonkeyPatch) -> Path:
    """An executable on the search path that prints what the real one prints."""
    folder.mkdir(exist_ok=True)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tool


DCMI = """
    Instantaneous power reading:                   {watts} Watts
    Minimum during sampling period:                 18 Watts
    Maximum during sampling period:                438 Watts
    Average power reading over sample period:      222 Watts
    IPMI timestamp:                           Sat Nov 23 19:00:00 2024
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}

"""


class IpmiRig(Rig):
    """A server whose controller answers `ipmitool dcmi power reading`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.clock, self.says = HandClock(), folder / "says"
        self.says.write_text(DCMI.format(watts=round(POWER_W), state="activated"))
        program(
            folder / "bin",
            "ipmitool",
            f'test "$*" = "dcmi power reading" && cat {self.says}',
            patch,
        )
        patch.setenv("NEGAWATT_OUTSIDE_METERS", "ipmi://")
        self.meter = self.integrated(ipmi.discover()[0])

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.says.unlink()


#: What `powermetrics --samplers cpu_power -n 1 -f plist` prints, without its clusters.
POWERMETRICS = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
<key>is_delta</key><true/>
<key>elapsed_ns</key><integer>204511791</integer>
<key>hw_model</key><string>Mac14,2</string>
<key>processor</key>
<dict>
<key>clusters</key><array/>
<key>cpu_energy</key><integer>{energy}</integer>
<key>cpu_power</key><real>{cpu}</real>
<key>gpu_power</key><real>{gpu}</real>
<key>ane_power</key><real>0</real>
{combined}
</dict>
</dict>
</plist>
"""


def powermetrics(cpu_mw: float, gpu_mw: float, *, combined: bool = True) -> str:
    total = f"<key>combined_power</key><real>{cpu_mw + gpu_mw}</real>" if combined else ""
    return POWERMETRICS.format(energy=round(cpu_mw / 5), cpu=cpu_mw, gpu=gpu_mw, combined=total)


class AppleRig(Rig):
    """A Mac whose `powermetrics` prints a property list."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.clock, self.says = HandClock(), folder / "says"
        self.says.write_text(powermetrics(POWER_W * 750, POWER_W * 250))
        program(folder / "bin", "powermetrics", f"cat {self.says}", patch)
        patch.setenv("NEGAWATT_OUTSIDE_METERS", "apple://")
        patch.setattr(os, "geteuid", lambda: 0)
        self.meter = self.integrated(apple.discover("darwin")[0])

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.says.unlink()
