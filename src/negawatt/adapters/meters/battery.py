"""The battery of a laptop: while it discharges, everything that the laptop draws.

Linux tells the power that flows out, or current and voltage, or only the energy that is left. The
last moves in steps, of a hundredth of a watt-hour as a rule.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from negawatt.adapters.meters.checked import number, watts
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules, Watts

ROOT = Path("/sys/class/power_supply")

_J_PER_UWH = 3.6e-3
_STEP_J = 36.0  # a hundredth of a watt-hour
_LIMIT = Watts(240.0)  # the most that USB-C can carry: more than a battery gives for long


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MeterUnavailable(
            f"{path} cannot be read ({error})", fix="see what `upower -d` says about the battery"
        ) from error


def _is(folder: Path, file: str, text: str) -> bool:
    return (folder / file).exists() and _text(folder / file) == text


def _value(folder: Path, file: str) -> float:
    return number(_text(folder / file), f"{folder.name}/{file}")


def _left(folder: Path) -> tuple[float, float]:
    """What is left in one battery, and what a unit of it is worth. [µWh, J/µWh] or [µAh, J/µAh]"""
    if (folder / "energy_now").exists():
        return _value(folder, "energy_now"), _J_PER_UWH
    return _value(folder, "charge_now"), _value(folder, "voltage_now") * 1e-6 * _J_PER_UWH


def _flow_w(folder: Path) -> float:
    """Power through one battery; some drivers give it a sign. [W]"""
    if (folder / "power_now").exists():
        return abs(_value(folder, "power_now")) * 1e-6
    return abs(_value(folder, "current_now")) * 1e-6 * _value(folder, "voltage_now") * 1e-6


class _Batteries:
    """All batteries of one laptop, which take turns."""

    boundary = "system"

    def __init__(self, root: Path, folders: Sequence[Path]) -> None:
        self._root, self._folders = root, folders
        self.name = f"battery:{'+'.join(folder.name for folder in folders)}"

    def _discharging(self) -> list[Path]:
        """Those that are drawn from.

        Raises:
            MeterUnavailable: none is, or something else feeds the laptop too.
        """
        states = {folder: _text(folder / "status") for folder in self._folders}
        plugged = [
            supply.name
            for supply in sorted(self._root.iterdir())
            if (supply / "online").exists() and _text(supply / "online") != "0"
        ]
        drawn = [folder for folder, state in states.items() if state == "Discharging"]
        if plugged or not drawn or "Charging" in states.values():
            why = f"{plugged[0]} feeds it" if plugged else ", ".join(states.values()).lower()
            raise MeterUnavailable(
                f"{self.name} does not tell what the laptop draws: {why}",
                fix="unplug the machine while you measure",
            )
        return drawn


class BatteryGauge(_Batteries):
    """The power that flows out of the batteries."""

    limit = _LIMIT
    poll_every_s = 1.0  # the controller of a battery looks at it about as often

    def power(self) -> Watts:
        """Power out of the batteries now.

        Raises:
            MeterUnavailable: the laptop is plugged in, or a battery does not tell.
        """
        return watts(sum(map(_flow_w, self._discharging())), self.name, whole=True)


class BatteryCounter(_Batteries):
    """What has left the batteries, where they do not tell their power."""

    resolution_j = _STEP_J
    poll_every_s = 5.0  # so that a charger between two reads is seen

    def __init__(self, root: Path, folders: Sequence[Path]) -> None:
        super().__init__(root, folders)
        self._lock = threading.Lock()
        self._before: list[tuple[float, float]] = []
        self._drawn_j = 0.0

    def energy(self) -> Joules:
        """Energy that left the batteries since the first read.

        Raises:
            MeterUnavailable: the laptop is plugged in, or was charged in between.
        """
        self._discharging()
        with self._lock:
            now = [_left(folder) for folder in self._folders]
            before, self._before = self._before or now, now
            for (left, worth), (less, worth_now) in zip(before, now, strict=True):
                if less > left:
                    raise MeterUnavailable(
                        f"{self.name} holds more than before: it was charged in between",
                        fix="measure again, with the machine unplugged all the time",
                    )
                self._drawn_j += (left - less) * (worth + worth_now) / 2
            return Joules(self._drawn_j)


def discover(root: Path = ROOT) -> list[BatteryGauge | BatteryCounter]:
    """The batteries of this machine, as one meter; none where there is none.

    Raises:
        MeterUnavailable: they are not drawn from now, or cannot be read.
    """
    folders = [
        folder
        for folder in sorted(root.glob("*"))
        if _is(folder, "type", "Battery") and not _is(folder, "scope", "Device")  # that of a mouse
    ]
    if not folders:
        return []
    tells_power = all(
        (folder / "power_now").exists() or (folder / "current_now").exists() for folder in folders
    )
    if not tells_power:
        counter = BatteryCounter(root, folders)
        counter.energy()
        return [counter]
    gauge = BatteryGauge(root, folders)
    gauge.power()  # a meter that cannot be read is no meter: say so before the work begins
    return [gauge]
