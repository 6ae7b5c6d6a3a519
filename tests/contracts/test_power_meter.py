"""What every power meter must do. A new adapter is done when its rig passes here.

A rig is a meter together with the world it reads: energy can be made to flow through it, and it
can be broken. The real meters of this machine are checked too, as far as nothing has to flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from loopback import FirstShelly, LaterShelly, Redfish, Tasmota
from meter_rigs import (
    POWER_W,
    STEP_S,
    AmdRig,
    AppleRig,
    BatteryCounterRig,
    BatteryGaugeRig,
    HandClock,
    HwmonCounterRig,
    HwmonGaugeRig,
    IpmiRig,
    ModbusRig,
    MqttRig,
    PerfRig,
    PlugRig,
    Rig,
)

from negawatt.adapters.meters import nvml, rapl, redfish, shelly, tasmota
from negawatt.adapters.meters.replay import ReplayMeter
from negawatt.core.errors import MeterUnavailable
from negawatt.core.protocols import PowerMeter
from negawatt.core.quantities import Joules
from negawatt.meters import Instruments, Window, discover
from negawatt.meters.boundary import kind_of, outermost
from negawatt.meters.inventory import as_meters


class RaplRig(Rig):
    """A powercap tree whose counter wraps every 150 J."""

    range_uj = 150_000_000

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.package = folder / "intel-rapl:0"
        self.package.mkdir()
        (self.package / "name").write_text("package-0\n")
        (self.package / "max_energy_range_uj").write_text(f"{self.range_uj}\n")
        self.counter = self.package / "energy_uj"
        self.counter.write_text("61000000\n")
        (self.meter,) = rapl.discover(folder)

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        joules = STEP_S * POWER_W
        now = (int(self.counter.read_text()) + round(joules * 1e6)) % self.range_uj
        self.counter.write_text(f"{now}\n")
        return joules

    def break_it(self) -> None:
        self.counter.unlink()


class NVMLError(Exception):
    value = 3  # NVML_ERROR_NOT_SUPPORTED


class NvmlRig(Rig, ModuleType):
    """One GPU behind a `pynvml` look-alike, with or without an energy counter."""

    NVMLError = NVMLError

    def __init__(self, *, counts: bool) -> None:
        ModuleType.__init__(self, "pynvml")
        self.clock = HandClock()
        self.energy_mj, self.counts, self.broken = 123_456.0, counts, False
        found = nvml.discover(self)
        (self.meter,) = as_meters(found)
        if not counts:
            self.meter._clock = self.clock

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if self.broken or not self.counts:
            raise NVMLError
        return int(self.energy_mj)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        if self.broken:
            raise NVMLError
        return round(POWER_W * 1e3)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802
        return 300_000

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        self.energy_mj += STEP_S * POWER_W * 1e3
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.broken = True


class ReplayRig(Rig):
    """A recording of a minute at constant power."""

    def __init__(self) -> None:
        self.clock = HandClock()
        times = [float(t) for t in range(61)]
        self.meter = ReplayMeter(
            times, [7.0 + POWER_W * t for t in times], boundary="wall", clock=self.clock
        )

    def flow(self) -> float:
        self.clock.wall_s += STEP_S
        return STEP_S * POWER_W

    def break_it(self) -> None:
        self.clock.wall_s += 3600.0


#: What a boundary may be of: kinds that add, and rails, which are shown on their own.
KINDS = {"wall", "system", "psys", "package", "core", "uncore", "dram", "gpu", "rail"}

BMC = "{adapter}+http://monitor:s3cret@{place}"
COUNT = "{adapter}://{place}?read=energy"
Patch = pytest.MonkeyPatch

RIGS: dict[str, Callable[[Path, Patch], Rig]] = {
    "rapl": lambda folder, patch: RaplRig(folder),
    "nvml counter": lambda folder, patch: NvmlRig(counts=True),
    "nvml gauge": lambda folder, patch: NvmlRig(counts=False),
    "replay": lambda folder, patch: ReplayRig(),
    "hwmon counter": lambda folder, patch: HwmonCounterRig(folder),
    "hwmon gauge": lambda folder, patch: HwmonGaugeRig(folder),
    "perf event": lambda folder, patch: PerfRig(folder),
    "battery gauge": lambda folder, patch: BatteryGaugeRig(folder),
    "battery counter": lambda folder, patch: BatteryCounterRig(folder),
    "amdsmi counter": lambda folder, patch: AmdRig(counts=True),
    "amdsmi gauge": lambda folder, patch: AmdRig(counts=False),
    "shelly 1": lambda folder, patch: PlugRig(shelly, FirstShelly(), patch),
    "shelly 1 count": lambda folder, patch: PlugRig(shelly, FirstShelly(), patch, address=COUNT),
    "shelly 2": lambda folder, patch: PlugRig(shelly, LaterShelly(), patch),
    "shelly 2 count": lambda folder, patch: PlugRig(shelly, LaterShelly(), patch, address=COUNT),
    "tasmota": lambda folder, patch: PlugRig(tasmota, Tasmota(), patch),
    "tasmota count": lambda folder, patch: PlugRig(tasmota, Tasmota(), patch, address=COUNT),
    "modbus power": lambda folder, patch: ModbusRig("12?unit=W", patch),
    "modbus energy": lambda folder, patch: ModbusRig("400?type=uint32&unit=Wh&scale=0.01", patch),
    "ipmi": IpmiRig,
    "mqtt": lambda folder, patch: MqttRig(patch),
    "mqtt count": lambda folder, patch: MqttRig(patch, options="?read=energy"),
    "apple": AppleRig,
    "redfish power": lambda folder, patch: PlugRig(redfish, Redfish(), patch, address=BMC),
    "redfish energy": lambda folder, patch: PlugRig(
        redfish, Redfish(modern=True), patch, address=BMC + "?read=energy"
    ),
}


@pytest.fixture(params=RIGS)
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    rig = RIGS[request.param](tmp_path, monkeypatch)
    yield rig
    rig.close()


def tolerance(rig: Rig) -> float:
    """How far a difference of two reads may be off: rounding, or the step that the meter states."""
    return 0.002 + getattr(rig.meter, "resolution_j", 0.0)


def test_it_fulfils_the_protocol(rig: Rig) -> None:
    assert isinstance(rig.meter, PowerMeter)
    assert isinstance(rig.meter.energy(), Joules)


def test_its_name_says_adapter_and_domain(rig: Rig) -> None:
    adapter, _, domain = rig.meter.name.partition(":")
    assert adapter
    assert domain


def test_its_boundary_is_one_that_can_be_added(rig: Rig) -> None:
    assert outermost([rig.meter.boundary]) == (rig.meter.boundary,)


def test_name_and_boundary_stay_what_they_are(rig: Rig) -> None:
    before = rig.meter.name, rig.meter.boundary
    rig.meter.energy()
    rig.flow()
    rig.meter.energy()
    assert (rig.meter.name, rig.meter.boundary) == before


def test_the_difference_of_two_reads_is_what_flowed_in_between(rig: Rig) -> None:
    start = rig.meter.energy()
    flowed = sum(rig.flow() for _ in range(2))
    assert (rig.meter.energy() - start).value == pytest.approx(flowed, abs=tolerance(rig))


def test_the_counter_never_runs_backwards(rig: Rig) -> None:
    last = rig.meter.energy()
    for _ in range(40):  # 1600 J: a RAPL counter wraps ten times on the way
        rig.flow()
        now = rig.meter.energy()
        assert now >= last
        assert math.isfinite(now.value)
        last = now


def test_reading_more_often_changes_nothing(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    start, flowed = rig.meter.energy(), 0.0
    for _ in range(10):
        flowed += rig.flow()
        for _ in range(3):
            rig.meter.energy()
    assert (rig.meter.energy() - start).value == pytest.approx(flowed, abs=0.02 + tolerance(rig))


def test_no_time_is_no_energy(rig: Rig) -> None:
    assert rig.meter.energy() == rig.meter.energy()


def test_hardware_that_does_not_answer_is_unavailable_and_never_zero(rig: Rig) -> None:
    rig.meter.energy()
    rig.break_it()
    with pytest.raises(MeterUnavailable) as raised:
        rig.meter.energy()
    assert raised.value.what
    assert raised.value.fix


def test_a_window_reads_it(rig: Rig) -> None:
    tools = Instruments(meters=(rig.meter,), clock=rig.clock, children=lambda: 0.0)
    with Window("work", instruments=tools) as window:
        flowed = rig.flow()
    assert window.energies[rig.meter.boundary].value == pytest.approx(flowed, abs=tolerance(rig))


def test_a_window_in_which_it_breaks_says_so(rig: Rig) -> None:
    tools = Instruments(meters=(rig.meter,), clock=rig.clock, children=lambda: 0.0)
    with Window("work", instruments=tools) as window:
        rig.flow()
        rig.break_it()
    assert rig.meter.boundary not in window.energies
    assert len(window.result.unread) == 1


def test_the_meters_of_this_machine_keep_the_contract() -> None:
    found = discover()
    if not found.meters:
        reasons = "; ".join(f"{missing.adapter}: {missing.reason}" for missing in found.missing)
        pytest.skip(f"no meter on this machine ({reasons})")
    for meter in found.meters:
        first, second = meter.energy(), meter.energy()
        assert second >= first
        assert kind_of(meter.boundary) in KINDS
