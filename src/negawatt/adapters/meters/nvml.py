"""NVIDIA GPUs, through NVML (package `nvidia-ml-py`).

Boards since Volta count energy; older ones report power alone, which is then sampled while a
window is open. Both are the whole board: chip, memory and voltage regulators. A board that is cut
into MIG slices is told whole and says so, because no slice has a counter; a virtual GPU is told not
at all.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules, Watts

_J_PER_MJ = 1e-3  # NVML counts millijoules
_W_PER_MW = 1e-3  # and milliwatts
_GUEST = 2  # NVML_GPU_VIRTUALIZATION_MODE_VGPU: this machine has a virtual GPU
_NOT_FOUND = 6  # NVML_ERROR_NOT_FOUND: no sample since then
_NO_LIMIT = Watts(2000.0)  # more than any one board draws
_SHARED = "whole board; MIG slices share it, and how is unknown"


#: The `pynvml` module, which publishes no types. Used of it: `NVMLError`, `nvmlInit`,
#: `nvmlDeviceGetCount`, `nvmlDeviceGetHandleByIndex`, `nvmlDeviceGetTotalEnergyConsumption`,
#: `nvmlDeviceGetPowerUsage`, `nvmlDeviceGetEnforcedPowerLimit` and, where the driver has them,
#: `nvmlDeviceGetMigMode`, `nvmlDeviceGetVirtualizationMode` and `nvmlDeviceGetProcessUtilization`.
Nvml = Any


def _failed(index: int, error: Exception) -> MeterUnavailable:
    return MeterUnavailable(
        f"GPU {index} did not answer: {error}",
        fix="see what `nvidia-smi` says; a GPU that fell off the bus needs a restart",
    )


class NvmlCounter:
    """The energy counter of one GPU."""

    def __init__(self, nvml: Nvml, index: int, handle: object) -> None:
        self._nvml, self._index, self._handle = nvml, index, handle
        self.label = _label(nvml, handle)
        self._lock = threading.Lock()
        self._last_mj: int | None = None
        self._seen_us = 0  # of the newest sample of processes, on the driver's clock

    @property
    def name(self) -> str:
        """`nvml:` and the GPU's index in NVML's order, which is that of the PCI bus."""
        return f"nvml:{self._index}"

    @property
    def boundary(self) -> str:
        """`gpu:` and the same index."""
        return f"gpu:{self._index}"

    def energy(self) -> Joules:
        """Energy of the board since the driver was loaded.

        Raises:
            MeterUnavailable: the GPU does not answer, or the driver was reloaded in between.
        """
        with self._lock:
            try:
                now_mj = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
            except self._nvml.NVMLError as error:
                raise _failed(self._index, error) from error
            before_mj, self._last_mj = self._last_mj, now_mj
        if before_mj is not None and now_mj < before_mj:
            raise MeterUnavailable(
                f"the energy counter of GPU {self._index} went from {before_mj} to {now_mj} mJ: "
                f"the driver was reloaded",
                fix="measure again; the energy of this window is unknown",
            )
        return Joules(now_mj * _J_PER_MJ)

    def processes(self) -> dict[int, float]:
        """Share of the time since the last call in which each process ran, by its number. [%]

        The driver samples about six times a second and tells whole percent, in the numbers of the
        host where a container has its own. Nobody ran where it is empty.

        Raises:
            MeterUnavailable: the driver does not tell, or the GPU does not answer.
        """
        with self._lock:
            try:
                samples = self._nvml.nvmlDeviceGetProcessUtilization(self._handle, self._seen_us)
            except self._nvml.NVMLError as error:
                if getattr(error, "value", None) == _NOT_FOUND:
                    return {}
                raise _failed(self._index, error) from error
            self._seen_us = max((s.timeStamp for s in samples), default=self._seen_us)
        return {int(sample.pid): float(sample.smUtil) for sample in samples}


class NvmlGauge:
    """The power reading of one GPU that has no energy counter."""

    def __init__(self, nvml: Nvml, index: int, handle: object) -> None:
        self._nvml, self._index, self._handle = nvml, index, handle
        self.label = _label(nvml, handle)

    @property
    def name(self) -> str:
        """`nvml:` and the GPU's index."""
        return f"nvml:{self._index}"

    @property
    def boundary(self) -> str:
        """`gpu:` and the same index."""
        return f"gpu:{self._index}"

    @property
    def limit(self) -> Watts:
        """The power limit that is in force; more than any board draws where none is told."""
        try:
            return self._watts(self._nvml.nvmlDeviceGetEnforcedPowerLimit)
        except MeterUnavailable:
            return _NO_LIMIT

    def power(self) -> Watts:
        """Power of the board now; newer boards average it over a second."""
        return self._watts(self._nvml.nvmlDeviceGetPowerUsage)

    def _watts(self, read: Any) -> Watts:
        try:
            return Watts(read(self._handle) * _W_PER_MW)
        except self._nvml.NVMLError as error:
            raise _failed(self._index, error) from error


def _library() -> Nvml:
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise MeterUnavailable(
            "NVIDIA GPUs are read through nvidia-ml-py, which is not installed",
            fix="if this machine has one: pip install 'negawatt[nvml]'",
        ) from error


def _mode(nvml: Nvml, question: str, handle: object) -> Any:
    """What a driver says about how a GPU is shared; None when it knows no such thing."""
    try:
        return getattr(nvml, question)(handle)
    except (AttributeError, nvml.NVMLError):
        return None


def _label(nvml: Nvml, handle: object) -> str:
    """A word of warning where MIG is on: energy and power are the whole board's all the same."""
    now = _mode(nvml, "nvmlDeviceGetMigMode", handle)  # [current, pending]
    return _SHARED if now and now[0] else ""


def _meter(nvml: Nvml, index: int) -> NvmlCounter | NvmlGauge | None:
    """The best way to read one GPU; None when it offers no way."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    if _mode(nvml, "nvmlDeviceGetVirtualizationMode", handle) == _GUEST:
        return None  # whatever a guest is told, its share of the board is not in it
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        try:
            nvml.nvmlDeviceGetPowerUsage(handle)
        except nvml.NVMLError:
            return None
        return NvmlGauge(nvml, index, handle)
    return NvmlCounter(nvml, index, handle)


def discover(nvml: Nvml | None = None) -> list[NvmlCounter | NvmlGauge]:
    """One meter for each GPU that reports energy or power.

    Args:
        nvml: The `pynvml` module; imported when None.

    Raises:
        MeterUnavailable: no library, no driver, no GPU, or none that can be read.
    """
    library = nvml or _library()
    try:
        library.nvmlInit()
        found = [_meter(library, index) for index in range(library.nvmlDeviceGetCount())]
    except library.NVMLError as error:
        raise MeterUnavailable(
            f"the NVIDIA driver does not answer: {error}",
            fix="see what `nvidia-smi` says; in a container, start it with --gpus all",
        ) from error
    if not found:
        raise MeterUnavailable(
            "the NVIDIA driver is loaded and lists no GPU",
            fix="see what `nvidia-smi -L` lists; in a container, start it with --gpus all",
        )
    dumb = [index for index, meter in enumerate(found) if meter is None]
    if dumb:
        raise MeterUnavailable(
            f"GPU {', '.join(map(str, dumb))} tells no energy and no power of its own (a "
            f"virtual GPU, or a very old board)",
            fix="measure on the host, or hide that GPU from this process",
        )
    return [meter for meter in found if meter is not None]
