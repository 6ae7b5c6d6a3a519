"""`pynvml` as far as it is used, its spelling and its way of failing included."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

NOT_SUPPORTED, NOT_FOUND, GPU_IS_LOST, LIBRARY_NOT_FOUND = 3, 6, 15, 12


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


@dataclass(frozen=True)
class Ran:
    """One sample of one process, in NVML's spelling."""

    pid: int
    timeStamp: int  # noqa: N815  # [µs]
    smUtil: int  # noqa: N815  # [%]


class Gpu:
    """What one board answers; an int in place of an answer is the error it gives."""

    def __init__(
        self,
        energy_mj: int | NVMLError,
        power_mw: int | NVMLError = 70_000,
        *,
        mig: bool = False,
        virtualization: int = 0,
    ) -> None:
        self.energy_mj, self.power_mw = energy_mj, power_mw
        self.mig, self.virtualization = mig, virtualization
        self.ran: list[Ran] | NVMLError = NVMLError(NOT_SUPPORTED)


class Library(ModuleType):
    """`pynvml` as far as it is used, its spelling and its way of failing included."""

    NVMLError = NVMLError

    def __init__(self, *gpus: Gpu, init: NVMLError | None = None) -> None:
        super().__init__("pynvml")
        self.gpus, self.init = gpus, init

    @staticmethod
    def answer(value: int | NVMLError) -> int:
        if isinstance(value, NVMLError):
            raise value
        return value

    def nvmlInit(self) -> None:  # noqa: N802
        if self.init is not None:
            raise self.init

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:  # noqa: N802
        return self.gpus[index]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: Gpu) -> int:  # noqa: N802
        return self.answer(gpu.energy_mj)

    def nvmlDeviceGetPowerUsage(self, gpu: Gpu) -> int:  # noqa: N802
        return self.answer(gpu.power_mw)

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: Gpu) -> int:  # noqa: N802
        return 300_000

    def nvmlDeviceGetMigMode(self, gpu: Gpu) -> list[int]:  # noqa: N802
        if gpu.mig:
            return [1, 1]
        raise NVMLError(NOT_SUPPORTED)

    def nvmlDeviceGetProcessUtilization(self, gpu: Gpu, since_us: int) -> list[Ran]:  # noqa: N802
        if isinstance(gpu.ran, NVMLError):
            raise gpu.ran
        newer = [ran for ran in gpu.ran if ran.timeStamp > since_us]
        if not newer:
            raise NVMLError(NOT_FOUND)
        return newer

    def nvmlDeviceGetVirtualizationMode(self, gpu: Gpu) -> int:  # noqa: N802
        return gpu.virtualization
