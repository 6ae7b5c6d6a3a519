"""Lengths of time as people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
Seconds = TypeVar("Seconds", float, NDArray[np.float64])


def span_of(text: str) -> timedelta:
    """A length of time.

    Raises:
        UsageError: it is none, or 0.

    >>> span_of("1h30m").total_seconds(), span_of("7d").days
    (5400.0, 7)
    """
    found = span_or_none(text)
    if found <= timedelta(0):
        raise UsageError(f"{text!r} is no length of time", fix="write 30m, 4h, 1h30m or 7d")
    return found


def span_or_none(text: str) -> timedelta:
    """The same, where no time at all is one too.

    >>> span_or_none("0h")
    datetime.timedelta(0)
    """
    parts = _SPAN.findall(text.strip().lower())
    told = "".join(f"{number}{unit}" for number, unit in parts)
    if (
        not parts
        or told != re.sub(r"\s", "", text.lower())
        or any(u not in _UNITS for _, u in parts)
    ):
        raise UsageError(f"{text!r} is no length of time", fix="write 30m, 4h, 1h30m or 7d")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def part_of(text: str) -> float:
    """A part of one, written as one or in percent. [1]

    Raises:
        UsageError: it is none.

    >>> part_of("5%"), part_of("0.3")
    (0.05, 0.3)
    """
    bare = text.strip().removesuffix("%")
    try:
        value = float(bare) / (100.0 if "%" in text else 1.0)
    except ValueError as error:
        raise UsageError(f"{text!r} is no share", fix="write 5% or 0.05") from error
    if not 0 <= value < math.inf:
        raise UsageError(f"{text!r} is no share", fix="write 5% or 0.05")
    return value


@dataclass(frozen=True, slots=True)
class Slack:
    """How much later a job may begin: a length of time, or a multiple of its own.

    >>> Slack(times=2.0).seconds(3600.0), Slack(fixed=timedelta(hours=1)).seconds(7200.0)
    (7200.0, 3600.0)
    """

    fixed: timedelta = timedelta(0)
    times: float = 0.0

    def seconds(self, lasts: Seconds) -> Seconds:
        """For jobs that last so long. [s]"""
        return self.fixed.total_seconds() + self.times * lasts


def slack_of(text: str) -> Slack:
    """A slack: "24h", or "2x" for twice the length of the job.

    Raises:
        UsageError: it is none.

    >>> slack_of("24h").fixed.days, slack_of("0.5x").times
    (1, 0.5)
    """
    if text.strip().endswith("x"):
        return Slack(times=part_of(text.strip().removesuffix("x")))
    return Slack(fixed=span_or_none(text))
