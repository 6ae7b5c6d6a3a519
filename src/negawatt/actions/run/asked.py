"""Times, durations and powers as people write them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from negawatt.core.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(min|[smhd]|$)")
_WATTS = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m)?W?", re.IGNORECASE)
_LONGEST_S = 400 * 86400.0


def seconds(text: str, what: str = "duration") -> float:
    """A length of time. [s]

    Raises:
        UsageError: it is none, or none that a job can take.

    >>> seconds("1h30m"), seconds("2d"), seconds("90")
    (5400.0, 172800.0, 90.0)
    """
    pieces = _PIECE.findall(text.replace(" ", ""))
    whole = "".join(number + unit for number, unit in pieces)
    bare = len(pieces) > 1 and not all(unit for _, unit in pieces)  # 1h30: of what?
    if not pieces or bare or whole != text.replace(" ", ""):
        raise UsageError(f"{text!r} is no {what}", fix="write it as 2h, 90m, 1h30m, 2d or 45s")
    found = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if found > _LONGEST_S:
        raise UsageError(f"a {what} of {text} is more than a year", fix="write it as 2h or 3d")
    return found


def watts(text: str) -> float:
    """A power. [W]

    Raises:
        UsageError: it is none, or nothing can run on it.

    >>> watts("150W"), watts("1.2kW"), watts("80")
    (150.0, 1200.0, 80.0)
    """
    match = _WATTS.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no power", fix="write it as 150W or 1.2kW")
    power = float(match[1]) * {"k": 1e3, "m": 1e-3 if match[2] == "m" else 1e6}.get(
        (match[2] or "").lower(), 1.0
    )
    if not (power > 0 and math.isfinite(power)):
        raise UsageError(
            f"nothing runs on {text}",
            fix="give its mean power, for example 150W, or leave it out where it is unknown",
        )
    return power


def moment(text: str, now: datetime, what: str = "deadline") -> tuple[datetime, str]:
    """A moment, and what had to be assumed of it.

    A time without a zone is one of this machine's clock on the wall. An hour that comes twice when
    clocks are set back is taken as the earlier one, one that is left out is an error.

    Args:
        text: "2026-12-01T07:00", with or without a zone, or "+12h" from now.
        now: The present moment; aware.
        what: For the message.

    Raises:
        UsageError: it is no moment, or one that the clocks leave out.

    >>> moment("+90m", datetime(2026, 1, 1, tzinfo=UTC))[0].isoformat()
    '2026-01-01T01:30:00+00:00'
    """
    if text.startswith("+"):
        return now + timedelta(seconds=seconds(text[1:], what)), ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no {what}", fix="write 2026-12-01T07:00, with Z or +01:00, or +12h"
        ) from error
    if found.tzinfo is not None:
        return found.astimezone(UTC), ""
    return local(found, what)


def local(found: datetime, what: str = "deadline") -> tuple[datetime, str]:
    """A time on the wall clock of this machine, in UTC, and what had to be assumed.

    Raises:
        UsageError: the clocks leave it out.
    """
    first, second = (found.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    back = first.astimezone().replace(tzinfo=None)
    if back != found:
        raise UsageError(
            f"there is no {found:%Y-%m-%d %H:%M} on this machine's clock: it is set forward then",
            fix=f"choose another {what}, or write it with its zone: {second:%Y-%m-%dT%H:%MZ}",
        )
    if first != second:
        note = f"{found:%Y-%m-%d %H:%M} comes twice; the first is meant, {first:%H:%M} UTC"
        return min(first, second), note
    return first, ""
