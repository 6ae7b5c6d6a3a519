"""Published experiments, by their own protocols, and by stricter ones beside them."""

from negawatt.actions.backtest.studies.awhile import Awhile, AwhileRow, lets_wait_awhile
from negawatt.actions.backtest.studies.limits import Limits, Means, limits
from negawatt.actions.backtest.studies.nightly import Nightly, nightly

__all__ = [
    "Awhile",
    "AwhileRow",
    "Limits",
    "Means",
    "Nightly",
    "lets_wait_awhile",
    "limits",
    "nightly",
]
