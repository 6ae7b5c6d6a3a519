"""When to run: pure functions from a job and a signal to a schedule with its reason.

job + outlook         ->  rates between edges, from release to deadline    (field)
rates                 ->  the best runs: of one window, of cells, of stretches with restarts, of
                          nodes over time                   (through, pieces, stops, spread)
runs                  ->  a schedule, why, and what would change it        (schedule, reasons)
jobs + outlook        ->  all at once, limits of power and places kept     (many: bulk, limits)
no forecast           ->  now, or reading by reading                       (unforeseen)
columns               ->  lowest windows and cheapest slots, for anybody   (windows)
"""

from negawatt.decisions.when.field import Field, Run, Runs, field
from negawatt.decisions.when.jitter import jittered, seed_of
from negawatt.decisions.when.many import Plans, Refused, plan_many
from negawatt.decisions.when.records import Alternative, Job, Schedule, Stretch
from negawatt.decisions.when.schedule import Choice, best, choices, described, schedule
from negawatt.decisions.when.unforeseen import (
    ANYWHERE,
    Go,
    Progress,
    follow,
    go,
    schedule_without,
)
from negawatt.decisions.when.windows import (
    Scan,
    cheapest,
    contiguous,
    scan,
    scan_cheapest,
    window_sums,
)

__all__ = [
    "ANYWHERE",
    "Alternative",
    "Choice",
    "Field",
    "Go",
    "Job",
    "Plans",
    "Progress",
    "Refused",
    "Run",
    "Runs",
    "Scan",
    "Schedule",
    "Stretch",
    "best",
    "cheapest",
    "choices",
    "contiguous",
    "described",
    "field",
    "follow",
    "go",
    "jittered",
    "plan_many",
    "scan",
    "scan_cheapest",
    "schedule",
    "schedule_without",
    "seed_of",
    "window_sums",
]
