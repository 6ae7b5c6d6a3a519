"""What the world says by the hour: one record for every provider, and the seam to them.

A value is never without its zone, its time, its unit and what it is: average or marginal, at the
chimney or over the life cycle, measured, estimated or forecast. Values that differ in any of
these are different signals, and joining them raises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from negawatt.core.errors import UsageError

GRAMS_PER_KWH = "gCO2e/kWh"


class Signal(StrEnum):
    """Which question an intensity answers; the two answers never add."""

    AVERAGE = "average"  # what a kilowatt-hour of the mix emitted
    MARGINAL = "marginal"  # what one more kilowatt-hour made the grid emit


class Accounting(StrEnum):
    """Which emissions of a power station are counted."""

    LIFE_CYCLE = "life cycle"  # fuel supply and construction included
    DIRECT = "direct"  # at the chimney only
    UNSTATED = "accounting not stated"


class Flow(StrEnum):
    """Whose electricity it is: made in the zone, or used there, imports followed home."""

    CONSUMPTION = "consumption"
    PRODUCTION = "production"
    UNSTATED = "flow not stated"


@dataclass(frozen=True, slots=True)
class Basis:
    """What an intensity is, so that unlike ones are never mixed.

    >>> str(Basis(Signal.AVERAGE, Accounting.DIRECT))
    'average, direct'
    >>> str(Basis(Signal.AVERAGE, Accounting.DIRECT, Flow.PRODUCTION))
    'average, direct, production'
    """

    signal: Signal = Signal.AVERAGE
    accounting: Accounting = Accounting.UNSTATED
    flow: Flow = Flow.UNSTATED

    def __str__(self) -> str:
        flow = "" if self.flow is Flow.UNSTATED else f", {self.flow}"
        return f"{self.signal}, {self.accounting}{flow}"


class Status(StrEnum):
    """How a value was come by."""

    MEASURED = "measured"  # worked out from metered generation
    ESTIMATED = "estimated"  # by the provider, where its data lack
    FORECAST = "forecast"  # said before its time


class Topic(StrEnum):
    """What a value is about."""

    CARBON = "carbon"  # [gCO2e/kWh]
    PRICE = "price"  # [CUR/MWh], the unit names the currency
    LOAD = "load"  # [MW]
    TEMPERATURE = "temperature"  # dry bulb [degC]
    HUMIDITY = "humidity"  # relative [1]
    IRRADIANCE = "irradiance"  # global, on the horizontal [W/m2]
    WIND = "wind"  # speed [m/s]
    SOLAR = "solar"  # output of a panel over its peak [1]


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one zone for one stretch of time.

    Args:
        zone: The provider's own name of it.
        topic: What it is about.
        start: When the stretch begins; aware.
        step: How long it is.
        value: Finite, in `unit`; a stretch without a value has no reading.
        unit: "gCO2e/kWh", "EUR/MWh", "degC", ...
        status: Measured, estimated or forecast.
        source: Which provider, and which of its series.
        basis: What an intensity is; None where the topic is none.
        issued_at: When it was said; aware. A forecast must have one.

    Raises:
        UsageError: a time without its zone, no length of time, a value that is no number, an
            intensity without its basis, a forecast that does not say when it was made.

    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> reading = Reading(
    ...     "DE",
    ...     Topic.CARBON,
    ...     noon,
    ...     timedelta(hours=1),
    ...     312.0,
    ...     GRAMS_PER_KWH,
    ...     Status.MEASURED,
    ...     "file",
    ...     Basis(),
    ... )
    >>> reading.end.hour
    13
    """

    zone: str
    topic: Topic
    start: datetime
    step: timedelta
    value: float
    unit: str
    status: Status
    source: str
    basis: Basis | None = None
    issued_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.step <= timedelta(0):
            raise self._bad(
                f"{self.start} with a step of {self.step} is no stretch of time",
                "give an aware start, for example in UTC, and a step above 0",
            )
        if not math.isfinite(self.value):
            raise self._bad(
                f"the value at {self.start} is {self.value}", "leave out what is not known"
            )
        if (self.topic is Topic.CARBON) != (self.basis is not None):
            raise self._bad(
                f"a value of {self.topic} has the basis {self.basis}",
                "say of an intensity, and of nothing else, what it counts",
            )
        if self.status is Status.FORECAST and self.issued_at is None:
            raise self._bad("a forecast does not say when it was made", "give issued_at")
        if self.issued_at is not None and self.issued_at.tzinfo is None:
            raise self._bad(f"issued_at {self.issued_at} has no time zone", "give it in UTC")

    def _bad(self, what: str, fix: str) -> UsageError:
        return UsageError(f"{self.source}, {self.zone}: {what}", fix=fix)

    @property
    def end(self) -> datetime:
        """Where the next one may start."""
        return self.start + self.step

    @property
    def key(self) -> tuple[str, Topic, str, Basis | None]:
        """What must be alike for two values to stand in one series."""
        return self.zone, self.topic, self.unit, self.basis


class GridSource(Protocol):
    """One signal of one provider (entry point `negawatt.grids`).

    An instance is made for one topic and one basis, so that what it returns is all of one kind.
    Values come in time order, each stretch once, in UTC, in the unit of the topic; a stretch that
    the provider has no value for is left out.
    """

    @property
    def name(self) -> str:
        """Which provider and signal: `electricitymaps`, `watttime:co2_moer`."""

    @property
    def topic(self) -> Topic:
        """What its values are about."""

    @property
    def basis(self) -> Basis | None:
        """What its intensities are; None where the topic is none."""

    def past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        """What happened from `start` to `end`: measured or estimated; empty when it has none.

        Raises:
            UsageError: there is no such zone; the message names those near it.
            SignalUnavailable: the provider cannot be asked, or refuses.
        """

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> Sequence[Reading]:
        """The newest forecast of the time from `start` to `end`, shorter where it ends early.

        Args:
            zone: The provider's name of it.
            start: Aware.
            end: Aware.
            as_of: Ask for what was known then, which not every provider keeps; now when None.

        Raises:
            UsageError: there is no such zone.
            SignalUnavailable: it makes no forecasts, keeps none of that time, or cannot be asked.
        """


def utc(moment: datetime) -> datetime:
    """A moment in UTC.

    Raises:
        UsageError: it has no time zone, so that nobody knows when it was.

    >>> utc(datetime.fromisoformat("2026-03-29T03:00+02:00")).isoformat()
    '2026-03-29T01:00:00+00:00'
    """
    if moment.tzinfo is None:
        raise UsageError(
            f"the time {moment.isoformat()} has no time zone", fix="add one: Z, or +01:00"
        )
    return moment.astimezone(UTC)
