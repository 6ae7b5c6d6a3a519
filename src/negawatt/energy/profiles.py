"""What is known of a device with an engine: its constants, how sure they are, and where they were learnt.

A profile comes from measured windows (`calibrated`) or, for a device that nobody measured, from its
datasheet alone (`unseen`). Either says how far it may be off and which runs it speaks for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.energy.devices import Datasheet
from negawatt.energy.fitting import Fit, Windows
from negawatt.energy.left_out import Band
from negawatt.energy.roofline import Constants
from negawatt.energy.serving import Batching
from negawatt.energy.workload import Load

VERSION = 1  # of the file and of what its figures mean

_BEYOND = 1.1  # factor past the least and greatest window that still counts as inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where windows were measured, and how.

    Args:
        engine: Name and version of what ran on the device.
        boundary: What the joules include, such as "gpu" for GPU boards alone.
        batching: How requests were put together.
        source: Who measured, where it can be read.
    """

    engine: str
    boundary: str
    batching: Batching
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """A device with an engine, as far as the energy model goes.

    Args:
        sheet: What its maker tells.
        origin: Of its windows.
        constants: Of the law.
        scatter: Standard error of the logarithm of each constant, by name. [1]
        unidentified: Constants that stand where the datasheet has them.
        waits: Waiting time per step of each kind of run. [s]
        band: How far predictions for unseen dense models may be off.
        expert_band: The same for models with experts; None where `band` speaks for them too.
        hull: Least and greatest of each quantity of `reach` in the windows.
        windows: How many there were.
        models: Of how many models.
        kind: Of the joules it predicts.
    """

    sheet: Datasheet
    origin: Origin
    constants: Constants
    scatter: Mapping[str, float]
    unidentified: tuple[str, ...]
    waits: Mapping[str, float]
    band: Band
    hull: Mapping[str, tuple[float, float]]
    windows: int
    models: int
    kind: Kind
    expert_band: Band | None = None
    version: int = VERSION

    @property
    def name(self) -> str:
        """Of the device."""
        return self.sheet.name

    def outside(self, load: Load) -> tuple[str, ...]:
        """What of a step lies beyond the windows, one sentence part each; nothing when all is inside.

        A profile without windows has no inside: its band speaks for everything.
        """
        found = []
        for name, value in reach(load).items():
            if name not in self.hull:
                continue
            low, high = self.hull[name]
            if not low / _BEYOND <= value <= high * _BEYOND:
                found.append(f"{name} {value:.3g}, calibrated on {low:.3g} to {high:.3g}")
        if self.windows and np.any(load.expert_layers) and self.expert_band is None:
            found.append("layers with experts, calibrated on dense models")
        return tuple(found)

    def band_of(self, load: Load) -> Band:
        """The band that speaks for a step."""
        return self.expert_band if self.expert_band and load.expert_layers > 0 else self.band

    def joules(self, value: float, load: Load, *, unit: str = "J") -> Estimate:
        """A predicted energy with the band of this profile for steps like `load`."""
        return self._told(value, self.band_of(load).joules, unit)

    def seconds(self, value: float, load: Load, *, unit: str = "s") -> Estimate:
        """A predicted time with the band of this profile for steps like `load`."""
        return self._told(value, self.band_of(load).seconds, unit)

    def _told(self, value: float, factor: float, unit: str) -> Estimate:
        return Estimate(
            value=value,
            low=value / factor,
            high=value * factor,
            unit=unit,
            kind=self.kind,
            source=f"energy model of {self.name} with {self.origin.engine} ({self.origin.source})",
            boundary=self.origin.boundary,
        )


def reach(load: Load) -> dict[str, Any]:
    """Quantities that say where a step lies among others, by name; arrays for many steps."""
    one = 1.0 / np.asarray(load.devices)
    return {
        "sequences at once": load.sequences,
        "devices": load.devices,
        "bytes of weights on a device": load.weight_bytes * one,
        "operations per byte": load.operations / (load.weight_bytes + load.context_bytes),
    }


def calibrated(
    fit: Fit, windows: Windows, sheet: Datasheet, band: Band, origin: Origin
) -> DeviceProfile:
    """The profile that measured windows lead to."""
    hull = {
        name: (float(np.min(values)), float(np.max(values)))
        for name, values in reach(windows.load).items()
    }
    return DeviceProfile(
        sheet=sheet,
        origin=origin,
        constants=fit.constants,
        scatter=fit.scatter,
        unidentified=fit.unidentified,
        waits=dict(fit.waits),
        band=band,
        hull=hull,
        windows=len(windows),
        models=len(set(windows.groups)),
        kind=Kind.MODELLED,
    )


def unseen(sheet: Datasheet, band: Band) -> DeviceProfile:
    """What a datasheet alone leads to, as wide as such predictions have been found to be."""
    return DeviceProfile(
        sheet=sheet,
        origin=Origin(
            engine="an engine that nobody measured",
            boundary="device",
            batching="continuous",
            source=f"datasheet: {sheet.source}",
        ),
        constants=sheet.usual,
        scatter={},
        unidentified=Constants.names(),
        waits={},
        band=band,
        hull={},
        windows=0,
        models=0,
        kind=Kind.ASSUMED,
    )


def read_profile(text: str, *, place: str) -> DeviceProfile:
    """A profile from JSON.

    Args:
        text: What was kept.
        place: Where, for the message.

    Raises:
        UsageError: it is not one, or of another version.
    """
    again = "calibrate the device again with `negawatt calibrate`"
    try:
        found = decode(DeviceProfile, json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{place} is not the profile of a device: {error}", fix=again) from error
    if found.version != VERSION:
        raise UsageError(f"{place} is of version {found.version}, this is {VERSION}", fix=again)
    found.constants.logs()  # refuses what is not above nought
    if not all(math.isfinite(f) and f >= 1 for f in (found.band.joules, found.band.seconds)):
        raise UsageError(f"{place} has a band below 1", fix=again)
    return found


def kept_profiles(folder: Path) -> dict[str, DeviceProfile]:
    """Profiles kept in a folder, by name; of several for one device, the one written last."""
    return _read(folder)[0]


def refused_profiles(folder: Path) -> tuple[str, ...]:
    """Why files of a folder are not among its profiles, one sentence part each."""
    return _read(folder)[1]


def _read(folder: Path) -> tuple[dict[str, DeviceProfile], tuple[str, ...]]:
    found, refused = {}, []
    files = [(file.stat().st_mtime, file) for file in folder.glob("profile-*.json")]
    for _, file in sorted(files):
        try:
            profile = read_profile(file.read_text(encoding="utf-8"), place=file.name)
        except (OSError, UsageError) as error:
            refused.append(error.what if isinstance(error, UsageError) else str(error))
            continue  # calibrating again writes it anew
        found[profile.name] = profile
    return found, tuple(refused)
