"""Intensities by time from a file of comma-separated values, checked line by line.

    time,average_gCO2e_per_kWh
    2026-01-01T00:00Z,312
    2026-01-01T01:00Z,298.5

`time` is when a step begins, with its zone. The other name says what the numbers are:
`average` or `marginal`, then `direct` or `life_cycle` where that is known, then the unit:
`average_life_cycle_gCO2e_per_kWh`, `marginal_direct_kgCO2_per_kWh`. Other columns are not
looked at. Steps are an hour or shorter, and all alike. A step that lacks its number, or is
not there, is a gap: its emissions are unknown. Lines that begin with # are remarks.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.grid import GRAMS_PER_KWH, Accounting, Basis, Signal
from negawatt.ledger.footprint.hourly import IntensitySeries, Span, hourly_emissions

_NAME = re.compile(
    r"(?P<signal>average|marginal)(?:_(?P<accounting>direct|life_cycle))?"
    r"_(?P<unit>k?g)(?:co2e?)?_per_kwh",
    re.IGNORECASE,
)
_ACCOUNTING = {"direct": Accounting.DIRECT, "life_cycle": Accounting.LIFE_CYCLE}
_HEADER = "time,average_gCO2e_per_kWh"
_MISSING = frozenset({"", "nan", "na", "null"})
_LONGEST = timedelta(hours=1)
_MOST_G_PER_KWH = 5000.0  # four times the dirtiest power station there is
_TINY = timedelta(microseconds=1)  # so that an entry without duration has a place in time


class _Line(NamedTuple):
    number: int  # in the file, from 1
    start: datetime
    grams: float | None  # [gCO2e/kWh]


@dataclass(frozen=True)
class IntensityFile:
    """Intensities of one place, by time.

    Args:
        path: Where they were read from.
        series: The steps that have a number. [gCO2e/kWh]
        step: How long one is.
        gaps: From when to when there is none, between the first step and the last.
    """

    path: Path
    series: IntensitySeries
    step: timedelta
    gaps: tuple[tuple[datetime, datetime], ...]

    @property
    def basis(self) -> Basis:
        """Average or marginal, and what is counted."""
        return self.series.basis

    @cached_property
    def start(self) -> datetime:
        """When the first step begins."""
        return self.series.spans[0].start

    @cached_property
    def end(self) -> datetime:
        """When the last step ends: later the file is stale."""
        return self.series.spans[-1].end

    def emissions(
        self, energy: Estimate, start: datetime, end: datetime, pue: Estimate | None = None
    ) -> Estimate | None:
        """Energy times intensity, hour by hour; None where any of the time has no intensity.

        Args:
            energy: Drawn by the IT equipment from `start` to `end`, evenly. [J]
            start: Aware.
            end: Aware.
            pue: Facility over IT energy; None leaves the building out. [1]
        """
        span = Span(start, max(end - start, _TINY), energy)
        found = hourly_emissions([span], self.series, pue)
        return found.emissions if found.complete else None

    def __str__(self) -> str:
        lacking = f", {_steps(self.gaps, self.step)} steps missing" if self.gaps else ""
        return (
            f"{self.path.name} ({self.basis}; {_shown(self.start)} to {_shown(self.end)} UTC,"
            f" every {self.step.total_seconds() / 60:g} min{lacking})"
        )


def read_intensities(path: Path) -> IntensityFile:
    """Read and check a file; see this module for what it holds.

    Raises:
        UsageError: it cannot be read, or a line of it cannot be taken; the line is named.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "grid.csv"
    ...     text = "time,marginal_kgCO2_per_kWh\\n2026-01-01T00:00Z,0.4\\n2026-01-01T00:30Z,"
    ...     _ = path.write_text(text + "\\n2026-01-01T01:00Z,0.5\\n")
    ...     found = read_intensities(path)
    >>> str(found.basis), found.series.spans[0].estimate.value, len(found.gaps)
    ('marginal, accounting not stated', 400.0, 1)
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fact = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UsageError(
            f"cannot read {path}: {fact}", fix=f"name a CSV file that begins {_HEADER}"
        ) from error
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not numbered:
        raise UsageError(f"{path} is empty", fix=f"its first line is {_HEADER}")
    when, which, basis, scale = _columns(path, next(csv.reader([numbered[0][1]])))
    lines = list(_lines(path, numbered[1:], (when, which), scale))
    step = _step(path, lines)
    source = f"{path.name}, {basis}"
    spans = tuple(
        Span(line.start, step, _estimate(line.grams, source))
        for line in lines
        if line.grams is not None
    )
    if not spans:
        raise UsageError(f"{path} holds no intensity", fix="give at least one number")
    return IntensityFile(path, IntensitySeries(basis, spans), step, tuple(_gaps(spans)))


