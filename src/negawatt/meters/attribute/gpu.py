"""Share the reading of a graphics board among the processes that ran on it.

NVIDIA's driver tells for each process the share of recent time in which its kernels ran
(`nvmlDeviceGetProcessUtilization`), in whole percent. A board that switches between processes runs
one at a time, so these sum to at most 100 %; under MPS or MIG they run side by side, the sum means
nothing, and the driver's figures are refused rather than scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.meters.attribute.account import Account, Rest, Use, fitting, not_negative
from negawatt.meters.attribute.divide import divide

_WHOLE = 100.0  # percent of the time
_BLUR = 1.0  # the driver tells whole percent


@runtime_checkable
class ProcessGauge(Protocol):
    """A board that tells which processes run on it; NVML's energy counters do."""

    def processes(self) -> Mapping[int, float]:
        """Share of recent time in which each process ran, by its number. [%]

        Raises:
            MeterUnavailable: the board or its driver does not tell.
        """


def by_gpu_use(
    device: Estimate, samples: Sequence[Mapping[int, float]], *, rest: Rest | None
) -> Account:
    """Share the reading of a board by the time its processes ran on it.

    Args:
        device: What the board drew over the time of the samples. [J]
        samples: What `ProcessGauge.processes` said, at even intervals; a process that is not in a
            sample did not run then. [%]
        rest: What the board would have drawn anyway, and who bears it. None says that this is not
            known: the time in which nothing ran then counts as idle, as dear as any other.

    Raises:
        UsageError: there is no sample, or one is negative or not a number.
        NotConserved: the processes of a sample ran for more than all of the time.

    >>> reading = Estimate.exact(300.0, unit="J", source="nvml:0", boundary="gpu:0")
    >>> still = Rest(Estimate.exact(100.0, unit="J", source="nvml:0"))
    >>> account = by_gpu_use(reading, [{7: 60, 9: 30}, {7: 60}], rest=still)
    >>> {name: part.value for name, part in account.parts.items()}, account.idle.value
    ({'7': 160.0, '9': 40.0}, 100.0)
    """
    if not samples:
        raise UsageError(
            "no sample says what ran on the board",
            fix="ask for its processes a few times a second while the reading is taken",
        )
    flags: tuple[str, ...] = ()
    for sample in samples:
        not_negative("the share of a process", *sample.values())
        flags += fitting(
            math.fsum(sample.values()),
            _WHOLE,
            slack=_BLUR * len(sample),
            what="time of processes, of the board",
            unit="%",
            fix="they ran side by side (MPS, MIG): share the board by weights of your own",
        )
    numbers = sorted({number for sample in samples for number in sample})
    mean = {
        str(number): math.fsum(sample.get(number, 0.0) for sample in samples) / len(samples)
        for number in numbers
    }
    waited = max(0.0, _WHOLE - math.fsum(mean.values()))
    if rest is None:
        flags += ("power at rest is not known: idle time counts as dear as any other",)
    use = Use(mean, idle=waited, blur=_BLUR if mean else 0.0)
    return divide(
        device, use, rule="time on the board", rest=rest, flags=tuple(dict.fromkeys(flags))
    )
