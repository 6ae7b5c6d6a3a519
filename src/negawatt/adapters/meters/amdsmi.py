"""AMD GPUs, through AMD SMI (package `amdsmi`, with the library that the ROCm driver brings).

Instinct boards count energy; others tell power alone, which is then sampled. Both are the whole
board, however many partitions it is split into. Boundaries carry the address of the board, as
those of hwmon do, so that a board is counted once.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negawatt.adapters.meters.checked import Rising, number, watts
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules, Watts

DRIVER = Path("/sys/module/amdgpu")

_J_PER_UJ = 1e-6
_MICRO = 10_000  # a power cap above this is in µW, as it is from version 6.4 on; below in W
_SHARED = "whole board; its partitions share it, and how is unknown"

#: The `amdsmi` module, which publishes no types. Used of it: `AmdSmiException`, `amdsmi_init`,
#: `amdsmi_get_processor_handles`, `amdsmi_get_gpu_device_bdf`, `amdsmi_get_energy_count`,
#: `amdsmi_get_power_info` and `amdsmi_get_power_cap_info`.
Amdsmi = Any


def _failed(bdf: str, error: Exception) -> MeterUnavailable:
    told = " ".join(str(error).split())
    return MeterUnavailable(
        f"GPU {bdf} did not answer: {told}",
        fix="see what `amd-smi list` says; the user must be in the groups render and video",
    )


class AmdCounter:
    """The energy counter of one board."""

    def __init__(self, library: Amdsmi, handle: object, bdf: str, *, label: str = "") -> None:
        self._library, self._handle, self._bdf = library, handle, bdf
        self.name, self.boundary, self.label = f"amdsmi:{bdf}", f"gpu:{bdf}", label
        self.resolution_j = _resolution_j(library, handle)
        self._rising = Rising(self.name, cause="the driver was loaded anew")

    def energy(self) -> Joules:
        """Energy of the board since the driver was loaded.

        Raises:
            MeterUnavailable: the GPU does not answer, or its driver was loaded anew.
        """
        try:
            count = self._library.amdsmi_get_energy_count(self._handle)
        except self._library.AmdSmiException as error:
            raise _failed(self._bdf, error) from error
        return self._rising.take(_accumulated(count) * self.resolution_j)


class AmdGauge:
    """The power reading of one board that counts no energy."""

    def __init__(self, library: Amdsmi, handle: object, bdf: str, *, label: str = "") -> None:
        self._library, self._handle, self._bdf = library, handle, bdf
        self.name, self.boundary, self.label = f"amdsmi:{bdf}", f"gpu:{bdf}", label
        self.limit = _cap(library, handle) or Watts(1000.0)

    def power(self) -> Watts:
        """Power of the board now, or over the firmware's own averaging time.

        Raises:
            MeterUnavailable: the GPU does not answer.
        """
        try:
            info = self._library.amdsmi_get_power_info(self._handle)
        except self._library.AmdSmiException as error:
            raise _failed(self._bdf, error) from error
        told = _power(info)
        return watts("nothing" if told is None else told, self.name)


def _accumulated(count: Mapping[str, Any]) -> float:
    """The raw count, under the name that the installed version gives it."""
    return number(count.get("energy_accumulator", count.get("power")), "the energy count")


def _resolution_j(library: Amdsmi, handle: object) -> float:
    """Joules of one count; 15.3 µJ on the boards that count."""
    count = library.amdsmi_get_energy_count(handle)
    return number(count.get("counter_resolution"), "the counter's resolution") * _J_PER_UJ


def _power(info: Mapping[str, Any]) -> float | None:
    """The power in watts; None when no field tells it."""
    for key in ("current_socket_power", "average_socket_power", "socket_power"):
        told = info.get(key)
        if isinstance(told, int | float) and told not in (0xFFFF, 0xFFFFFFFF):
            return float(told)
    return None


def _cap(library: Amdsmi, handle: object) -> Watts | None:
    """The power cap; None for graphics inside a processor, which have none of their own."""
    try:
        cap = library.amdsmi_get_power_cap_info(handle).get("power_cap")
    except library.AmdSmiException:
        return None
    if not isinstance(cap, int | float) or cap <= 0:
        return None
    return Watts(cap * 1e-6 if cap > _MICRO else cap)


def _library() -> Amdsmi:
    said = io.StringIO()  # without its library the package prints, then fails with a KeyError
    try:
        with contextlib.redirect_stdout(said):
            return importlib.import_module("amdsmi")
    except ImportError as error:
        raise MeterUnavailable(
            "AMD GPUs are read best through amdsmi, which is not installed",
            fix="pip install 'negawatt[amdsmi]'",
        ) from error
    except (OSError, KeyError, AttributeError) as error:
        raise MeterUnavailable(
            f"the package amdsmi finds no AMD SMI library that fits it ({error})",
            fix="install the library of your ROCm version (on Debian and Ubuntu: amd-smi-lib), "
            "or the package that came with it: pip install /opt/rocm/share/amd_smi",
        ) from error


def _meter(library: Amdsmi, handle: object, bdf: str, label: str) -> AmdCounter | AmdGauge | None:
    """The best way to read a board; None for what draws in another board or in the processor."""
    secondary = False
    try:
        count = _accumulated(library.amdsmi_get_energy_count(handle))
        if count > 0:
            return AmdCounter(library, handle, bdf, label=label)
        secondary = True  # the second die of a board: the first one counts for both
    except (library.AmdSmiException, MeterUnavailable):
        pass
    try:
        told = _power(library.amdsmi_get_power_info(handle))
    except library.AmdSmiException as error:
        raise _failed(bdf, error) from error
    if told:
        inside = _cap(library, handle) is None
        return None if inside else AmdGauge(library, handle, bdf, label=label)
    if secondary:
        return None
    raise MeterUnavailable(
        f"GPU {bdf} reports neither energy nor power (a virtual GPU, or a very old board)",
        fix="measure on the host, or hide that GPU from this process",
    )


def discover(
    library: Amdsmi | None = None, *, driver: Path = DRIVER
) -> list[AmdCounter | AmdGauge]:
    """One meter for each board; none where no AMD driver is loaded.

    Args:
        library: The `amdsmi` module; imported when None.
        driver: The folder that is there when the driver is.

    Raises:
        MeterUnavailable: no library, no answer, or a board that cannot be read.
    """
    if library is None:
        if not driver.is_dir():
            return []
        library = _library()
    boards: dict[str, list[tuple[str, object]]] = {}
    try:
        library.amdsmi_init()
        for handle in library.amdsmi_get_processor_handles():
            bdf = str(library.amdsmi_get_gpu_device_bdf(handle)).lower()
            boards.setdefault(bdf.rpartition(".")[0], []).append((bdf, handle))
    except library.AmdSmiException as error:
        raise _failed("(any)", error) from error
    found = [
        _meter(library, parts[0][1], parts[0][0], _SHARED if len(parts) > 1 else "")
        for parts in boards.values()
    ]
    return [meter for meter in found if meter is not None]
