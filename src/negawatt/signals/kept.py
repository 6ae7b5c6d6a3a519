"""A provider with a memory: asked no more often than it has news, and remembered when it is out.

How long an answer is good for: the newest part of a past ten minutes, a forecast half an hour,
what is older than three days for ever. Between, providers still correct themselves, and the last
three days are asked for again together with what is new.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from negawatt.core.errors import SignalUnavailable
from negawatt.core.grid import Basis, GridSource, Reading, Topic
from negawatt.signals.store import Store

NEWEST = timedelta(minutes=10)
FORECAST = timedelta(minutes=30)
CORRECTED = timedelta(days=3)


class Kept:
    """A source of signals, and what it said before.

    Args:
        source: The provider.
        store: Where its answers are kept; None keeps nothing, for a file that is at hand anyway.
        origin: Its address, under which they are kept.
        clock: Tells now, aware.

    The cache is a help and no duty: where it fails, the provider is asked.
    """

    def __init__(
        self,
        source: GridSource,
        store: Store | None,
        origin: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source, self._store, self.origin, self._clock = source, store, origin, clock

    @property
    def name(self) -> str:
        """Which provider and signal."""
        return self._source.name

    @property
    def topic(self) -> Topic:
        """What its values are about."""
        return self._source.topic

    @property
    def basis(self) -> Basis | None:
        """What its intensities are."""
        return self._source.basis

    def past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        """What happened, from the disk where that is good enough.

        A provider that fails is stood in for by what it said before; how far that reaches is in
        the times of the readings.

        Raises:
            UsageError: there is no such zone.
            SignalUnavailable: the provider fails, and nothing is kept.
        """
        if self._store is None:
            return self._source.past(zone, start, end)
        begin = self._unknown_from(zone, start, end)
        if begin is not None:
            try:
                told = self._source.past(zone, begin, end)
            except SignalUnavailable:
                if not (kept := self._kept_past(zone, start, end)):
                    raise
                return kept
            with suppress(sqlite3.Error):
                self._store.keep(self.origin, told)
                self._store.note(
                    self.origin, zone, ahead=False, start=self._since(zone, start), end=end
                )
            if begin <= start:
                return told
        return self._kept_past(zone, start, end)

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> Sequence[Reading]:
        """The newest forecast; with `as_of` the provider's own of that time, else the kept one.

        Raises:
            UsageError: there is no such zone.
            SignalUnavailable: it makes no forecasts, kept none of that time, or cannot be asked.
        """
        if self._store is None:
            return self._source.ahead(zone, start, end, as_of=as_of)
        if as_of is not None:
            try:
                return self._source.ahead(zone, start, end, as_of=as_of)
            except SignalUnavailable:
                if not (kept := self.remembered(zone, start, end, as_of=as_of)):
                    raise
                return kept
        if self._asked_lately(zone, start, end) and (
            kept := self.remembered(zone, start, end, as_of=self._clock())
        ):
            return kept
        told = self._source.ahead(zone, start, end)
        with suppress(sqlite3.Error):
            self._store.keep(self.origin, told)
            self._store.note(self.origin, zone, ahead=True, start=start, end=end)
        return told

    def remembered(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime
    ) -> Sequence[Reading]:
        """The newest forecast that is kept and was known at a moment; nobody is asked."""
        if self._store is not None:
            with suppress(sqlite3.Error):
                return self._store.ahead(self.origin, zone, start, end, as_of)
        return ()

    def _kept_past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        if self._store is not None:
            with suppress(sqlite3.Error):
                return self._store.past(self.origin, zone, start, end)
        return ()

    def _covering(self, zone: str, start: datetime, *, ahead: bool) -> list[tuple[datetime, ...]]:
        """Times asked for that hold `start`: their start, end, and when they were asked for."""
        if self._store is not None:
            with suppress(sqlite3.Error):
                asked = self._store.questions(self.origin, zone, ahead=ahead)
                return [tuple(one) for one in asked if one.start <= start < one.end]
        return []

    def _since(self, zone: str, start: datetime) -> datetime:
        """From when on the past is kept without a hole, once `start` is."""
        return min([start, *(one[0] for one in self._covering(zone, start, ahead=False))])

    def _unknown_from(self, zone: str, start: datetime, end: datetime) -> datetime | None:
        """From when on the provider is to be asked; None when it need not be."""
        begin = start
        for _, until, asked in self._covering(zone, start, ahead=False):
            until = min(until, asked)  # noqa: PLW2901  # what it said of later was not past yet
            lately = self._clock() - asked < NEWEST and end <= until + NEWEST
            settled = end <= until and end <= asked - CORRECTED
            if lately or settled:
                return None
            begin = max(begin, until - CORRECTED)
        return begin

    def _asked_lately(self, zone: str, start: datetime, end: datetime) -> bool:
        """Whether the forecast was fetched so recently that it has no news."""
        return any(
            self._clock() - asked < FORECAST and end <= until + FORECAST
            for _, until, asked in self._covering(zone, start, ahead=True)
        )
