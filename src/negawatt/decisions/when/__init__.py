"""When to run: pure functions from a job and a signal to a schedule with its reason."""

from negawatt.decisions.when.records import Alternative, Job, Schedule, Stretch
from negawatt.decisions.when.windows import (
    Scan,
    cheapest,
    contiguous,
    scan,
    scan_cheapest,
    window_sums,
)

__all__ = [
    "Alternative",
    "Job",
    "Scan",
    "Schedule",
    "Stretch",
    "cheapest",
    "contiguous",
    "scan",
    "scan_cheapest",
    "window_sums",
]
