"""Published experiments, by their own protocols, and by stricter ones beside them."""

from negawatt.actions.backtest.studies.awhile import lets_wait_awhile
from negawatt.actions.backtest.studies.limits import limits
from negawatt.actions.backtest.studies.nightly import nightly

__all__ = ["lets_wait_awhile", "limits", "nightly"]
