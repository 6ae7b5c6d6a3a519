"""Times of a file, which may be those of clocks on a wall."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from negawatt.core.errors import UsageError


class Clock:
    """Reads times that may name no zone; of an hour that comes twice, the second is the later.

    Args:
        name: Of the file.
        timezone: Of times that name none; empty refuses them.

    Raises:
        UsageError: there is no such time zone.

    >>> clock = Clock("x.csv", "Europe/Berlin")
    >>> [clock.read(f"2025-10-26T0{hour}:00").hour for hour in (1, 2, 2, 3)]
    [23, 0, 1, 2]
    """

    def __init__(self, name: str, timezone: str) -> None:
        self._name = name
        self._zone: ZoneInfo | None = None
        self._last: datetime | None = None
        if timezone:
            try:
                self._zone = ZoneInfo(timezone)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise UsageError(
                    f"there is no time zone {timezone}", fix="write one such as Europe/Berlin"
                ) from error

    def read(self, text: str) -> datetime:
        """One time, in UTC.

        Raises:
            UsageError: it is none, its zone is unknown, or clocks skip it.
        """
        try:
            told = datetime.fromisoformat(text)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{self._name} has the time {text!r}", fix="write 2026-01-31T12:00Z"
            ) from error
        if told.tzinfo is None:
            told = self._placed(told)
        self._last = told.astimezone(UTC)
        return self._last

    def _placed(self, told: datetime) -> datetime:
        if self._zone is None:
            raise UsageError(
                f"{self._name} has times without their zone ({told.isoformat()})",
                fix="add timezone=UTC, or timezone=Europe/Berlin for the clocks of a place",
            )
        first = told.replace(tzinfo=self._zone)
        if first.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != told:
            raise UsageError(
                f"{self._name} has the time {told.isoformat()}, which clocks of {self._zone} skip",
                fix="see whether the times are UTC",
            )
        later = first.replace(fold=1)
        came = self._last is not None and first.astimezone(UTC) <= self._last
        return later if came and later.utcoffset() != first.utcoffset() else first
