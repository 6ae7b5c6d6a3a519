"""Devices by name: those calibrated here, those carried with the package, those known by datasheet alone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from negawatt.core.errors import UsageError
from negawatt.energy.devices import Datasheet, known_datasheets
from negawatt.energy.left_out import Band
from negawatt.energy.profiles import (
    DeviceProfile,
    kept_profiles,
    read_profile,
    refused_profiles,
    unseen,
)

_SHOWN = 8  # names in an error


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Devices that a prediction can be made for.

    Args:
        measured: Profiles from windows, by name of the device.
        sheets: Datasheets, by name of the device.
        refused: Why kept profiles could not be read.
    """

    measured: Mapping[str, DeviceProfile]
    sheets: Mapping[str, Datasheet]
    refused: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all devices, measured ones first."""
        return (*self.measured, *(name for name in self.sheets if name not in self.measured))

    def find(self, name: str) -> DeviceProfile:
        """The device of a name, of which case and dashes do not matter and an end may be missing.

        Where several begin so, the one that was measured is meant.

        Raises:
            UsageError: there is none, or there are several.

        >>> catalogue().find("h100").name
        'H100-SXM5-80GB'
        >>> catalogue().find("rtx 4090").windows
        0
        """
        wanted = _plain(name)
        found = [known for known in self.names if _plain(known) == wanted]
        found = found or [
            known for known in self.names if wanted and _plain(known).startswith(wanted)
        ]
        found = found or [known for known in self.names if wanted and wanted in _plain(known)]
        measured = [known for known in found if known in self.measured]
        chosen = found if len(found) == 1 else measured
        if len(chosen) == 1:
            return self._profile(chosen[0])
        if found:
            raise UsageError(
                f"{len(found)} devices are called {name}", fix=f"name one of {_listed(found)}"
            )
        left_out = f" ({'; '.join(self.refused)})" if self.refused else ""
        raise UsageError(
            f"no device called {name!r} is known{left_out}",
            fix=f"name one of {_listed(self.names)}, or measure it with `negawatt calibrate` on it",
        )

    def _profile(self, name: str) -> DeviceProfile:
        return self.measured.get(name) or unseen(self.sheets[name], unseen_band())


def catalogue(folder: Path | None = None) -> Catalogue:
    """All devices that are known here.

    Args:
        folder: Where calibrations are kept; what was measured here goes before what is carried.
    """
    if folder is None:
        return Catalogue(carried_profiles(), known_datasheets())
    measured = {**carried_profiles(), **kept_profiles(folder)}
    return Catalogue(measured, known_datasheets(), refused_profiles(folder))


@cache
def carried_profiles() -> Mapping[str, DeviceProfile]:
    """Profiles that come with the package, by name of the device."""
    found = {}
    for file in sorted(_data().joinpath("profiles").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            profile = read_profile(file.read_text(encoding="utf-8"), place=file.name)
            found[profile.name] = profile
    return found


@cache
def unseen_band() -> Band:
    """How far predictions from a datasheet alone have been off, devices left out in turn.

    >>> unseen_band().joules > 1.5
    True
    """
    told = tomllib.loads(_data().joinpath("unseen.toml").read_text(encoding="utf-8"))
    return Band(
        share=told["share"], joules=told["joules"]["value"], seconds=told["seconds"]["value"]
    )


def _data() -> Traversable:
    return files("negawatt") / "data" / "devices"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
