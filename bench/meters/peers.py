"""The other meters, each used as its own first page shows and told nothing it does not know."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

J_PER_KWH = 3.6e6
COUNTRY = "DE"  # any one will do


class NotOfferedError(Exception):
    """The tool does not do this, or not on this machine; the reason stands for the figure."""


class CodeCarbon:
    """codecarbon's `EmissionsTracker`."""

    def load(self) -> None:
        """Import it."""
        from codecarbon import EmissionsTracker

        self.make = EmissionsTracker

    def first(self) -> None:
        """Make a tracker, start and stop it."""
        tracker = self.make()
        tracker.start()
        tracker.stop()

    def again(self) -> Callable[[], object]:
        """A task inside a tracker that is there."""
        tracker = self.make()
        count = iter(range(10**9))

        def run() -> object:
            name = f"task {next(count)}"
            tracker.start_task(name)
            return tracker.stop_task(name)

        return run

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """The tracker with its period set."""
        tracker = self.make(measure_power_secs=period_s)
        tracker.start()
        yield
        tracker.stop()

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """One tracker, from start to stop."""
        report: dict[str, Any] = {}
        tracker = self.make()
        tracker.start()
        yield report
        tracker.stop()
        data = tracker.final_emissions_data
        joules = {
            part: getattr(data, f"{part}_energy") * J_PER_KWH for part in ("cpu", "gpu", "ram")
        }
        report.update(
            joules=data.energy_consumed * J_PER_KWH,
            seconds=data.duration,
            parts=joules,
            kind="; ".join(str(part.description()) for part in tracker._hardware),  # noqa: SLF001
            boundary=", ".join(f"{name} {value:.3g} J" for name, value in joules.items()),
            place=f"{data.country_name}, {data.region}",
        )


class CarbonTracker:
    """carbontracker's `CarbonTracker`, whose windows are epochs."""

    def load(self) -> None:
        """Import it."""
        from carbontracker.tracker import CarbonTracker as Make

        self.make = Make

    def first(self) -> None:
        """Make a tracker of one epoch and go through it."""
        tracker = self.make(epochs=1)
        tracker.epoch_start()
        tracker.epoch_end()

    def again(self) -> Callable[[], object]:
        """One epoch of many."""
        many = 10**9
        tracker = self.make(epochs=many, monitor_epochs=-1, epochs_before_pred=0, verbose=0)

        def run() -> object:
            tracker.epoch_start()
            return tracker.epoch_end()

        return run

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """The tracker with its period set."""
        tracker = self.make(epochs=1, update_interval=period_s)
        tracker.epoch_start()
        yield
        tracker.stop()

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """The first of two epochs, so that what was seen can be asked for."""
        report: dict[str, Any] = {}
        tracker = self.make(epochs=2, monitor_epochs=2)
        tracker.epoch_start()
        yield report
        monitor = tracker.tracker
        tracker.epoch_end()
        joules = float(monitor.total_energy_per_epoch().sum()) * J_PER_KWH
        devices = [f"{part.name}: {', '.join(part.devices())}" for part in monitor.components]
        report.update(
            joules=joules,
            seconds=float(sum(monitor.epoch_times)),
            kind="; ".join(
                type(getattr(part, "_handler", getattr(part, "handler", part))).__name__
                for part in monitor.components
            ),
            boundary="; ".join(devices),
        )


class Zeus:
    """zeus's `ZeusMonitor`."""

    def load(self) -> None:
        """Import it."""
        from zeus.monitor import ZeusMonitor

        self.make = ZeusMonitor

    def first(self) -> None:
        """Make a monitor and go through one window."""
        monitor = self.make()
        monitor.begin_window("first")
        monitor.end_window("first")

    def again(self) -> Callable[[], object]:
        """One more window."""
        monitor = self.make()

        def run() -> object:
            monitor.begin_window("again")
            return monitor.end_window("again")

        return run

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """It samples boards without a counter; there are none without a GPU."""
        raise NotOfferedError("its windows read counters at both ends; it samples GPUs alone")
        yield

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """One window."""
        report: dict[str, Any] = {}
        monitor = self.make()
        monitor.begin_window("window")
        yield report
        seen = monitor.end_window("window")
        kinds = {
            "gpu": seen.gpu_energy,
            "cpu": seen.cpu_energy,
            "dram": seen.dram_energy,
            "soc": seen.soc_energy,
        }
        found = {kind: one for kind, one in kinds.items() if one}
        if not found:
            report.update(seconds=seen.time, kind="no device found: time alone")
            return
        joules = sum(sum(one.values()) for one in found.values())
        report.update(joules=joules, seconds=seen.time, kind="measured", boundary=", ".join(found))


