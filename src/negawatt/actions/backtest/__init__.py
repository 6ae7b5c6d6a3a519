"""Policies tried on what happened: what each would have emitted, had it known what was known then."""

from negawatt.actions.backtest.engine import backtest
from negawatt.actions.backtest.policies import Choice, Shape
from negawatt.actions.backtest.records import Jobs, Place

__all__ = ["Choice", "Jobs", "Place", "Shape", "backtest"]