def _columns(path: Path, header: Sequence[str]) -> tuple[int, int, Basis, float]:
    """Where the times and the numbers stand, what the numbers are, and grams in their unit."""
    names = [name.strip() for name in header]
    found = [(place, match) for place, name in enumerate(names) if (match := _NAME.fullmatch(name))]
    if "time" not in names or not found:
        raise UsageError(
            f"the first line of {path} names no column of times and intensities:"
            f" {', '.join(names)[:120]}",
            fix=f"begin it like {_HEADER}: average or marginal, and the unit (g or kg of CO2e per"
            " kWh), stand in the name",
        )
    if len(found) > 1:
        columns = ", ".join(match[0] for _, match in found)
        raise UsageError(
            f"{path} has {len(found)} columns of intensities: {columns}",
            fix="leave one: average and marginal intensities answer different questions and"
            " are not mixed",
        )
    ((place, match),) = found
    accounting = (match["accounting"] or "").lower()
    basis = Basis(Signal(match["signal"].lower()), _ACCOUNTING.get(accounting, Accounting.UNSTATED))
    return names.index("time"), place, basis, 1000.0 if match["unit"].lower() == "kg" else 1.0


def _lines(
    path: Path, numbered: Iterable[tuple[int, str]], columns: tuple[int, int], scale: float
) -> Iterator[_Line]:
    last: _Line | None = None
    for number, text in numbered:
        cells = next(csv.reader([text]))
        place = f"line {number} of {path}"
        if len(cells) <= max(columns):
            raise UsageError(f"{place} is cut: {text[:60]!r}", fix="write the file anew")
        when, value = (cells[column].strip() for column in columns)
        line = _Line(number, _time(when, place), _grams(value, place, scale))
        if last is not None and line.start <= last.start:
            raise _not_later(path, last, line)
        yield line
        last = line


def _time(text: str, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{place}: {text!r} is no time", fix="write it as 2026-01-31T13:00Z"
        ) from error
    if moment.tzinfo is None:
        raise UsageError(
            f"{place}: {text} does not say its zone",
            fix="write times in UTC (2026-01-31T13:00Z), or each with its offset"
            " (2026-07-01T13:00+02:00), which changes with daylight saving",
        )
    return moment.astimezone(UTC)


def _grams(text: str, place: str, scale: float) -> float | None:
    if text.lower() in _MISSING:
        return None
    try:
        grams = float(text) * scale
    except ValueError as error:
        raise UsageError(
            f"{place}: {text!r} is no number", fix="leave it empty where the intensity is unknown"
        ) from error
    if not math.isfinite(grams) or grams < 0:
        raise UsageError(
            f"{place}: a grid cannot emit {text} per kWh",
            fix="leave it empty where the intensity is unknown",
        )
    if grams > _MOST_G_PER_KWH:
        raise UsageError(
            f"{place}: {grams:g} g per kWh is more than any power station emits",
            fix="check the unit in the first line: g or kg of CO2e per kWh",
        )
    return grams


def _not_later(path: Path, last: _Line, line: _Line) -> UsageError:
    if line.start == last.start:
        return UsageError(
            f"lines {last.number} and {line.number} of {path} are the same time,"
            f" {_shown(line.start)} UTC",
            fix="when clocks are set back one local hour comes twice, with two offsets: write"
            " times in UTC",
        )
    return UsageError(
        f"line {line.number} of {path} goes back in time, from {_shown(last.start)} to"
        f" {_shown(line.start)} UTC",
        fix="sort the lines by time, and write times in UTC",
    )


def _step(path: Path, lines: Sequence[_Line]) -> timedelta:
    if len(lines) < 2:
        raise UsageError(
            f"{path} holds {len(lines)} times, which tell no step", fix="give two hours or more"
        )
    apart = [(after, after.start - before.start) for before, after in pairwise(lines)]
    step = Counter(length for _, length in apart).most_common(1)[0][0]
    odd = next((after for after, length in apart if length % step), None)
    if odd is not None:
        raise UsageError(
            f"line {odd.number} of {path}: {_shown(odd.start)} UTC is not a whole number of steps of"
            f" {step} after the line before",
            fix="give all steps the same length",
        )
    if step > _LONGEST:
        raise UsageError(
            f"the steps of {path} are {step} long, and emissions are worked out hour by hour",
            fix="give hours or shorter steps, or the mean of the time with --intensity",
        )
    return step


def _estimate(grams: float, source: str) -> Estimate:
    return Estimate.exact(grams, unit=GRAMS_PER_KWH, kind=Kind.ASSUMED, source=source)


def _gaps(spans: Sequence[Span]) -> Iterator[tuple[datetime, datetime]]:
    return (
        (before.end, after.start) for before, after in pairwise(spans) if before.end < after.start
    )


def _steps(gaps: Iterable[tuple[datetime, datetime]], step: timedelta) -> int:
    return round(sum((end - start) / step for start, end in gaps))


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
