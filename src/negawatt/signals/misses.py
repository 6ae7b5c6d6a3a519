"""How a provider's forecasts missed before, as the interval of its next one.

Providers tell a value and not how sure it is. Two weeks of what they foresaw, beside what then
happened, tell it: nine misses in ten lay between the two ends that are taken here, for hours as
far ahead as the ones they are put on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.grid import Topic
from negawatt.signals.series import Column, Series
from negawatt.signals.spread import spread

LEAST = timedelta(days=7)  # of forecasts; fewer tell too little
_ENOUGH = timedelta(days=14)
_TAIL, _SHORT_TAIL = 0.04, 0.03  # of each side, calibrated on real day-ahead forecasts
_FEWEST = 40  # misses that an end is told from
#: Hours ahead that are taken together.
_EDGES = (0.0, 6.0, 24.0, 48.0, np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Misses:
    """What happened less what was foreseen.

    Args:
        lead_h: How far ahead of its step each forecast was made. [h]
        error: In the unit of the signal.
        span: From the first forecast to the last.
    """

    lead_h: Column
    error: Column
    span: timedelta


def misses(forecasts: Sequence[Series], past: Series) -> Misses | None:
    """How forecasts missed what then happened; None where too few of them are over.

    Args:
        forecasts: In the order of their issue.
        past: What happened, of the same signal.

    Raises:
        UsageError: they are of another signal.
    """
    leads, errors = [], []
    for forecast in forecasts:
        forecast.same_signal(past)
        if forecast.issued_at is None:
            continue
        try:
            real = spread(past, forecast.start, forecast.end).resampled(forecast.step)
        except UsageError:  # steps that are no whole numbers of each other
            continue
        if real.start != forecast.start or len(real) != len(forecast):
            continue
        first = (forecast.start - forecast.issued_at).total_seconds() / 3600
        leads.append(first + np.arange(len(forecast)) * forecast.step_s / 3600)
        errors.append(real.values - forecast.values)
    if not errors:
        return None
    lead, error = np.concatenate(leads), np.concatenate(errors)
    known = ~np.isnan(error)
    issued = [one.issued_at for one in forecasts if one.issued_at is not None]
    return Misses(np.maximum(lead[known], 0.0), error[known], issued[-1] - issued[0])


def banded(forecast: Series, known: Misses | None) -> Series:
    """The forecast with an interval for nine hours in ten; as it is, where that cannot be told.

    A forecast that has an interval keeps it. The interval holds the forecast itself, also where
    all its errors lay on one side.

    Args:
        forecast: Of a provider.
        known: How it missed before.
    """
    if known is None or forecast.low is not None or forecast.issued_at is None:
        return forecast
    if known.span < LEAST:
        return forecast
    tail = _TAIL if known.span >= _ENOUGH else _SHORT_TAIL
    lead = _leads(forecast, forecast.issued_at)
    low, high = np.full(len(forecast), np.nan), np.full(len(forecast), np.nan)
    for least, most in pairwise(_EDGES):
        wanted = (lead >= least) & (lead < most)
        like = known.error[(known.lead_h >= least) & (known.lead_h < most)]
        if wanted.any() and len(like) < _FEWEST:
            return forecast  # so far ahead, nothing of it is over yet
        if wanted.any():
            ends = np.quantile(like, [tail, 1 - tail])
            low[wanted], high[wanted] = forecast.values[wanted][None] + ends[:, None]
    if forecast.topic is Topic.CARBON:
        low = np.maximum(low, 0.0)
    return replace(forecast, low=np.fmin(low, forecast.values), high=np.fmax(high, forecast.values))


def _leads(forecast: Series, issued: datetime) -> Column:
    first = (forecast.start - issued).total_seconds() / 3600
    return np.maximum(first + np.arange(len(forecast)) * forecast.step_s / 3600, 0.0)
