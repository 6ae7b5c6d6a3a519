"""Which moment it is: now, or a replayed time that runs faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from negawatt.core.errors import UsageError
from negawatt.core.grid import utc

#: Tells the real time; aware.
Wall = Callable[[], datetime]


def wall() -> datetime:
    """The calendar of this machine, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the time of the signal runs against the real one.

    Args:
        speed: Seconds of the signal in a real one; 1 for what happens now.
        began: When it was set going, in real time.
        shown: Which moment of the signal that was.

    Raises:
        UsageError: time would stand still or run backwards.

    >>> from datetime import UTC, timedelta
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> hours = Pace(3600, began=noon, shown=datetime(2020, 6, 1, tzinfo=UTC))
    >>> hours.moment(noon + timedelta(seconds=5)).isoformat()
    '2020-06-01T05:00:00+00:00'
    >>> Pace().moment(noon) == noon
    True
    """

    speed: float = 1.0
    began: datetime | None = None
    shown: datetime | None = None

    def __post_init__(self) -> None:
        if not 0 < self.speed < 1e9:
            raise UsageError(
                f"a clock cannot run {self.speed:g} times as fast",
                fix="give a speed above 0: 3600 replays an hour in a second",
            )
        if self.speed != 1 and (self.began is None or self.shown is None):
            raise UsageError(
                "a replayed clock needs a moment to begin with",
                fix="say it: --at 2020-06-01T00:00Z",
            )

    @property
    def replayed(self) -> bool:
        """True when the hours are not the present ones."""
        return self.shown is not None

    def moment(self, real: datetime) -> datetime:
        """Which moment of the signal it is."""
        if self.began is None or self.shown is None:
            return utc(real)
        return utc(self.shown) + (utc(real) - utc(self.began)) * self.speed

    def real_s(self, seconds: float) -> float:
        """Real seconds that so many of the signal take. [s]"""
        return seconds / self.speed
