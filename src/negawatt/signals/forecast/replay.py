"""What would have been foreseen at many past moments, each from what was known then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.core.grid import Status, Topic, utc
from negawatt.signals.forecast.base import Past, Places, Table, Way, past_of
from negawatt.signals.forecast.intervals import LOOK_BACK, band
from negawatt.signals.series import Series


def replay(
    way: Way, history: Series, issues: Sequence[datetime], length: timedelta
) -> list[Series | None]:
    """The forecasts that a way would have issued: those of `foresee` at each moment, but faster.

    Args:
        way: How to foresee; `Ridge()`, `HourMean()`.
        history: Long enough to hold the issues.
        issues: Moments at which a step of the history begins, or the one when it ends.
        length: How far each looks.

    Returns:
        One forecast for each moment; None where too little was known for this way.

    Raises:
        UsageError: a moment lies outside the history or between its steps.
        SignalUnavailable: the history has no value at all.

    >>> import numpy as np
    >>> from datetime import UTC
    >>> from negawatt.signals.forecast.baselines import Persistence
    >>> past = Series(
    ...     zone="DE",
    ...     topic=Topic.PRICE,
    ...     unit="EUR/MWh",
    ...     basis=None,
    ...     source="file",
    ...     status=Status.MEASURED,
    ...     start=datetime(2026, 1, 1, tzinfo=UTC),
    ...     step=timedelta(hours=1),
    ...     values=np.arange(96.0),
    ... )
    >>> later = past.start + timedelta(hours=30)
    >>> [said] = replay(Persistence(), past, [later], timedelta(hours=3))
    >>> said.values.tolist()
    [6.0, 7.0, 8.0]
    """
    past = past_of(history)
    skipped = len(history) - len(past)
    places = np.array([_place(history, moment) for moment in issues], dtype=np.int64) - skipped
    fewest = way.days * past.per_day
    ahead = np.arange(max(1, -(-length // history.step)))
    back = past.per_day * np.arange(LOOK_BACK + 1)
    wanted = np.unique((places[:, None] - back).ravel())
    wanted = wanted[(wanted >= fewest) & (wanted > 0)]
    if not len(wanted):
        return [None] * len(issues)
    said = way.predict(past, wanted, ahead)
    errors = _errors(past, wanted, ahead, said)
    found: list[Series | None] = []
    for place in places.tolist():
        at = int(np.searchsorted(wanted, place))
        if place < fewest or place < 1:
            found.append(None)
            continue
        before = np.searchsorted(wanted, place - back[1:])
        usable = (before < len(wanted)) & (place - back[1:] >= max(fewest, 1))
        seen = errors[before[usable]]
        # an error counts once it has come
        came = (place - back[1:][usable])[:, None] + ahead < place
        ends = band(said[at], np.where(came, seen, np.nan), past.per_day)
        floor = 0.0 if history.topic is Topic.CARBON else -np.inf
        issued = history.start + (place + skipped) * history.step
        found.append(
            replace(
                history,
                source=way.name,
                status=Status.FORECAST,
                start=issued,
                values=said[at],
                low=None if ends is None else np.maximum(ends[0], floor),
                high=None if ends is None else ends[1],
                issued_at=issued,
            )
        )
    return found


def _place(history: Series, moment: datetime) -> int:
    place, rest = divmod(utc(moment) - history.start, history.step)
    if rest or not 0 <= place <= len(history):
        raise UsageError(
            f"{history.zone}: no step of the history begins at {utc(moment):%Y-%m-%d %H:%M} UTC",
            fix=f"choose moments from {history.start:%Y-%m-%d %H:%M} to"
            f" {history.end:%Y-%m-%d %H:%M}, whole steps apart",
        )
    return place


def _errors(past: Past, issues: Places, ahead: Places, said: Table) -> Table:
    places = issues[:, None] + ahead
    came = past.values[np.minimum(places, len(past) - 1)]
    return np.where(places < len(past), came - said, np.nan)
