"""On-site solar, battery, cooling and water: pure functions from a site to how it is run."""

from negawatt.decisions.site.building import Built, Limits, Making, Sizing
from negawatt.decisions.site.flows import Beside, Flows, Operation
from negawatt.decisions.site.operate import operate, run_now
from negawatt.decisions.site.records import Battery, Site
from negawatt.decisions.site.rehearse import Outlook, Rehearsed, rehearse, yesterday
from negawatt.decisions.site.size import size

__all__ = [
    "Battery",
    "Beside",
    "Built",
    "Flows",
    "Limits",
    "Making",
    "Operation",
    "Outlook",
    "Rehearsed",
    "Site",
    "Sizing",
    "operate",
    "rehearse",
    "run_now",
    "size",
    "yesterday",
]
