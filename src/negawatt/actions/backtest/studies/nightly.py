"""Let's Wait Awhile, scenario I: a half-hour job every night at one, that may run earlier or later.

The published result is the mean intensity, and what it falls by, for windows of so many half-hours
to either side. A job that would have to run before the year begins is left out, as published.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from negawatt.actions.backtest.policies import NOISY, Choice, Shape
from negawatt.actions.backtest.records import Jobs
from negawatt.actions.backtest.running import run
from negawatt.actions.backtest.studies.awhile import A_DAY, from_new_year
from negawatt.decisions.backtests import Nightly
from negawatt.signals.series import Series

_ONE = 2  # o'clock, in slots
_NIGHTS = 365


def nightly(
    series: Series, *, error: float = 0.05, seeds: int = 10, windows: Sequence[int] = range(17)
) -> Nightly:
    """The study: every window, with the noise of each seed.

    Args:
        series: With the year's first slot; noise is drawn from there to its end.
        error: Deviation over the mean. [1]
        seeds: Where the error is above 0.
        windows: In half-hours to either side.

    Raises:
        UsageError: the signal does not hold a year's beginning.
    """
    place, year = from_new_year(series)
    mean, nights = [], []
    for window in windows:
        release = np.arange(_NIGHTS) * A_DAY + _ONE - window
        release = release[release >= 0]
        jobs = Jobs(
            release=release,
            steps=np.ones(len(release)),
            deadline=release + 2 * window + 1,
            power_w=np.full(len(release), 2e3),  # 1 kWh in half an hour
        )
        done = run([place], jobs, Choice(Shape.CONTIGUOUS, NOISY, error, seeds if error else 1))
        mean.append(float(done.grams.mean()))
        nights.append(len(release))
    return Nightly(
        zone=series.zone,
        year=year,
        error=error,
        windows_h=tuple(window / 2 for window in windows),
        intensity=tuple(mean),
        saving=tuple(1.0 - value / mean[0] for value in mean),
        published=tuple(
            1.0 - value * count / (mean[0] * _NIGHTS)
            for value, count in zip(mean, nights, strict=True)
        ),
        nights=tuple(nights),
    )
