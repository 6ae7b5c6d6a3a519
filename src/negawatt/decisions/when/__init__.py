"""When to run: pure functions from a job and a signal to a schedule with its reason."""

from negawatt.decisions.when.records import Alternative, Job, Schedule, Stretch

__all__ = ["Alternative", "Job", "Schedule", "Stretch"]
