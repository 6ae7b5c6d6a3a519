"""Numbers as people read them: value, interval, kind and source, never a bare digit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from negawatt.core.estimate import Estimate, Kind

UNKNOWN = "—"  # a figure that is not known is not zero

Style = Literal["number", "percent", "change"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One estimate, ready to be set in a table or a sentence.

    `mark` is the number of the source in the list of `Sources`.
    """

    text: str
    interval: str  # empty when the value is exact
    unit: str
    kind: Kind
    mark: int
    estimate: Estimate

    @property
    def full(self) -> str:
        """Value, interval and unit on one line."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.text}{unit} ({self.interval})" if self.interval else f"{self.text}{unit}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where some figures came from."""

    mark: int
    kind: Kind
    source: str
    boundary: str
    used_for: Sequence[str]


@dataclass(slots=True)
class Sources:
    """The numbered list that every figure of one report points into."""

    _known: dict[tuple[Kind, str, str], list[str]] = field(default_factory=dict)

    def figure(
        self, estimate: Estimate, name: str, *, scale: float = 1, unit: str = "",
        style: Style = "number",
    ) -> Figure:  # fmt: skip
        """Format an estimate and note its source under `name`.

        Args:
            estimate: What is shown.
            name: What it is, for the list of sources: "perplexity loss".
            scale: Exact factor from the estimate's unit to `unit`.
            unit: Shown unit; empty for pure numbers and columns that state it.
            style: "percent" shows a share, "change" a signed percentage.
        """
        key = (estimate.kind, estimate.source, estimate.boundary)
        names = self._known.setdefault(key, [])
        if name not in names:
            names.append(name)
        factor = scale if style == "number" else 100.0 * scale
        low, value, high = (factor * n for n in (estimate.low, estimate.value, estimate.high))
        places = (
            decimals(value, high - low)
            if style == "number"
            else min(decimals(value, high - low, digits=2), 2)
        )
        low_text, text, high_text = (
            f"{round(n, places) + 0.0:{'+' if style == 'change' else ''}.{places}f}"  # no "-0.0"
            for n in (low, value, high)
        )
        interval = f"{low_text} to {high_text}"
        return Figure(
            text=text,
            interval="" if estimate.is_exact else interval,
            unit="%" if style != "number" else unit,
            kind=estimate.kind,
            mark=list(self._known).index(key) + 1,
            estimate=estimate,
        )

    def listed(self) -> tuple[Source, ...]:
        """Every source met so far, in the order of its number."""
        return tuple(
            Source(mark, *key, used_for=tuple(names))
            for mark, (key, names) in enumerate(self._known.items(), start=1)
        )


def decimals(value: float, width: float = 0.0, *, digits: int = 3) -> int:
    """Decimal places that show so many digits of a value, and what its interval resolves.

    Of the interval's width one digit is shown, or two when it begins with a
    1 or 2, where one digit would round too coarsely.

    >>> [decimals(v) for v in (1234.0, 12.34, 0.1234, 0.001234, 0.0)]
    [0, 1, 3, 5, 0]
    >>> decimals(26.18, 0.05), decimals(26.18, 0.015)
    (2, 3)
    """
    wanted = [digits - 1 - math.floor(math.log10(abs(value)))] if value else []
    if width:
        power = math.floor(math.log10(width))
        wanted.append((1 if width / 10.0**power < 3 else 0) - power)
    return min(max([0, *wanted]), 9)


def plain(value: float, digits: int = 3) -> str:
    """A number with some significant digits, thousands set apart, without an exponent.

    >>> plain(1234567.0), plain(0.04567), plain(12.0)
    ('1 230 000', '0.0457', '12')
    """
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, places):,.{max(places, 0)}f}".replace(",", " ")
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(value: float, unit: str) -> str:
    """A quantity with the SI prefix that keeps its number short.

    >>> amount(0.0113, "s"), amount(88_601_088, "B"), amount(5200, "J")
    ('11.3 ms', '88.6 MB', '5.2 kJ')
    """
    if value == 0:
        return f"0 {unit}"
    prefixes = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}
    step = min(max(math.floor(math.log10(abs(value)) / 3), -3), 4)
    return f"{plain(value / 1000.0**step)} {prefixes[step]}{unit}"


def duration(seconds: float) -> str:
    """A length of time as people say it.

    >>> duration(0.82), duration(75), duration(7384)
    ('0.8 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def listing(words: Iterable[str]) -> str:
    """Words as a sentence says them.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
