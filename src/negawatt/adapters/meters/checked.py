"""Numbers from hardware, taken only when they can be true."""

from __future__ import annotations

import math
import threading

from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Joules, Watts


def number(value: object, who: object) -> float:
    """A finite number, from a number or its text; `who` said it.

    Raises:
        MeterUnavailable: it is none; a switch (`true`) is none either.

    >>> number("12.5", "the plug")
    12.5
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _nonsense(f"{who} says {value!r}, which is no number")
    try:
        taken = float(value)
    except ValueError as error:
        raise _nonsense(f"{who} says {value!r}, which is no number") from error
    if not math.isfinite(taken):
        raise _nonsense(f"{who} says {value!r}, which is no number")
    return taken


def watts(value: object, who: str, *, whole: bool = False) -> Watts:
    """A power that can be true.

    Args:
        value: What the hardware said. [W]
        who: The hardware, for the message.
        whole: The machine this runs on is inside, so that nothing cannot be true.

    Raises:
        MeterUnavailable: not a number, negative, or nothing where the machine is inside.
    """
    taken = number(value, who)
    if taken < 0:
        raise _nonsense(f"{who} says {taken:g} W, and nothing draws less than nothing")
    if whole and taken == 0:
        raise MeterUnavailable(
            f"{who} says 0 W while this machine runs: it feeds something else, is switched off, "
            f"or cannot see so little",
            fix="see that this machine is plugged into that meter, and into no other socket",
        )
    return Watts(taken)


class Rising:
    """An energy counter that must not fall; only hardware that wraps at a known place unwraps.

    Args:
        who: The hardware, for the message.
        cause: Why it may have fallen.
    """

    def __init__(self, who: str, *, cause: str) -> None:
        self._who, self._cause = who, cause
        self._lock = threading.Lock()
        self._last: float | None = None  # [J]

    def take(self, joules: float) -> Joules:
        """The reading, if it can be true.

        Raises:
            MeterUnavailable: it is negative, or less than the one before; the next one counts
                again.
        """
        if joules < 0:
            raise _nonsense(
                f"{self._who} has counted {joules:g} J, and a counter starts at nothing"
            )
        with self._lock:
            before, self._last = self._last, joules
        if before is not None and joules < before:
            raise MeterUnavailable(
                f"{self._who} went from {before:g} to {joules:g} J: {self._cause}",
                fix="measure again; the energy of this window is unknown",
            )
        return Joules(joules)


def _nonsense(what: str) -> MeterUnavailable:
    return MeterUnavailable(
        what, fix="read it by hand; if it stays so, leave this meter out and report the hardware"
    )
