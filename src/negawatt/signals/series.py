"""Many readings of one signal as columns: even steps, holes kept as holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import StaleSignal, UsageError
from negawatt.core.grid import Basis, Reading, Status, Topic, utc

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Series:
    """One signal of one zone, step by step.

    Args:
        zone: The provider's name of it.
        topic: What it is about.
        unit: Of the values and of their intervals.
        basis: What an intensity is; None where the topic is none.
        source: Which provider, or which way of foreseeing.
        status: Forecast, or past; a past with any estimated value is estimated.
        start: When the first step begins, in UTC.
        step: How long each is.
        values: [steps]; NaN where nothing is known.
        low: Lower ends of the intervals, [steps]; None where nobody tells them.
        high: Upper ends.
        issued_at: When a forecast was made.

    Raises:
        UsageError: there is no step, or columns differ in length.

    >>> import numpy as np
    >>> from datetime import UTC
    >>> day = Series(
    ...     zone="DE",
    ...     topic=Topic.PRICE,
    ...     unit="EUR/MWh",
    ...     basis=None,
    ...     source="file",
    ...     status=Status.MEASURED,
    ...     start=datetime(2026, 1, 1, tzinfo=UTC),
    ...     step=timedelta(hours=1),
    ...     values=np.array([50.0, np.nan, 30.0]),
    ... )
    >>> day.end.hour, len(day), day.complete
    (3, 3, False)
    """

    zone: str
    topic: Topic
    unit: str
    basis: Basis | None
    source: str
    status: Status
    start: datetime
    step: timedelta
    values: Column
    low: Column | None = None
    high: Column | None = None
    issued_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.step <= timedelta(0) or self.values.ndim != 1 or not len(self.values):
            raise UsageError(
                f"{self.source}, {self.zone}: a series needs steps, and at least one value",
                fix="ask for a longer time, or another zone",
            )
        for column in (self.low, self.high):
            if column is not None and column.shape != self.values.shape:
                raise UsageError(
                    f"{self.source}, {self.zone}: intervals and values differ in number",
                    fix="give one interval for each value",
                )
        object.__setattr__(self, "start", utc(self.start))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def end(self) -> datetime:
        """When the last step ends."""
        return self.start + len(self.values) * self.step

    @property
    def step_s(self) -> float:
        """Length of a step. [s]"""
        return self.step.total_seconds()

    @property
    def complete(self) -> bool:
        """True when no step lacks its value."""
        return not bool(np.isnan(self.values).any())

    def times(self) -> list[datetime]:
        """When each step begins."""
        return [self.start + place * self.step for place in range(len(self.values))]

    def place(self, moment: datetime) -> int:
        """Number of the step that holds a moment; below 0 or past the end where none does."""
        return (utc(moment) - self.start) // self.step

    def window(self, start: datetime, end: datetime) -> Series:
        """The steps that touch the time from `start` to `end`, as far as there are any.

        Raises:
            UsageError: none does.
        """
        first = max(0, self.place(start))
        last = min(len(self.values), -((self.start - utc(end)) // self.step))
        if first >= last:
            raise UsageError(
                f"{self.source} tells {self.zone} from {self.start:%Y-%m-%d %H:%M} to"
                f" {self.end:%Y-%m-%d %H:%M} UTC, nothing from {utc(start):%Y-%m-%d %H:%M} on",
                fix="choose a time within it",
            )
        return self._cut(first, last)

    def _cut(self, first: int, last: int) -> Series:
        cut: dict[str, Any] = {
            name: None if column is None else column[first:last]
            for name in ("values", "low", "high")
            for column in (getattr(self, name),)
        }
        return replace(self, start=self.start + first * self.step, **cut)

    def same_signal(self, other: Series) -> None:
        """Check that another series may be set beside this one or joined to it.

        Raises:
            UsageError: topic, unit or basis differ.
        """
        for name in ("topic", "unit", "basis"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise UsageError(
                    f"{self.source} ({self.zone}) is {ours}, {other.source} ({other.zone}) is"
                    f" {theirs}: they cannot be mixed",
                    fix="take both from one kind of signal",
                )

    def resampled(self, step: timedelta) -> Series:
        """The series in other steps: means of longer ones, repeated in shorter ones.

        Raises:
            UsageError: neither step is a whole number of the other.
        """
        if step == self.step:
            return self
        if step < self.step and not self.step % step:
            times = self.step // step
            columns = {
                name: None if column is None else np.repeat(column, times)
                for name, column in self._columns().items()
            }
        elif step > self.step and not step % self.step:
            times = step // self.step
            whole = len(self.values) // times * times
            columns = {
                name: None if column is None else column[:whole].reshape(-1, times).mean(axis=1)
                for name, column in self._columns().items()
            }
        else:
            raise UsageError(
                f"steps of {self.step} cannot be told in steps of {step}",
                fix="choose steps that are whole numbers of each other",
            )
        return replace(self, step=step, **columns)  # type: ignore[arg-type]

    def _columns(self) -> dict[str, Column | None]:
        return {"values": self.values, "low": self.low, "high": self.high}

    def fresh(self, now: datetime, max_age: timedelta) -> Series:
        """The series itself, where its last value is new enough.

        Raises:
            StaleSignal: it is not; the message tells the age.
        """
        known = np.flatnonzero(~np.isnan(self.values))
        newest = self.start + (int(known[-1]) + 1) * self.step if len(known) else None
        if newest is None or utc(now) - newest > max_age:
            age = "it has none" if newest is None else f"ended {utc(now) - newest} ago"
            raise StaleSignal(
                f"{self.source}, {self.zone}: newest value {age}, {max_age} are allowed",
                fix="raise the age that is allowed, or name a second provider",
            )
        return self


def from_readings(readings: Sequence[Reading]) -> Series:
    """Columns of readings that are in order and of one signal; what lacks between is NaN.

    The step is that of the first; a reading that lasts whole numbers of it fills them all.

    Raises:
        UsageError: there is none; they differ in kind, or past and forecast are mixed; they
            overlap, or begin between the steps.

    >>> from datetime import UTC
    >>> from negawatt.core.grid import GRAMS_PER_KWH
    >>> one = Reading(
    ...     "DE",
    ...     Topic.CARBON,
    ...     datetime(2026, 1, 1, tzinfo=UTC),
    ...     timedelta(hours=1),
    ...     300.0,
    ...     GRAMS_PER_KWH,
    ...     Status.MEASURED,
    ...     "file",
    ...     Basis(),
    ... )
    >>> from_readings([one, replace(one, start=one.end + one.step, value=200.0)]).values
    array([300.,  nan, 200.])
    """
    if not readings:
        raise UsageError("there is no reading", fix="ask for another time or zone")
    first = readings[0]
    for reading in readings:
        if reading.key != first.key:
            raise UsageError(
                f"{reading.source}: values of {_kind(reading)} cannot be mixed with {_kind(first)}",
                fix="take one zone and one kind of signal at a time",
            )
        if (reading.status is Status.FORECAST) != (first.status is Status.FORECAST):
            raise UsageError(
                f"{reading.source}: a forecast cannot be mixed with what happened",
                fix="keep the two in a series each",
            )
    step = min(reading.step for reading in readings)
    for before, after in pairwise(readings):
        if after.start < before.end:
            raise UsageError(
                f"{after.source}: {after.start} lies before {before.end}, when the one before ends",
                fix="sort them by time and leave each moment in one of them",
            )
    start = utc(first.start)
    places = [(utc(reading.start) - start) / step for reading in readings]
    lengths = [reading.step / step for reading in readings]
    if any(number != int(number) for number in (*places, *lengths)):
        raise UsageError(
            f"{first.source}, {first.zone}: times do not lie on steps of {step}",
            fix="give values whose times are whole steps apart",
        )
    values = np.full(int(places[-1] + lengths[-1]), np.nan)
    for place, length, reading in zip(places, lengths, readings, strict=True):
        values[int(place) : int(place + length)] = reading.value
    statuses = {reading.status for reading in readings}
    weakest = max(statuses, key=[Status.MEASURED, Status.ESTIMATED, Status.FORECAST].index)
    issued = [reading.issued_at for reading in readings if reading.issued_at is not None]
    return Series(
        zone=first.zone,
        topic=first.topic,
        unit=first.unit,
        basis=first.basis,
        source=first.source,
        status=weakest,
        start=start,
        step=step,
        values=values,
        issued_at=max(issued) if issued and weakest is Status.FORECAST else None,
    )


def _kind(reading: Reading) -> str:
    basis = f" ({reading.basis})" if reading.basis else ""
    return f"{reading.topic}{basis} of {reading.zone} in {reading.unit}"


def to_readings(series: Series) -> list[Reading]:
    """The steps that have a value, one record each."""
    return [
        Reading(
            series.zone,
            series.topic,
            series.start + place * series.step,
            series.step,
            float(series.values[place]),
            series.unit,
            series.status,
            series.source,
            series.basis,
            series.issued_at,
        )
        for place in np.flatnonzero(~np.isnan(series.values)).tolist()
    ]
