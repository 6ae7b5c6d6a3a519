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

from negawatt.core.errors import NegawattError, SignalUnavailable
from negawatt.core.grid import Basis, GridSource, Reading, Status, Topic
from negawatt.signals.misses import LEAST, Misses, misses
from negawatt.signals.series import from_readings
from negawatt.signals.store import Question, Store

NEWEST = timedelta(minutes=10)
FORECAST = timedelta(minutes=30)
CORRECTED = timedelta(days=3)
MISSES = timedelta(days=28)
_MOST_ISSUES = 60
_LACKING = timedelta(days=1)  # at the beginning of a past that counts as told


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
            self._remember(zone, start, end, told)
            kept = self._kept_past(zone, start, end)
            return kept if len(kept) >= len(told) else told
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

    def misses(self, zone: str, now: datetime) -> Misses | None:
        """How its forecasts of the last weeks missed; None where too few are kept or measured."""
        if self._store is None:
            return None
        try:
            issues = self._store.issues(self.origin, zone, now - MISSES, now, _MOST_ISSUES)
            made = [from_readings(issue) for issue in issues]
            issued = [one.issued_at for one in made if one.issued_at is not None]
            if not issued or issued[-1] - issued[0] < LEAST:
                return None
            told = [one for one in self.past(zone, issued[0], now) if one.end <= now]
            measured = sum(one.status is Status.MEASURED for one in told)
            if not told or 2 * measured < len(told):  # guesses would be set beside guesses
                return None
            return misses(made, from_readings(told))
        except (sqlite3.Error, NegawattError):
            return None

    def _remember(self, zone: str, start: datetime, end: datetime, told: Sequence[Reading]) -> None:
        """Keep a past, and note how far back it was told: some plans show the last day alone."""
        if self._store is None:
            return
        since = self._since(zone, start)
        first = told[0].start if told else end
        short = since == start and first - start > _LACKING
        with suppress(sqlite3.Error):
            self._store.keep(self.origin, told)
            self._store.note(self.origin, zone, ahead=False, start=since, end=end, whole=not short)
            if short and told:
                self._store.note(self.origin, zone, ahead=False, start=first, end=end)

    def _kept_past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        if self._store is not None:
            with suppress(sqlite3.Error):
                return self._store.past(self.origin, zone, start, end)
        return ()

    def _covering(self, zone: str, start: datetime, *, ahead: bool) -> list[Question]:
        """What was asked for that holds `start`."""
        if self._store is not None:
            with suppress(sqlite3.Error):
                asked = self._store.questions(self.origin, zone, ahead=ahead)
                return [one for one in asked if one.start <= start < one.end]
        return []

    def _since(self, zone: str, start: datetime) -> datetime:
        """From when on the past is kept without a hole, once `start` is."""
        covering = self._covering(zone, start, ahead=False)
        return min([start, *(one.start for one in covering if one.whole)])

    def _unknown_from(self, zone: str, start: datetime, end: datetime) -> datetime | None:
        """From when on the provider is to be asked; None when it need not be."""
        begin = start
        for question in self._covering(zone, start, ahead=False):
            asked = question.asked
            until = min(question.end, asked)  # what it said of later was not past yet
            lately = self._clock() - asked < NEWEST and end <= until + NEWEST
            settled = end <= until and end <= asked - CORRECTED
            if lately or (settled and question.whole):
                return None
            if question.whole:
                begin = max(begin, until - CORRECTED)
        return begin

    def _asked_lately(self, zone: str, start: datetime, end: datetime) -> bool:
        """Whether the forecast was fetched so recently that it has no news."""
        return any(
            self._clock() - one.asked < FORECAST and end <= one.end + FORECAST
            for one in self._covering(zone, start, ahead=True)
        )