class Eco2AI:
    """eco2ai's `Tracker`, which has to be told a country where it cannot ask for one."""

    def load(self) -> None:
        """Import it."""
        from eco2ai import Tracker

        self.tracker = Tracker

    def make(self, **options: Any) -> Any:
        """A tracker that is told a country; the figures in joules do not depend on it."""
        return self.tracker(alpha_2_code=COUNTRY, **options)

    def first(self) -> None:
        """Make a tracker, start and stop it."""
        tracker = self.make()
        tracker.start()
        tracker.stop()

    def again(self) -> Callable[[], object]:
        """Start and stop of a tracker that is there."""
        tracker = self.make()

        def run() -> object:
            tracker.start()
            return tracker.stop()

        return run

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """The tracker with its period set."""
        tracker = self.make(measure_period=period_s)
        tracker.start()
        yield
        tracker.stop()

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """One tracker, from start to stop; told a country only when it does not do without."""
        report: dict[str, Any] = {}
        try:
            tracker, place = self.tracker(), ""
        except Exception as error:  # noqa: BLE001  # what it raises comes from its library for the web
            tracker, place = self.make(), f"{COUNTRY}, told; untold: {type(error).__name__}"
        tracker.start()
        yield report
        tracker.stop()
        with Path(tracker.file_name).open(encoding="utf-8", newline="") as file:
            row = list(csv.DictReader(file))[-1]  # after `stop` the tracker itself says 0
        report.update(
            joules=float(row["power_consumption(kWh)"]) * J_PER_KWH,
            seconds=float(row["duration(s)"]),
            kind=f"{row['CPU_name']}; {row['GPU_name']}",
            boundary="CPU, GPU, RAM",
            place=place or row["region/country"],
        )


class PyJoules:
    """pyJoules's `EnergyMeter` over every device it finds."""

    def load(self) -> None:
        """Import it."""
        from pyJoules.device.device_factory import DeviceFactory
        from pyJoules.energy_meter import EnergyMeter

        self.devices, self.make = DeviceFactory.create_devices, EnergyMeter

    def _meter(self) -> Any:
        devices = self.devices()
        if not devices:
            raise NotOfferedError("finds no device here")
        return self.make(devices)

    def _once(self, meter: Any) -> Any:
        meter.start(tag="window")
        meter.stop()
        return meter.get_trace()

    def first(self) -> None:
        """Find the devices and go through one window."""
        self._once(self._meter())

    def again(self) -> Callable[[], object]:
        """One more window."""
        meter = self._meter()
        return lambda: self._once(meter)

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """It has no sampler."""
        raise NotOfferedError("it reads counters at both ends of a window and does not sample")
        yield

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """One window."""
        report: dict[str, Any] = {}
        meter = self._meter()
        meter.start(tag="window")
        yield report
        meter.stop()
        seen = meter.get_trace()[0]
        report.update(
            joules=sum(seen.energy.values()) / 1e6,  # it counts microjoules
            seconds=seen.duration,
            kind="measured",
            boundary=", ".join(seen.energy),
        )


class PyRAPL:
    """pyRAPL's `Measurement`."""

    def load(self) -> None:
        """Import it."""
        import pyRAPL

        self.library = pyRAPL

    def first(self) -> None:
        """Set it up and go through one window."""
        self.library.setup()
        self._once()

    def _once(self) -> Any:
        meter = self.library.Measurement("window")
        meter.begin()
        meter.end()
        return meter.result

    def again(self) -> Callable[[], object]:
        """One more window."""
        self.library.setup()
        return self._once

    @contextmanager
    def sampling(self, period_s: float) -> Iterator[None]:
        """It has no sampler."""
        raise NotOfferedError("it reads counters at both ends of a window and does not sample")
        yield

    @contextmanager
    def window(self) -> Iterator[dict[str, Any]]:
        """One window."""
        report: dict[str, Any] = {}
        self.library.setup()
        meter = self.library.Measurement("window")
        meter.begin()
        yield report
        meter.end()
        seen = meter.result
        report.update(
            joules=(sum(seen.pkg or ()) + sum(seen.dram or ())) / 1e6,  # it counts microjoules
            seconds=seen.duration / 1e6,
            kind="measured",
            boundary="package, DRAM",
        )


PEERS = {
    "codecarbon": CodeCarbon,
    "carbontracker": CarbonTracker,
    "zeus": Zeus,
    "eco2ai": Eco2AI,
    "pyJoules": PyJoules,
    "pyRAPL": PyRAPL,
}
