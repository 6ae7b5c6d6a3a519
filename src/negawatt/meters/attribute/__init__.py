"""Whose energy was it? One reading shared among phases, processes, containers or requests.

    >>> from negawatt.core.estimate import Estimate
    >>> from negawatt.meters.attribute import PhaseSpan, by_time
    >>> reading = Estimate.exact(12.0, unit="J", source="nvml:0", boundary="gpu:0")
    >>> account = by_time(reading, [PhaseSpan("decode", 1.0, 4.0)], period=(0.0, 4.0))
    >>> str(account.parts["decode"]), str(account.idle)
    ('9 J (modelled)', '3 J (modelled)')

Whatever the key, parts, idle and unattributed sum to the reading, and nothing is scaled to fit.
"""

from __future__ import annotations

from negawatt.meters.attribute.account import Account, NotConserved, Rest, Use
from negawatt.meters.attribute.containers import (
    GroupSnapshot,
    GroupUse,
    by_container,
    by_member,
    read_groups,
)
from negawatt.meters.attribute.divide import divide
from negawatt.meters.attribute.gpu import ProcessGauge, by_gpu_use
from negawatt.meters.attribute.phases import PhaseSpan, by_time, by_windows
from negawatt.meters.attribute.processes import (
    CpuSnapshot,
    CpuUse,
    Process,
    by_cpu_time,
    read_cpu,
    used,
)
from negawatt.meters.attribute.requests import (
    EngineStep,
    RequestAccount,
    SequenceWork,
    StepCosts,
    by_request,
)

__all__ = [
    "Account",
    "CpuSnapshot",
    "CpuUse",
    "EngineStep",
    "GroupSnapshot",
    "GroupUse",
    "NotConserved",
    "PhaseSpan",
    "Process",
    "ProcessGauge",
    "RequestAccount",
    "Rest",
    "SequenceWork",
    "StepCosts",
    "Use",
    "by_container",
    "by_cpu_time",
    "by_gpu_use",
    "by_member",
    "by_request",
    "by_time",
    "by_windows",
    "divide",
    "read_cpu",
    "read_groups",
    "used",
]
