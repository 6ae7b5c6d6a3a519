"""Power and energy sensors of boards, through Linux hwmon.

Counters are files of microjoules, gauges of microwatts; an INA3221 (Jetson) tells millivolts and
milliamperes. Only sensors whose driver and label are known here are taken for more than a rail.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from negawatt.adapters.meters.checked import Rising, number, watts
from negawatt.adapters.meters.kernel_file import KeptOpen, read_text
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules, Watts

ROOT = Path("/sys/class/hwmon")

_RAIL = "rail"  # a boundary that never enters a sum: nobody knows what else holds it
_NO_LIMIT = Watts(2000.0)  # where none is stated: more than one board takes

#: Driver, label and boundary; `{n}` is the number in the label, `{pci}` the device's address.
#: RAPL and the perf events of it use the same `package:N`, so that one is counted.
_KNOWN = (
    (r"amd_energy", r"Esocket(?P<n>\d+)", "package:{n}"),
    (r"power_meter.*", r"Grace Power Socket (?P<n>\d+)", "package:{n}"),
    (r"power_meter.*", r"CPU Power Socket (?P<n>\d+)", "core:{n}"),
    (r"power_meter.*", r"SysIO Power Socket (?P<n>\d+)", "uncore:{n}"),
    (r"power_meter.*", r"", "system"),
    (r"ibmpowernv", r"System( Power| Energy)?", "system"),
    (r"ibmpowernv", r"Chip (?P<n>\d+)", "package:{n}"),
    (r"xgene_hwmon", r"CPU power", "package:0"),
    (r"corsairpsu", r"power total", "system"),
    (r"ina3221.*", r"VDD_IN|POM_5V_IN|VIN", "system"),
    (r"i915|nouveau", r"", "gpu:{pci}"),
    (r"xe", r"card", "gpu:{pci}"),
    (r"xe", r"pkg", "gpu:{pci}/package"),
    (r"amdgpu", r"(PPT)?", "gpu:{pci}"),
)

ReadText = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class _Sensor:
    """One channel of one chip: the files whose product is its reading."""

    name: str
    boundary: str
    files: tuple[Path, ...]
    counts: bool
    limit: Watts = _NO_LIMIT

    def value(self, read: ReadText) -> float:
        """The reading. [J] or [W]"""
        product = 1e-6  # µJ, µW, or mV times mA
        for path in self.files:
            try:
                product *= float(read(path))
            except OSError as error:
                if error.errno == errno.EACCES:  # EPERM is a device that sleeps
                    raise _permission(path) from error
                raise MeterUnavailable(
                    f"{path} cannot be read ({error.strerror or error})",
                    fix="see what `sensors` says; a driver that was unloaded must be loaded again",
                ) from error
            except ValueError as error:
                raise MeterUnavailable(
                    f"{path} says what is no number ({error})",
                    fix="see what `sensors` says; if it stays so, leave this meter out",
                ) from error
        return product if math.isfinite(product) else number(product, self.name)


class HwmonCounter:
    """A sensor that counts energy."""

    def __init__(self, sensor: _Sensor, read: ReadText = read_text) -> None:
        self._sensor, self._read = sensor, read
        self.name, self.boundary = sensor.name, sensor.boundary
        self._rising = Rising(sensor.name, cause="its driver was loaded anew")

    def energy(self) -> Joules:
        """Energy since the driver was loaded; raises `MeterUnavailable` if it is not told."""
        return self._rising.take(self._sensor.value(self._read))


class HwmonGauge:
    """A sensor that tells power."""

    def __init__(self, sensor: _Sensor, read: ReadText = read_text) -> None:
        self._sensor, self._read = sensor, read
        self.name, self.boundary, self.limit = sensor.name, sensor.boundary, sensor.limit

    def power(self) -> Watts:
        """Power now, or over the chip's own averaging time.

        Raises:
            MeterUnavailable: a file cannot be read, or the power is negative.
        """
        value = self._sensor.value(self._read)
        if value > 0:  # a finite number already
            return Watts(value)
        return watts(value, self.name, whole=self.boundary == "system")


def _permission(path: Path) -> MeterUnavailable:
    return MeterUnavailable(
        f"{path} is there, but this user may not read it",
        fix=f"until the next boot: sudo chmod a+r {path}\n"
        '  for good: write SUBSYSTEM=="hwmon", ACTION=="add", RUN+="/bin/sh -c '
        "'chgrp -f power /sys%p/*_input; chmod -f g+r /sys%p/*_input'\"\n"
        "  to /etc/udev/rules.d/70-hwmon.rules, join the group power, and restart",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _limit(folder: Path, channel: str) -> Watts:
    for kind in ("cap", "max", "rated_max", "crit"):
        text = _text(folder / f"{channel}_{kind}")
        if channel.startswith("power") and text.isdigit() and int(text) > 0:
            return Watts(int(text) * 1e-6)
    return _NO_LIMIT


def _boundary(chip: str, label: str, folder: Path) -> str:
    """What a sensor includes; a rail when it is not known to be more."""
    in_processor = chip == "amdgpu" and not (folder / "power1_cap").exists()
    for driver, labels, boundary in _KNOWN:
        found = re.fullmatch(labels, label)
        if found and re.fullmatch(driver, chip) and not in_processor:
            address = (folder / "device").resolve().name
            return boundary.format(**found.groupdict(), pci=address)
    return f"{_RAIL}:{chip}/{label}" if label else f"{_RAIL}:{chip}"


def _sensor(chip: str, place: Path, channel: str, files: tuple[Path, ...]) -> _Sensor:
    """One channel of the chip whose files lie in `place`."""
    folder = place if place.name != "device" else place.parent
    label = _text(place / f"{channel}_label") or _text(place / f"{channel}_oem_info")
    return _Sensor(
        name=f"hwmon:{folder.name}/{label or channel}".replace(" ", "-"),
        boundary=_boundary(chip, label, folder),
        files=files,
        counts=channel.startswith("energy"),
        limit=_limit(place, channel),
    )


def _channels(folder: Path, chip: str) -> Iterator[_Sensor]:
    """Every channel of a chip, energy before power before volts and amperes."""
    for place in (folder, folder / "device"):  # older kernels list a chip's files on its device
        for file in sorted(place.glob("energy*_input")):
            yield _sensor(chip, place, file.name.removesuffix("_input"), (file,))
        averages = {file.name.partition("_")[0]: file for file in place.glob("power*_average")}
        inputs = {file.name.partition("_")[0]: file for file in place.glob("power*_input")}
        for channel, file in sorted((inputs | averages).items()):
            yield _sensor(chip, place, channel, (file,))
        if chip.startswith("ina3221"):
            for file in sorted(place.glob("in*_input")):
                current = place / f"curr{file.name[2:]}"
                if current.exists():  # in4 and up are the shunts' own voltages
                    channel = file.name.removesuffix("_input")
                    yield _sensor(chip, place, channel, (file, current))


def discover(root: Path = ROOT, *, read: ReadText | None = None) -> list[HwmonCounter | HwmonGauge]:
    """The sensors of packages, GPUs and the whole machine; rails where there is none of these.

    Raises:
        MeterUnavailable: there is one, and this user may not read it.
    """
    if read is None:
        read = KeptOpen()
    found: dict[str, dict[Path, _Sensor]] = {}
    for folder in sorted(root.glob("hwmon*")):
        chip = _text(folder / "name") or _text(folder / "device" / "name")
        for sensor in _channels(folder, chip):
            found.setdefault(sensor.boundary, {}).setdefault(folder, sensor)
    # two chips that both claim the whole of something measure parts of it, or one of them errs
    sensors = [next(iter(chips.values())) for chips in found.values() if len(chips) == 1]
    known = [sensor for sensor in sensors if not sensor.boundary.startswith(_RAIL)]
    for sensor in known:
        sensor.value(read)  # one that cannot be read is unknown; say so now, not after the work
    shown = known or [sensor for sensor in sensors if _answers(sensor, read)]
    return [HwmonCounter(s, read) if s.counts else HwmonGauge(s, read) for s in shown]


def _answers(rail: _Sensor, read: ReadText) -> bool:
    """False for a rail that is switched off; one that is kept to root is an error."""
    try:
        rail.value(read)
    except MeterUnavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EACCES:
            raise
        return False
    return True
