"""Moments as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from negawatt.core.errors import UsageError


def parse_since(text: str, now: datetime) -> datetime:
    """Read a date, a time, or how long ago: `2026-01-31`, `2026-01-31T12:00Z`, `7d`, `24h`, `30min`.

    Args:
        text: What was typed. A time without zone is read as UTC.
        now: From when "ago" counts; aware.

    Raises:
        UsageError: it is none of these.

    >>> parse_since("24h", datetime(2026, 1, 2, tzinfo=UTC)).isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    if ago := re.fullmatch(r"(\d{1,5})\s*(d|h|min)", text):
        unit = {"d": "days", "h": "hours", "min": "minutes"}[ago[2]]
        return now - timedelta(**{unit: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no date or time",
            fix="give a date (2026-01-31), a time (2026-01-31T12:00Z) or how long ago (7d, 24h)",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
