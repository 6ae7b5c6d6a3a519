"""Lengths and moments as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Parameter = click.ParamType[timedelta]
else:
    _Parameter = click.ParamType  # earlier versions of click do not say what it holds

_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?", re.IGNORECASE)


def length(text: str) -> timedelta:
    """Read `90s`, `30min`, `12h`, `2d`, `1h30min`.

    Raises:
        ValueError: it is none, or nothing long.

    >>> length("1h30min"), length("2d")
    (datetime.timedelta(seconds=5400), datetime.timedelta(days=2))
    """
    pieces = _LENGTH.findall(text)
    rest = _LENGTH.sub("", text).strip()
    if not pieces or rest or any(not unit for _, unit in pieces):
        raise ValueError(f"{text!r} is no length of time; write 90s, 30min, 12h or 2d")
    seconds = sum(float(number) * _SECONDS[unit.lower()] for number, unit in pieces)
    if not 0 < seconds < 1e9:
        raise ValueError(f"{text!r} is no length that can be planned; write 90s, 30min, 12h or 2d")
    return timedelta(seconds=seconds)


def moment(text: str, start: datetime) -> datetime:
    """Read `2026-12-01T07:00Z`, or `+12h` from a start; without a zone it is the machine's own.

    Raises:
        ValueError: it is neither.

    >>> moment("+12h", datetime(2026, 12, 1, tzinfo=UTC)).isoformat()
    '2026-12-01T12:00:00+00:00'
    >>> moment("2026-12-01T07:00Z", datetime(2026, 12, 1, tzinfo=UTC)).hour
    7
    """
    if text.startswith("+"):
        return start + length(text[1:])
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no moment; write 2026-12-01T07:00Z, or +12h for so long from the start"
        ) from error
    return told.astimezone(UTC)  # a time without a zone is the machine's own


class Length(_Parameter):
    """A length of time."""

    name = "length"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        try:
            return length(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
