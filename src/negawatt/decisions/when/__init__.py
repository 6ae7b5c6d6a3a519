"""When to run: pure functions from a job and a signal to a schedule with its reason.

job + outlook         ->  rates between edges, from release to deadline        (field)
rates                 ->  the best runs: through, freely, programmed, spread   (through, pieces,
                                                                                stops, spread)
runs                  ->  a schedule, why, and what would change it            (schedule, reasons)
no forecast           ->  now, or reading by reading                           (unforeseen)
"""

from negawatt.decisions.when.records import Alternative, Job, Schedule, Stretch
from negawatt.decisions.when.schedule import schedule
from negawatt.decisions.when.unforeseen import Go, Progress, follow, go, schedule_without
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
    "Go",
    "Job",
    "Progress",
    "Scan",
    "Schedule",
    "Stretch",
    "cheapest",
    "contiguous",
    "follow",
    "go",
    "scan",
    "scan_cheapest",
    "schedule",
    "schedule_without",
    "window_sums",
]
